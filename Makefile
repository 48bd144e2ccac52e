# Everything a newcomer types.  Needs python3 (3.11 or later), its venv module and pip; ensurepip is not used.
#
#   make hello   one program, run inside the kernel
#   make test    the whole suite            (TESTS='tests/unit -k name' narrows it)
#   make check   ruff and mypy
#   make bench   the benchmarks, against whatever peers are installed   (BENCH=--help shows what it takes)

PYTHON ?= python3
JOBS   ?= 2
TESTS  ?= tests
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready-ring3

.PHONY: hello test check bench env clean

hello: env
	@$(BIN)/ring3 run -- /bin/sh -c 'echo hello from pid $$$$; uname -sr; ls -l / | head -3'

test: env
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(TESTS)

check: env
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: env
	$(BIN)/python -m benchmarks.run $(BENCH)

env: $(READY)

# pip of the system installs into the new environment: `venv --without-pip` works where ensurepip is missing.
# The stamp depends on pyproject.toml alone: the install is editable, so sources need no second one.
$(READY): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv --without-pip $(VENV)
	$(PYTHON) -m pip --python $(BIN)/python --disable-pip-version-check --quiet install --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
