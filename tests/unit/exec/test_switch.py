"""The exec switch and the registry of personalities: the seed's rules and errors (NetBSD kern_exec.c)."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from ring3.errors import EBUSY, EEXIST, EINVAL, ENOENT, ENOEXEC, ENOSYS
from ring3.exec import switch as switch_module
from ring3.exec.formats.elf import ELF_LINUX64
from ring3.exec.formats.script import SCRIPT
from ring3.exec.package import ExecPackage
from ring3.exec.switch import BUILTIN, Entry, ExecSwitch, Priority, link, new_switch, plugins_installed
from ring3.protocols import Personality
from tests.rows import row
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


@row("netbsd", "link_es", "an entry of priority first goes ahead of all others, and a later one ahead of an earlier one")
@row("netbsd", "link_es", "an entry of priority any goes behind the first and any ones, before the last ones")
@row("netbsd", "link_es", "an entry of priority last goes to the end, behind earlier last ones")
@row("netbsd", "link_es", "the head is never looked at: an any entry stands behind a last one that came first")
@row("netbsd", "link_es", "the first entry of all becomes the list, whatever its priority")
@pytest.mark.parametrize(("rows", "order"), [
    ([("a", ANY)], "a"),
    ([("z", LAST)], "z"),
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


@row("netbsd", "link_es", "an unknown priority is refused before anything changes")
@pytest.mark.parametrize("priority", [3, "first", None, 0])
def test_an_unknown_priority_is_refused(bench: Bench, priority: object) -> None:
    linked = [Entry(Named("a"))]
    with pytest.raises(EINVAL, match="priority"):
        link(linked, Entry(Named("b"), priority))  # type: ignore[arg-type]
    assert len(linked) == 1
    before = names(bench.system.execsw)
    with pytest.raises(EINVAL, match="priority"):
        bench.system.execsw.add(Named("b"), priority)
    assert names(bench.system.execsw) == before
    bench.system.execsw.add(Named("b"))              # not half there


@row("netbsd", "exec_init", "the switch starts from the table of built-in formats, in its order")
def test_starts_from_the_tuple(bench: Bench) -> None:
    assert names(bench.system.execsw)[:1] == ["script"]
    assert set(names(bench.system.execsw)) == {entry.format.name for entry in BUILTIN}
    switch = ExecSwitch(bench.system, tuple(Entry(Named(name)) for name in "abc"))
    assert names(switch) == ["a", "b", "c"]


@row("netbsd", "exec_init", "a kernel without formats cannot be")
def test_an_empty_table_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="without formats"):
        ExecSwitch(bench.system, ())


@row("netbsd", "exec_init", "without loadable modules the table's order holds, whatever the priorities say")
@row("netbsd", "exec_init", "without loadable modules nothing is added to the switch or taken from it")
def test_a_kernel_without_loadable_modules(bench: Bench) -> None:
    table = (Entry(Named("z", 9), LAST), Entry(Named("a", 7)), Entry(Named("f"), FIRST))
    fixed = ExecSwitch(bench.system, table, loadable=False)
    assert names(fixed) == ["z", "a", "f"]
    assert fixed.header_size == 9
    assert names(ExecSwitch(bench.system, table)) == ["f", "z", "a"]
    with pytest.raises(ENOSYS):
        fixed.add(Named("b"))
    with pytest.raises(ENOSYS):
        fixed.remove(table[0].format)
    with pytest.raises(ENOSYS):
        fixed.register_personality(a_personality(bench, "other"))
    with pytest.raises(ENOSYS):
        fixed.unregister_personality("linux")


@row("netbsd", "exec_add, exec_init", "formats that were added are linked behind the built-in ones, the newest first")
def test_added_entries_come_newest_first(bench: Bench) -> None:
    switch = ExecSwitch(bench.system, (Entry(SCRIPT), Entry(ELF_LINUX64)))
    for name, priority in (("one", ANY), ("two", ANY), ("f1", FIRST), ("f2", FIRST), ("l1", LAST), ("l2", LAST)):
        switch.add(Named(name), priority)
    # Linked newest first: of two FIRST the older ends up ahead, of two LAST the newer.
    assert names(switch) == ["f1", "f2", "script", "elf64", "two", "one", "l2", "l1"]


@row("netbsd", "exec_init, exec_add, exec_remove", "the header size is the largest a format asks for, anew at every change")
def test_header_size_follows(bench: Bench) -> None:
    switch = ExecSwitch(bench.system)
    normal = switch.header_size
    assert normal == max(entry.format.header_size for entry in BUILTIN)
    big, bigger = Named("big", 4000), Named("bigger", 5000)
    switch.add(big)
    assert switch.header_size == 4000
    switch.add(bigger)
    switch.remove(big)
    assert switch.header_size == 5000
    switch.remove(bigger)
    assert switch.header_size == normal


class Row:
    """A row that shares who recognises with others, as rows of one kind of file do."""

    header_size = 4

    def __init__(self, name: str, personality: str | None = None, probe: object = None) -> None:
        self.name, self.personality, self.probe = name, personality, probe

    @staticmethod
    def recognise(package: ExecPackage) -> bool:
        raise ENOEXEC(package.step)


@row("netbsd", "exec_add", "a format of an unknown personality is refused with ENOENT")
@row("netbsd", "exec_add", "a format that was added already is refused with EEXIST: same recogniser, same probe, same personality")
@row("netbsd", "exec_add", "only added formats are compared: one of the table may be added once more")
def test_errors_of_add(bench: Bench) -> None:
    switch = ExecSwitch(bench.system, (Entry(SCRIPT), Entry(ELF_LINUX64)))
    with pytest.raises(ENOENT, match="nobody"):
        switch.add(Named("theirs", personality="nobody"))
    mine = Named("mine")
    switch.add(mine)
    with pytest.raises(EEXIST):
        switch.add(mine, Priority.FIRST)
    switch.add(Row("one"))
    with pytest.raises(EEXIST):
        switch.add(Row("one more of it"))
    switch.add(Row("another probe", probe=len))
    switch.add(Row("another personality", personality="linux"))
    switch.add(ELF_LINUX64)
    with pytest.raises(EEXIST):
        switch.add(ELF_LINUX64)
    assert names(switch).count("elf64") == 2


@row("netbsd", "exec_remove", "a format that was not added is ENOENT, the built-in ones too")
@row("netbsd", "exec_remove", "a format is found by its triple, and goes; what stays keeps its order")
def test_errors_of_remove(bench: Bench) -> None:
    switch = ExecSwitch(bench.system, (Entry(SCRIPT), Entry(ELF_LINUX64)))
    mine = Named("mine")
    with pytest.raises(ENOENT):
        switch.remove(mine)
    with pytest.raises(ENOENT):
        switch.remove(SCRIPT)
    for format_ in (mine, Row("one"), Named("other")):
        switch.add(format_)
    switch.remove(Row("an equal one"))
    assert names(switch) == ["script", "elf64", "other", "mine"]
    with pytest.raises(ENOENT):
        switch.remove(Row("an equal one"))
    switch.add(ELF_LINUX64)
    switch.remove(ELF_LINUX64)                  # the added one goes, the table's stays
    assert names(switch).count("elf64") == 1
    with pytest.raises(ENOENT):
        switch.remove(ELF_LINUX64)


@row("netbsd", "sys_execve, exec_remove", "an exec in flight asks the formats it started with, although some have gone since")
def test_an_exec_in_flight_keeps_its_list(bench: Bench, tmp_path: Path) -> None:
    """A format that takes itself and everything added out while it is being asked: the others are asked still."""
    asked = []

    class Vanishing(Named):
        def recognise(self, package: ExecPackage) -> bool:
            asked.append(self.name)
            for vanishing in list(rows):
                rows.remove(vanishing)
                package.system.execsw.remove(vanishing)
            raise ENOEXEC

    rows = [Vanishing("a"), Vanishing("b")]
    for vanishing in rows:
        bench.system.execsw.add(vanishing)
    (tmp_path / "x").write_bytes(b"neither")
    (tmp_path / "x").chmod(0o755)
    assert bench.verdict(bench.request(bytes(tmp_path / "x"))) == "ENOEXEC"
    assert asked == ["b", "a"]
    assert set(names(bench.system.execsw)) == {entry.format.name for entry in BUILTIN}


@row("netbsd", "sys_execve, exec_add", "a format that is added while an exec is in flight is asked by the next one, not by this")
def test_an_exec_in_flight_does_not_see_what_is_added(bench: Bench, tmp_path: Path) -> None:
    asked = []

    class Late(Named):
        def recognise(self, package: ExecPackage) -> bool:
            asked.append(self.name)
            raise ENOEXEC

    class Adding(Named):
        def recognise(self, package: ExecPackage) -> bool:
            if not asked:
                package.system.execsw.add(Late("late", 9000), Priority.FIRST)
                package.system.execsw.add(Late("later"), Priority.LAST)
            asked.append(self.name)
            raise ENOEXEC

    bench.system.execsw.add(Adding("adding"), Priority.FIRST)
    (tmp_path / "x").write_bytes(b"neither")
    (tmp_path / "x").chmod(0o755)
    request = bench.request(bytes(tmp_path / "x"))
    assert bench.verdict(request) == "ENOEXEC"
    assert asked == ["adding"]
    assert bench.verdict(request) == "ENOEXEC"
    assert sorted(asked) == ["adding", "adding", "late", "later"]


@row("netbsd", "sys_execve, exec_init", "an exec in flight reads headers as long as when it began, for a script's interpreter too")
def test_an_exec_in_flight_keeps_its_header_size(bench: Bench, tmp_path: Path) -> None:
    seen = []

    class Shrinking(Named):
        def recognise(self, package: ExecPackage) -> bool:
            seen.append(len(package.header))
            if len(seen) == 1:
                package.system.execsw.remove(self)
            raise ENOEXEC

    bench.system.execsw.add(Shrinking("shrinking", 9000), Priority.FIRST)
    (tmp_path / "x").write_bytes(b"#!/bin/true\n")
    (tmp_path / "x").chmod(0o755)
    bench.check(bytes(tmp_path / "x"))
    assert seen == [9000, 9000]
    assert bench.system.execsw.header_size < 9000


def a_personality(bench: Bench, name: str) -> Personality:
    linux = bench.system.personalities["linux"]
    return Personality(name=name, abis=linux.abis, exec=linux.exec, sysname="X", release="1", version="1", machine_name="x")


@row("netbsd", "emul_register", "a personality that is not known yet is known from then on")
@row("netbsd", "emul_register", "a name that is taken is EEXIST")
@row("netbsd", "emul_search", "a personality is found by its name, an unknown name finds none")
def test_registering_personalities(bench: Bench) -> None:
    switch = bench.system.execsw
    assert switch.search_personality("other") is None
    other = a_personality(bench, "other")
    switch.register_personality(other)
    assert switch.search_personality("other") is other
    assert switch.search_personality("linux") is bench.system.personalities["linux"]
    with pytest.raises(EEXIST):
        switch.register_personality(a_personality(bench, "other"))
    with pytest.raises(EEXIST):
        switch.register_personality(a_personality(bench, "linux"))
    assert switch.search_personality("other") is other


@row("netbsd", "emul_unregister", "an unknown name is ENOENT")
@row("netbsd", "emul_unregister, exec_init", "a personality the kernel started with is EBUSY: it is built in")
@row("netbsd", "emul_unregister", "a personality that a format uses is EBUSY")
@row("netbsd", "emul_unregister", "a personality that a process runs under is EBUSY, a zombie's too")
@row("netbsd", "emul_unregister", "a personality that nobody uses is forgotten")
def test_unregistering_personalities(bench: Bench) -> None:
    switch = bench.system.execsw
    other = a_personality(bench, "other")
    switch.register_personality(other)
    with pytest.raises(ENOENT):
        switch.unregister_personality("third")
    with pytest.raises(EBUSY, match="built in"):
        switch.unregister_personality("linux")
    using = Named("row", personality="other")
    switch.add(using)
    with pytest.raises(EBUSY, match="format"):
        switch.unregister_personality("other")
    switch.remove(using)
    bench.t.proc.personality = other
    with pytest.raises(EBUSY, match="process"):
        switch.unregister_personality("other")
    bench.t.proc.zombie = True
    with pytest.raises(EBUSY, match="process"):
        switch.unregister_personality("other")
    bench.t.proc.personality = bench.system.personalities["linux"]
    switch.unregister_personality("other")
    assert "other" not in bench.system.personalities
    with pytest.raises(ENOENT):
        switch.unregister_personality("other")


def test_asking_for_a_built_in_personality_in_vain_does_not_build_it(bench: Bench) -> None:
    from ring3.personality import Personalities

    makers = {"linux": ("ring3.personality.linux", "linux_personality"), "lazy": ("ring3.no.such.module", "maker")}
    bench.system.personalities = Personalities(makers)
    switch = ExecSwitch(bench.system)
    with pytest.raises(EBUSY, match="built in"):
        switch.unregister_personality("lazy")
    with pytest.raises(EEXIST):
        switch.register_personality(a_personality(bench, "lazy"))
    switch.add(Named("theirs", personality="lazy"))


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
    assert "hello" in names(bench.system.execsw)
    (tmp_path / "x").write_bytes(b"hello out there\n")
    (tmp_path / "x").chmod(0o755)
    plan = bench.check(bytes(tmp_path / "x"), [b"x", b"more"])
    assert plan.argv == (b"/bin/echo", b"out there", b"more")
    assert plan.exe.path.endswith(b"/echo")
    assert plan.format == "elf64"


@pytest.mark.parametrize(("entry", "why"), [
    ("ring3_hello:NONE", "AttributeError"),
    ("ring3_absent", "ModuleNotFoundError"),
    ("ring3_hello:ODD", "EINVAL"),
    ("ring3_hello:STRANGE", "ENOENT"),
    ("ring3_hello:fails", "ZeroDivisionError"),
])
def test_a_plugin_that_cannot_be_used_is_left_out(bench: Bench, installed: Path, entry: str, why: str) -> None:
    (installed / "ring3_hello-1.0.dist-info" / "entry_points.txt").write_text(
        f"[ring3.formats]\nbad = {entry}\nhello = ring3_hello:HELLO\n"
    )
    with (installed / "ring3_hello.py").open("a") as file:
        file.write("\n\nclass Odd(Hello):\n    priority = 7\n\n\nclass Strange(Hello):\n    personality = 'nobody'\n\n\n"
                   "ODD, STRANGE = Odd(), Strange()\n\n\ndef fails():\n    return 1 // 0\n")
    with pytest.warns(RuntimeWarning, match=f"'bad'.*{why}"):
        switch = new_switch(bench.system)
    assert "hello" in names(switch)


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
