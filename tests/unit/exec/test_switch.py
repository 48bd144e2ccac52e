"""The exec switch and the registry of personalities: the seed's rules and errors (NetBSD kern_exec.c)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from ring3.errors import EBUSY, EEXIST, ENOENT, ENOEXEC
from ring3.exec import switch as switch_module
from ring3.exec.formats.elf import ELF_LINUX64
from ring3.exec.formats.script import SCRIPT
from ring3.exec.package import ExecPackage
from ring3.exec.switch import BUILTIN, Entry, ExecSwitch, Priority, link, new_switch, plugins_installed
from ring3.protocols import Personality
from tests.unit.exec.bench import Bench


class Named:
    """A format that knows nothing."""

    def __init__(self, name: str, header_size: int = 4, personality: str | None = None) -> None:
        self.name = name
        self.header_size = header_size
        self.personality = personality

    def recognise(self, package: ExecPackage) -> bool:
        raise ENOEXEC


def names(switch: ExecSwitch) -> list[str]:
    return [row.name for row in switch.entries]


def ordered(*rows: tuple[str, Priority]) -> list[str]:
    linked: list[Entry] = []
    for name, priority in rows:
        link(linked, Entry(Named(name), priority))
    return [entry.format.name for entry in linked]


FIRST, ANY, LAST = Priority.FIRST, Priority.ANY, Priority.LAST


@pytest.mark.parametrize(("rows", "order"), [
    ([("a", ANY), ("b", ANY)], "ab"),
    ([("a", ANY), ("b", FIRST), ("c", FIRST)], "cba"),
    ([("a", LAST), ("b", LAST)], "ab"),
    ([("a", FIRST), ("z", LAST), ("b", ANY)], "abz"),
    ([("a", ANY), ("z", LAST), ("b", ANY), ("y", LAST), ("c", FIRST)], "cabzy"),
    ([("z", LAST), ("a", ANY)], "za"),                       # the head rule: ANY never goes before the head
    ([("z", LAST), ("a", ANY), ("b", ANY)], "zba"[:1] + "ab"),
    ([("z", LAST), ("y", LAST), ("a", ANY)], "zay"),
    ([("z", LAST), ("a", FIRST), ("b", ANY)], "abz"),
])
def test_insertion(rows: list[tuple[str, Priority]], order: str) -> None:
    assert "".join(ordered(*rows)) == order


def test_starts_from_the_tuple(bench: Bench) -> None:
    assert names(bench.system.execsw) == ["script", "elf64", "elf32"]
    assert bench.system.execsw.header_size == 64


def test_added_entries_come_newest_first(bench: Bench) -> None:
    switch = ExecSwitch(bench.system, (Entry(SCRIPT), Entry(ELF_LINUX64)))
    for name, priority in (("one", ANY), ("two", ANY), ("f1", FIRST), ("f2", FIRST), ("l1", LAST), ("l2", LAST)):
        switch.add(Named(name), priority)
    # Linked newest first: of two FIRST the older ends up ahead, of two LAST the newer.
    assert names(switch) == ["f1", "f2", "script", "elf64", "two", "one", "l2", "l1"]


def test_header_size_follows(bench: Bench) -> None:
    switch = ExecSwitch(bench.system)
    big = Named("big", 4000)
    switch.add(big)
    assert switch.header_size == 4000
    switch.remove(big)
    assert switch.header_size == 64


def test_errors_of_add_and_remove(bench: Bench) -> None:
    switch = ExecSwitch(bench.system)
    mine = Named("mine")
    switch.add(mine)
    with pytest.raises(EEXIST):
        switch.add(mine, Priority.FIRST)
    switch.remove(mine)
    with pytest.raises(ENOENT):
        switch.remove(mine)
    with pytest.raises(ENOENT):
        switch.remove(SCRIPT)
    with pytest.raises(ENOENT):
        switch.add(Named("theirs", personality="netbsd"))


def test_an_exec_in_flight_keeps_its_list(bench: Bench, tmp_path: Path) -> None:
    """A format that takes itself and everything added out while it is being asked: the others are asked still."""
    asked = []

    class Vanishing(Named):
        def recognise(self, package: ExecPackage) -> bool:
            asked.append(self.name)
            for row in list(rows):
                rows.remove(row)
                package.system.execsw.remove(row)
            raise ENOEXEC

    rows = [Vanishing("a"), Vanishing("b")]
    for row in rows:
        bench.system.execsw.add(row)
    (tmp_path / "x").write_bytes(b"neither")
    (tmp_path / "x").chmod(0o755)
    assert bench.verdict(bench.request(bytes(tmp_path / "x"))) == "ENOEXEC"
    assert asked == ["b", "a"]
    assert names(bench.system.execsw) == [entry.format.name for entry in BUILTIN]


def a_personality(bench: Bench, name: str) -> Personality:
    linux = bench.system.personalities["linux"]
    return Personality(name=name, abis=linux.abis, exec=linux.exec, sysname="X", release="1", version="1", machine_name="x")


def test_registry_of_personalities(bench: Bench) -> None:
    switch = bench.system.execsw
    other = a_personality(bench, "other")
    switch.register_personality(other)
    with pytest.raises(EEXIST):
        switch.register_personality(a_personality(bench, "other"))
    with pytest.raises(ENOENT):
        switch.unregister_personality("third")
    with pytest.raises(EBUSY, match="built in"):
        switch.unregister_personality("linux")
    row = Named("row", personality="other")
    switch.add(row)
    with pytest.raises(EBUSY, match="format"):
        switch.unregister_personality("other")
    switch.remove(row)
    bench.t.proc.personality = other
    with pytest.raises(EBUSY, match="process"):
        switch.unregister_personality("other")
    bench.t.proc.personality = bench.system.personalities["linux"]
    switch.unregister_personality("other")
    assert list(bench.system.personalities) == ["linux"]


# --- plug-ins: a format of a third party, installed
HELLO = '''
"""Files that begin with "hello " are run by /bin/echo, which says the rest."""

from ring3.errors import ENOEXEC


class Hello:
    name = "hello"
    header_size = 128
    personality = None

    def recognise(self, package):
        if not package.header.startswith(b"hello "):
            raise ENOEXEC
        words = package.header[6:].partition(b"\\n")[0].rstrip(b"\\0")
        package.rewrite(b"/bin/echo", [b"/bin/echo", words])
        return True


HELLO = Hello()
'''


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution with one entry point, as pip would leave it."""
    site = tmp_path / "site"
    info = site / "ring3_hello-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "ring3_hello.py").write_text(HELLO)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ring3-hello\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ring3.formats]\nhello = ring3_hello:HELLO\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "ring3_hello", raising=False)
    return site


def test_plugin_adds_a_format(bench: Bench, tmp_path: Path, installed: Path) -> None:
    assert plugins_installed([str(installed)])
    bench.system.execsw = new_switch(bench.system)
    assert names(bench.system.execsw) == ["script", "elf64", "elf32", "hello"]
    (tmp_path / "x").write_bytes(b"hello out there\n")
    (tmp_path / "x").chmod(0o755)
    plan = bench.check(bytes(tmp_path / "x"), [b"x", b"more"])
    assert plan.argv == (b"/bin/echo", b"out there", b"more")
    assert plan.exe.path.endswith(b"/echo")
    assert plan.format == "elf64"


def test_looking_for_plugins_is_cheap() -> None:
    assert not plugins_installed(sys.path)
    best = 1.0
    for _ in range(5):
        start = time.perf_counter()
        plugins_installed(sys.path)
        best = min(best, time.perf_counter() - start)
    assert best < 0.003, f"{best * 1000:.2f} ms"     # about 0.3 ms; a busy machine gets some room


def test_no_state_between_kernels(bench: Bench) -> None:
    bench.system.execsw.add(Named("only here"))
    other = Bench()
    try:
        assert "only here" not in names(other.system.execsw)
    finally:
        other.close()
    assert switch_module.BUILTIN == BUILTIN
