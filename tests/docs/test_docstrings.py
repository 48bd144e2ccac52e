"""The examples in docstrings are run: what the source says of itself is so."""

from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

import ring3

MODULES = sorted(module.name for module in pkgutil.walk_packages(ring3.__path__, "ring3.") if module.name != "ring3.__main__")
FACE = ("ring3", "ring3.kernel", "ring3.process", "ring3.asking", "ring3.arguments")     # they run programs


def run(name: str) -> None:
    module = import_module(name)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        runner.run(example, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("name", [name for name in MODULES if name not in FACE])
def test_examples(name: str) -> None:
    run(name)


@pytest.mark.needs_ptrace
@pytest.mark.parametrize("name", FACE)
def test_examples_of_the_face(name: str) -> None:
    run(name)


@pytest.mark.parametrize("thing", [
    ring3, ring3.run, ring3.Kernel, ring3.Kernel.run, ring3.Kernel.on, ring3.Kernel.on_syscall, ring3.Kernel.explain, ring3.Process,
    ring3.explain,
], ids=lambda thing: str(getattr(thing, "__qualname__", thing.__name__)))
def test_what_a_newcomer_asks_for_has_an_example(thing: object) -> None:
    assert ">>>" in (thing.__doc__ or "")


def test_every_public_name_says_what_it_is() -> None:
    for owner in (ring3.Kernel, ring3.Process):
        for name, member in vars(owner).items():
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert (member.__doc__ or "").strip(), f"{owner.__name__}.{name}"


def test_names_complete() -> None:
    """What is imported when asked for is there to be completed, and nothing that is not ring3's."""
    assert {"explain", "KernelFault", "MachineUnavailable", "events", *ring3.__all__} <= set(dir(ring3))
    assert not {"annotations", "TYPE_CHECKING", "Any"} & set(dir(ring3))
    assert all(getattr(ring3, name) is not None for name in dir(ring3) if not name.startswith("__"))
