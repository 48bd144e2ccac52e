"""Go's own tests of its standard library: built for linux and run natively, built for netbsd and run in ring3, side by side.

    python scripts/go_tests.py                     runs all packages, prints the table
    python scripts/go_tests.py os/exec time        only these
    python scripts/go_tests.py --write             also writes docs/netbsd-go.md
    python scripts/go_tests.py --keep DIR          keeps the test programs and Go's build cache there

A package's tests are one program (`go test -c`), run in the package's own directory with -test.v -test.short.  What differs is
listed; a difference that is understood has its reason here.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

TOP: Final = Path(__file__).parents[1]
PAGE: Final = TOP / "docs" / "netbsd-go.md"
PACKAGES: Final = (
    "bufio", "compress/gzip", "crypto/sha256", "encoding/json", "io", "math/big", "os", "os/exec", "path/filepath", "strings",
    "sync", "time",
)
TIMEOUT: Final = 900
RESULT: Final = re.compile(r"^\s*--- (PASS|FAIL|SKIP): (\S+)", re.MULTILINE)
RUN: Final = re.compile(r"^=== RUN\s+(\S+)", re.MULTILINE)

_NO_AVX: Final = "Go switches AVX off on NetBSD, whose signal frames lose it (Go issue 80285); ring3's keep it"
_LINUX_ALONE: Final = "Go has it for Linux alone"

# Why a test ends otherwise, or is only there on one side: package and a pattern of its name -> reason.
REASONS: Final[Mapping[tuple[str, str], str]] = MappingProxyType({
    ("crypto/sha256", r".*/(AVX2|SHA-NI)"): _NO_AVX,
    ("os", "Test(CopyFile|GetPollFDAndNetwork|ProcCopy|SendFile|SpliceFile)"): _LINUX_ALONE,
    ("os", "Test(FindProcessViaPidfd|PidfdLeak|ProcessWithHandleLinux|StartProcessWithPidfd)"): _LINUX_ALONE,
    ("os", "TestProcessWithHandleUnsupported"): "Go has it for systems without pidfds",
    ("os", "TestNonpollableDeadline"): "Go skips it on every BSD: regular files can be polled there",
    ("os", "TestRootConsistencyRename/(from|to)/symlink_slash"): 'Go skips it on Linux, where "link/" is not followed',
    ("os/exec", "TestFindExecutableVsNoexec"): _LINUX_ALONE,
    ("time", "TestLongAdjustTimers"): "a million timers; on NetBSD each look at the clock is a call, and the test's minute is over",
})


class Run(NamedTuple):
    """One package on one system.  `results`: test name to PASS, FAIL, SKIP or CRASH (begun, not ended)."""

    results: dict[str, str]
    status: int
    seconds: float
    output: str

    def count(self, word: str) -> int:
        """How many whole tests (no subtests) ended so."""
        return sum(result == word for name, result in self.results.items() if "/" not in name)


def go() -> str:
    """The Go beside this Python, or the one along PATH."""
    beside = Path(sys.executable).with_name("go")
    return str(beside) if beside.exists() else "go"


def environment(keep: Path) -> dict[str, str]:
    """What building needs: nothing is fetched, nothing written elsewhere."""
    return {
        **os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOCACHE": str(keep / "cache"),
        "GOPATH": str(keep / "path"), "GOENV": "off",
    }


def goroot(env: Mapping[str, str]) -> Path:
    """Where Go's sources are."""
    return Path(subprocess.run([go(), "env", "GOROOT"], env=env, capture_output=True, text=True, check=True).stdout.strip())


def build(package: str, system: str, keep: Path) -> Path:
    """The package's test program for one system."""
    program = keep / system / package.replace("/", "_")
    program.parent.mkdir(parents=True, exist_ok=True)
    env = environment(keep)
    subprocess.run(
        [go(), "test", "-c", "-o", str(program), package], check=True, cwd=goroot(env) / "src", env={**env, "GOOS": system}
    )
    return program


def run(command: list[str], directory: Path, env: Mapping[str, str]) -> Run:
    """Run one test program; one that takes too long is ended and counts as it stands."""
    begun = time.monotonic()
    with subprocess.Popen(
        command, cwd=directory, env=dict(env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            data, _ = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                data, _ = process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                data, _ = process.communicate()
    output = data.decode(errors="replace")
    results = dict.fromkeys(RUN.findall(output), "CRASH") | {name: word for word, name in RESULT.findall(output)}
    return Run(results, process.returncode, time.monotonic() - begun, output)


def both(package: str, keep: Path) -> tuple[Run, Run]:
    """Natively on linux, and for netbsd in ring3."""
    env = environment(keep)
    root = goroot(env)
    directory = root / "src" / package
    env |= {"GOROOT": str(root), "PATH": f"{Path(go()).parent}:{env['PATH']}", "PWD": str(directory)}
    flags = ["-test.v", "-test.short", "-test.paniconexit0", f"-test.timeout={TIMEOUT - 60}s"]
    native = run([str(build(package, "linux", keep)), *flags], directory, env)
    ring3 = [str(Path(sys.executable).with_name("ring3")), "run", "--"]
    here = run([*ring3, str(build(package, "netbsd", keep)), *flags], directory, env)
    return native, here


def differences(package: str, native: Run, here: Run) -> Iterator[tuple[str, str, str, str]]:
    """(test, natively, here, reason) where the two differ; a subtest only where its test does not."""
    for name in sorted(native.results.keys() | here.results.keys()):
        one, other = native.results.get(name, "-"), here.results.get(name, "-")
        parent = name.rpartition("/")[0]
        if one != other and not (parent and native.results.get(parent, "-") != here.results.get(parent, "-")):
            reason = next((why for (where, what), why in REASONS.items() if where == package and re.fullmatch(what, name)), "")
            yield name, one, other, reason


def page(runs: Mapping[str, tuple[Run, Run]], version: str) -> str:
    """The whole of docs/netbsd-go.md."""
    lines = [
        "# Go's own tests, for NetBSD, in ring3",
        "",
        "Written by `scripts/go_tests.py --write`: the test programs of twelve packages of Go's standard library, built for",
        "linux/amd64 and run on the host, and built for netbsd/amd64 and run in ring3, both with `-test.short`.",
        f"{version}.",
        "",
        "| package | linux, natively: passed, skipped, failed | netbsd, in ring3: the same | s natively | s in ring3 |",
        "|---|---|---|---|---|",
    ]
    for package, (native, here) in runs.items():
        counts = [" ".join(str(r.count(word)) for word in ("PASS", "SKIP", "FAIL")) for r in (native, here)]
        crashed = here.count("CRASH")
        lines.append(
            f"| {package} | {counts[0]} | {counts[1]}{f', not ended {crashed}' if crashed else ''} "
            f"| {native.seconds:.1f} | {here.seconds:.1f} |"
        )
    lines += ["", "## Every difference", "", "`-` means that Go has the test on the other system only.", ""]
    lines += ["| package | test | linux | netbsd in ring3 | why |", "|---|---|---|---|---|"]
    for package, (native, here) in runs.items():
        for name, one, other, reason in differences(package, native, here):
            lines.append(f"| {package} | {name} | {one} | {other} | {reason or '**not understood**'} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Build, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("packages", nargs="*", help="import paths; all of them without")
    parser.add_argument("--write", action="store_true", help="write docs/netbsd-go.md")
    parser.add_argument("--keep", metavar="DIR", help="keep what is built, and the outputs, there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ring3-go-") as scratch:
        keep = Path(options.keep) if options.keep else Path(scratch)
        runs = {}
        for package in options.packages or PACKAGES:
            runs[package] = native, here = both(package, keep)
            for system, done in (("linux", native), ("netbsd", here)):
                (keep / f"{system}-{package.replace('/', '_')}.txt").write_text(done.output)
                told = ", ".join(f"{done.count(word)} {word}" for word in ("PASS", "SKIP", "FAIL", "CRASH"))
                print(f"{package:16} {system:7} status {done.status:3} {done.seconds:7.1f} s  {told}", flush=True)
            for name, one, other, reason in differences(package, native, here):
                print(f"    {name}: {one} / {other}  {reason}")
        version = subprocess.run([go(), "version"], capture_output=True, text=True, check=True).stdout.split()[2]
        if options.write:
            PAGE.write_text(page(runs, f"Go is {version}"), encoding="utf-8")


if __name__ == "__main__":
    main()
