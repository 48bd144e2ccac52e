"""Scripts by NetBSD's rules (exec_script.c): one line, one argument, no script behind a script, /dev/fd for the unnamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ring3.abi.flags import MountFlags
from ring3.errors import ENOEXEC
from ring3.exec.check import check_exec
from ring3.exec.plan import ExecPlan
from ring3.personality.netbsd.exec_rules import MAXINTERP, SCRIPT_HEADER, split_script
from ring3.proc.proc import Rlimit
from ring3.vfs.memory import MemoryFS
from ring3.vfs.namei import NameiContext, namei
from tests.rows import row
from tests.unit.exec.netbsd import NetbsdBench, branded, put

A, B = 1000, 2000


@pytest.fixture
def bench() -> Iterator[NetbsdBench]:
    made = NetbsdBench()
    yield made
    made.close()


@row("netbsd", "exec_script_makecmds", "the line's first word is the interpreter, all the rest, blanks and all, is one argument")
@pytest.mark.parametrize(("line", "interpreter", "argument"), [
    (b"#!/i\n", b"/i", None), (b"#! \t/i\n", b"/i", None), (b"#!/i -x\n", b"/i", b"-x"), (b"#!/i  -x  y \n", b"/i", b"-x  y "),
    (b"#!/i \n", b"/i", None), (b"#!/i\t-x\n", b"/i", b"-x"), (b"#!/i\r\n", b"/i\r", None), (b"#!/i 'a b'\n", b"/i", b"'a b'"),
    (b"#!i\n", b"i", None), (b"#!/i\0 z\n", b"/i", None), (b"#!/i a\0b\n", b"/i", b"a"),
])
def test_lines(line: bytes, interpreter: bytes, argument: bytes | None) -> None:
    assert split_script(line.ljust(SCRIPT_HEADER, b"\0")) == (interpreter, argument)


@row("netbsd", "exec_script_makecmds", "a line that does not end within the header, or names nobody, is ENOEXEC")
@pytest.mark.parametrize("line", [b"#!", b"#!/i", b"#!\n", b"#! \t \n", b"#!" + b"/" * (MAXINTERP + 2) + b"\n", b"#!\0\n"])
def test_no_lines(line: bytes) -> None:
    with pytest.raises(ENOEXEC):
        split_script(line.ljust(SCRIPT_HEADER, b"\0")[:SCRIPT_HEADER])


@row("netbsd", "exec_script_makecmds", "the longest line that counts has MAXINTERP bytes and its end behind the mark")
def test_longest_line() -> None:
    name = b"/" * (MAXINTERP + 1)
    assert split_script(b"#!" + name + b"\n").interpreter == name


@row("netbsd", "exec_script_makecmds",
     "argv becomes interpreter, argument, script as it was called, and the caller's from the second on")
def test_arguments(bench: NetbsdBench, tmp_path: Path) -> None:
    prog = put(tmp_path / "p", branded())
    script = put(tmp_path / "s", b"#!%s -x y\n" % prog)
    assert bench.check(script, [b"gone", b"1", b"2"]).argv == (prog, b"-x y", script, b"1", b"2")
    assert bench.check(script, [b"gone"]).argv == (prog, b"-x y", script)


@row("netbsd", "exec_script_makecmds, EXEC_INDIR", "a script whose interpreter is a script is ENOEXEC")
def test_nested(bench: NetbsdBench, tmp_path: Path) -> None:
    inner = put(tmp_path / "i", b"#!%s\n" % put(tmp_path / "p", branded()))
    assert bench.refuse(bench.request(put(tmp_path / "o", b"#!%s\n" % inner))) == "ENOEXEC"
    assert bench.refuse(bench.request(inner)) == "ExecPlan"


@row("netbsd", "exec_script_makecmds, check_exec", "what the interpreter's check refuses with is the script's answer")
@pytest.mark.parametrize(("interpreter", "answer"), [(b"/no/such", "ENOENT"), (b"/dev/null", "EACCES"), (b"/etc", "EACCES")])
def test_bad_interpreters(bench: NetbsdBench, tmp_path: Path, interpreter: bytes, answer: str) -> None:
    assert bench.refuse(bench.request(put(tmp_path / "s", b"#! %s\n" % interpreter))) == answer


@row("netbsd", "exec_script_makecmds", "an interpreter nobody knows is ENOEXEC")
def test_unknown_interpreter(bench: NetbsdBench, tmp_path: Path) -> None:
    junk = put(tmp_path / "j", b"junk")
    assert bench.refuse(bench.request(put(tmp_path / "s", b"#!%s\n" % junk))) == "ENOEXEC"


@row("netbsd", "exec_script_makecmds, check_exec", "a relative interpreter is looked up from the current directory")
def test_relative_interpreter(bench: NetbsdBench, tmp_path: Path) -> None:
    put(tmp_path / "p", branded())
    script = put(tmp_path / "s", b"#!p\n")
    assert bench.refuse(bench.request(script)) == "ENOENT"
    root = bench.system.mounts.root
    bench.t.proc.fs.cwd = namei(NameiContext(root, root, bench.t.proc.cred), bytes(tmp_path))
    assert bench.check(script).argv == (b"p", script)


def in_memory(bench: NetbsdBench, script_mode: int, owner: tuple[int, int] = (B, B), program_mode: int = 0o755) -> bytes:
    fs = MemoryFS()
    prog = fs.root().create(b"prog", 0o100000 | program_mode, 0, 0)
    prog.write(0, branded())
    script = fs.root().create(b"s", 0o100000 | script_mode, *owner)
    script.write(0, b"#!/tmp/prog -x\n")
    root = bench.system.mounts.root
    bench.system.mounts.mount(fs, namei(NameiContext(root, root, bench.t.proc.cred), b"/tmp"), MountFlags.NONE)
    return b"/tmp/s"


@row("netbsd", "exec_script_makecmds, EXEC_HASFD",
     "a script its caller cannot read is handed over by the lowest free descriptor, as /dev/fd/N")
def test_unreadable(bench: NetbsdBench) -> None:
    path = in_memory(bench, 0o711)
    t = bench.user(A)
    bench.run(bench.request(path, [b"zero", b"one"]))
    assert sorted(t.proc.fds.files) == [0]
    assert not t.proc.fds.cloexec
    assert t.proc.fds.get(0).read(2) == b"#!"
    strings = t.vm.copyin(t.vm.arg_start, t.vm.arg_end - t.vm.arg_start)
    assert strings == b"/tmp/prog\0-x\0/dev/fd/0\0one\0"


@row("netbsd", "exec_script_makecmds, EXEC_HASFD", "one it can read keeps its name")
def test_readable(bench: NetbsdBench) -> None:
    path = in_memory(bench, 0o755)
    bench.user(A)
    plan = bench.check(path)
    assert plan.argv == (b"/tmp/prog", b"-x", b"/tmp/s")
    assert plan.opens == ()


@row("netbsd", "exec_script_makecmds, SETUIDSCRIPTS",
     "set-id bits of a script count, with its owner and group, and the script comes by descriptor")
@pytest.mark.parametrize(("mode", "euid", "egid"), [(0o4755, B, A), (0o2755, A, B), (0o6755, B, B)])
def test_setid_scripts(bench: NetbsdBench, mode: int, euid: int, egid: int) -> None:
    path = in_memory(bench, mode)
    bench.user(A)
    plan = bench.check(path)
    assert (plan.cred.euid, plan.cred.egid, plan.cred.ruid, plan.cred.rgid) == (euid, egid, A, A)
    assert plan.argv[-1] == b"/dev/fd/0"
    assert [fd for fd, file in plan.opens if file is not None] == [0]
    assert [fd for fd, file in plan.opens if file is None] == [1, 2]
    assert dict(plan.stack.auxv)[2000] == euid


@row("netbsd", "exec_script_makecmds, SETUIDSCRIPTS", "set-id bits of the interpreter count as well")
def test_setid_interpreter(bench: NetbsdBench) -> None:
    path = in_memory(bench, 0o2755, program_mode=0o4755)
    bench.user(A)
    plan = bench.check(path)
    assert (plan.cred.euid, plan.cred.egid) == (0, B)


@row("netbsd", "exec_script_makecmds, EXEC_HASFD", "without a free descriptor the exec is refused with EMFILE")
def test_no_descriptor(bench: NetbsdBench) -> None:
    path = in_memory(bench, 0o711)
    t = bench.user(A)
    t.proc.rlimits[Rlimit.NOFILE] = (0, 0)
    assert bench.refuse(bench.request(path)) == "EMFILE"


@row("netbsd", "sys_execve, EXEC_HASFD", "the script's descriptor is gone again when the exec fails later")
def test_the_descriptor_is_given_back(bench: NetbsdBench) -> None:
    path = in_memory(bench, 0o711)
    t = bench.user(A)
    bench.start(b"/tmp/prog")
    before = dict(t.proc.fds.files)
    assert bench.refuse(bench.request(path)._replace(argv=0)) == "EINVAL"
    assert t.proc.fds.files == before
    assert t.proc.fds.lowest() == 0


@row("netbsd", "sys_execve, p_comm", "a script's process is named after the interpreter, which is its text too")
def test_names(bench: NetbsdBench, tmp_path: Path) -> None:
    prog = put(tmp_path / "a-rather-long-name", branded())
    bench.run(bench.request(put(tmp_path / "s", b"#!%s\n" % prog)))
    assert bench.t.comm == b"a-rather-long-na"
    assert bench.t.proc.exe is not None
    assert bench.t.proc.exe.path(bench.t.proc.fs.root) == prog


def test_open_for_writing(bench: NetbsdBench, tmp_path: Path) -> None:
    """A script may be open for writing, a program not (vn_marktext)."""
    prog = put(tmp_path / "p", branded())
    script = put(tmp_path / "s", b"#!%s\n" % prog)
    plan = bench.check(script)
    root = bench.system.mounts.root
    ctx = NameiContext(root, root, bench.t.proc.cred)
    namei(ctx, script).vnode.writers += 1
    assert isinstance(check_exec(bench.t, bench.request(script)), ExecPlan)
    plan.exe.vnode.writers += 1
    assert bench.refuse(bench.request(script)) == "ETXTBSY"
