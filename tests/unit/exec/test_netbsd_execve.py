"""sys_execve before its point of no return: arguments and the room for them, by NetBSD's rules (kern_exec.c)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ring3.abi.elf import EM_386
from ring3.errors import EIO, ENOENT, ENOEXEC
from ring3.exec.check import check_exec
from ring3.exec.execute import execute
from ring3.exec.package import ExecRequest
from ring3.exec.plan import ExecPlan
from ring3.personality.netbsd.exec_rules import NCARGS
from ring3.personality.netbsd.stack import argument_words, length
from ring3.proc.proc import Rlimit, Thread
from ring3.protocols import Instrument
from tests.rows import row
from tests.unit.exec.netbsd import NetbsdBench, branded, put


@pytest.fixture
def bench() -> Iterator[NetbsdBench]:
    made = NetbsdBench()
    yield made
    made.close()


@pytest.fixture
def prog(bench: NetbsdBench, tmp_path: Path) -> bytes:
    """A program, which the process runs already."""
    path = put(tmp_path / "p", branded())
    bench.start(path)
    return path


@pytest.fixture
def script(prog: bytes, tmp_path: Path) -> bytes:
    return put(tmp_path / "s", b"#!%s -x\n" % prog)


class Strings(Instrument):
    """Who is told of strings (ktrace)."""

    def __init__(self) -> None:
        self.argv: list[bytes] = []
        self.envp: list[bytes] = []

    def exec_strings(self, thread: Thread, argv: tuple[bytes, ...], envp: tuple[bytes, ...]) -> None:
        self.argv += argv
        self.envp += envp


def watch(bench: NetbsdBench) -> Strings:
    watcher = Strings()
    bench.system.instruments.append(watcher)
    return watcher


def guest(path: bytes, argv: int, envp: int = 0) -> ExecRequest:
    return ExecRequest(path, argv, envp)


# --- arguments
@row("netbsd", "sys_execve", "no argument vector is EINVAL, once the image was accepted: a file that will not do says so first")
def test_null_argv(bench: NetbsdBench, prog: bytes, tmp_path: Path) -> None:
    assert bench.refuse(guest(prog, 0)) == "EINVAL"
    assert bench.refuse(guest(b"/no/such", 0)) == "ENOENT"
    assert bench.refuse(guest(put(tmp_path / "j", b"junk"), 0)) == "ENOEXEC"
    assert bench.refuse(guest(put(tmp_path / "e", branded(entry=0)), 0)) == "ENOEXEC"


@row("netbsd", "sys_execve", "no environment vector means an empty environment")
def test_null_envp(bench: NetbsdBench, prog: bytes) -> None:
    plan = check_exec(bench.t, guest(prog, bench.poke(b"a")))
    assert isinstance(plan, ExecPlan)
    assert (plan.argv, plan.envp) == ((b"a",), ())


@row("netbsd", "sys_execve", "an empty argument vector is allowed: argc is 0")
def test_empty_argv(bench: NetbsdBench, prog: bytes) -> None:
    plan = check_exec(bench.t, guest(prog, bench.poke()))
    assert isinstance(plan, ExecPlan)
    assert plan.argv == ()
    assert plan.stack.data[:24] == bytes(24)


@row("netbsd", "sys_execve, copyin", "a vector that cannot be read is EFAULT")
def test_bad_vectors(bench: NetbsdBench, prog: bytes) -> None:
    good = bench.poke(b"a")
    assert bench.refuse(guest(prog, 0x10)) == "EFAULT"
    assert bench.refuse(guest(prog, good, 0x10)) == "EFAULT"
    assert bench.refuse(guest(prog, (1 << 64) - 8)) == "EFAULT"
    top = bench.t.vm.stack_top
    bench.t.vm.copyout(top - 8, struct.pack("<Q", good))        # the vector runs out of memory
    assert bench.refuse(guest(prog, top - 8)) == "EFAULT"


@row("netbsd", "sys_execve, copyinstr", "a string that cannot be read is EFAULT, in arguments and environment")
def test_bad_strings(bench: NetbsdBench, prog: bytes) -> None:
    assert bench.refuse(guest(prog, bench.poke(b"a", None))) == "EFAULT"
    vector = bench.poke(None)
    assert bench.refuse(ExecRequest(prog, [b"a"], vector)) == "EFAULT"


@row("netbsd", "sys_execve, NCARGS",
     "strings with their zeros may fill the buffer, and one byte more is E2BIG; pointers do not count")
@pytest.mark.parametrize("count", [1, 100])
def test_too_big(bench: NetbsdBench, prog: bytes, count: int) -> None:
    env = [b"E=%d" % i for i in range(count)]
    rest = NCARGS - sum(len(e) + 1 for e in env)
    assert bench.refuse(ExecRequest(prog, [b"x" * (rest - 1)], env)) == "ExecPlan"
    assert bench.refuse(ExecRequest(prog, [b"x" * rest], env)) == "E2BIG"
    vector = bench.poke(b"y" * (rest - 1))
    assert bench.refuse(ExecRequest(prog, vector, env)) == "ExecPlan"
    vector = bench.poke(b"y" * rest)
    assert bench.refuse(ExecRequest(prog, vector, env)) == "E2BIG"


@row("netbsd", "sys_execve, NCARGS", "a full buffer is noticed before a bad pointer behind it, a bad pointer before it too")
def test_errors_come_in_order(bench: NetbsdBench, prog: bytes) -> None:
    assert bench.refuse(guest(prog, bench.poke(b"x" * 100000, b"x" * 100000, b"x" * 100000, None))) == "E2BIG"
    assert bench.refuse(guest(prog, bench.poke(None, b"x" * 100000, b"x" * 100000, b"x" * 100000))) == "EFAULT"


def test_a_vector_without_end(bench: NetbsdBench, prog: bytes) -> None:
    """The same empty string for ever: the buffer fills, and no more is read."""
    vm = bench.t.vm
    start = vm.stack_top - (7 << 20)
    where = vm.stack_top - 0x1000
    vm.copyout(where, b"\0")
    vm.copyout(start, struct.pack("<Q", where) * (NCARGS + 2))
    assert bench.refuse(guest(prog, start)) == "E2BIG"


@row("netbsd", "sys_execve, EXEC_HASARGL", "a script's arguments stand before the caller's")
@row("netbsd", "sys_execve, EXEC_SKIPARG", "the caller's first argument is skipped without a look at it")
def test_fakes(bench: NetbsdBench, prog: bytes, script: bytes) -> None:
    plan = check_exec(bench.t, guest(script, bench.poke(None, b"one")))
    assert isinstance(plan, ExecPlan)
    assert plan.argv == (prog, b"-x", script, b"one")


@row("netbsd", "sys_execve, EXEC_SKIPARG", "it is skipped even where the vector is empty: what is read is what follows its end")
def test_skipping_an_empty_argv(bench: NetbsdBench, prog: bytes, script: bytes) -> None:
    vector = bench.poke()
    bench.t.vm.copyout(vector, struct.pack("<3Q", 0, bench.t.vm.arg_start, 0))
    plan = check_exec(bench.t, guest(script, vector))
    assert isinstance(plan, ExecPlan)
    assert plan.argv == (prog, b"-x", script, b"prog")
    plan = check_exec(bench.t, ExecRequest(script, [], []))
    assert isinstance(plan, ExecPlan)
    assert plan.argv == (prog, b"-x", script)


@row("netbsd", "sys_execve, EXEC_HASARGL", "a script with no argument vector is EINVAL all the same")
def test_script_without_argv(bench: NetbsdBench, script: bytes) -> None:
    assert bench.refuse(guest(script, 0)) == "EINVAL"


# --- who is told
@row("netbsd", "sys_execve, KTR_EXEC_ARG, KTR_EXEC_ENV", "who traces is told of each string as it is copied, not of a script's own")
def test_strings_are_told(bench: NetbsdBench, script: bytes) -> None:
    told = watch(bench)
    bench.check(script, [b"zero", b"one"], [b"A=1", b"B=2"])
    assert (told.argv, told.envp) == ([b"one"], [b"A=1", b"B=2"])


@row("netbsd", "sys_execve, KTR_EXEC_ARG, KTR_EXEC_ENV", "also of those that were copied before the exec failed")
def test_strings_are_told_of_a_failing_exec(bench: NetbsdBench, prog: bytes) -> None:
    told = watch(bench)
    assert bench.refuse(guest(prog, bench.poke(b"a", b"b", None))) == "EFAULT"
    assert told.argv == [b"a", b"b"]
    assert bench.refuse(ExecRequest(prog, [b"c"], bench.poke(b"D=1", None))) == "EFAULT"
    assert (told.argv[2:], told.envp) == ([b"c"], [b"D=1"])


# --- room
def longest(bench: NetbsdBench, path: bytes, word_size: int) -> tuple[str, str]:
    """The verdicts for an argument that just fits into the stack, and for one 16 bytes longer."""
    limit = 64 << 10
    bench.t.proc.rlimits[Rlimit.STACK] = (limit, limit)
    words = argument_words(word_size, has_aux=True)
    strings = limit - length(word_size, 1, 0, words, 0, 0)
    while length(word_size, 1, 0, words, strings, 0) > limit:
        strings -= 1
    while length(word_size, 1, 0, words, strings + 1, 0) <= limit:
        strings += 1
    return tuple(bench.refuse(bench.request(path, [b"x" * (n - 1)])) for n in (strings, strings + 1))  # type: ignore[return-value]


@row("netbsd", "sys_execve", "arguments that do not fit into the stack's limit are ENOMEM, pointers counted with 8 bytes")
def test_room_64(bench: NetbsdBench, prog: bytes) -> None:
    assert longest(bench, prog, 8) == ("ExecPlan", "ENOMEM")


@row("netbsd", "sys_execve, EXEC_32", "and with 4 bytes for a 32-bit image")
def test_room_32(bench: NetbsdBench, tmp_path: Path) -> None:
    path = put(tmp_path / "p32", branded(machine=EM_386))
    assert longest(bench, path, 4) == ("ExecPlan", "ENOMEM")
    assert length(4, 3, 3, 10, 0, 0) < length(8, 3, 3, 10, 0, 0)


@row("netbsd", "sys_execve", "room is asked for after the arguments were copied: EFAULT and E2BIG come first")
def test_room_comes_last(bench: NetbsdBench, prog: bytes) -> None:
    vector = bench.poke(b"x" * 10000, None)
    bench.t.proc.rlimits[Rlimit.STACK] = (4096, 4096)
    assert bench.refuse(guest(prog, vector)) == "EFAULT"
    assert bench.refuse(bench.request(prog, [b"x" * 300000])) == "E2BIG"
    assert bench.refuse(bench.request(prog, [b"x" * 10000])) == "ENOMEM"


# --- flags
def during(monkeypatch: pytest.MonkeyPatch, look: Callable[[], object]) -> list[object]:
    """What `look` sees whenever the exec comes to a step."""
    from ring3.exec.package import ExecPackage

    seen: list[object] = []
    real = ExecPackage.at_step

    def at_step(package: ExecPackage, step: str) -> None:
        seen.append(look())
        real(package, step)

    monkeypatch.setattr(ExecPackage, "at_step", at_step)
    return seen


@row("netbsd", "sys_execve, P_INEXEC",
     "from the first step to the last nobody else may touch the process; afterwards they may, refused or not")
def test_in_exec(bench: NetbsdBench, prog: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    p = bench.t.proc
    at_exec: list[bool] = []

    class Watcher(Instrument):
        def exec(self, thread: Thread, plan: ExecPlan) -> None:
            at_exec.append(thread.proc.in_exec)

    bench.system.instruments.append(Watcher())
    seen = during(monkeypatch, lambda: p.in_exec)
    bench.run(bench.request(prog))
    assert seen
    assert all(seen)
    assert at_exec == [True]
    assert not p.in_exec
    with pytest.raises(ENOEXEC):
        execute(bench.t, bench.request(put(Path(prog.decode()).parent / "j", b"junk")))
    assert not p.in_exec


@row("netbsd", "sys_execve, L_SA_UPCALL", "the thread gets no upcalls meanwhile, and gets them again when the exec is refused")
def test_upcalls(bench: NetbsdBench, monkeypatch: pytest.MonkeyPatch) -> None:
    t = bench.t
    t.upcalls = True
    t.proc.activations = marker = object()
    seen = during(monkeypatch, lambda: t.upcalls)
    with pytest.raises(ENOENT):
        execute(t, bench.request("/no/such"))
    assert seen == [False]
    assert t.upcalls
    assert t.proc.activations is marker


@row("netbsd", "sys_execve, sa_release", "scheduler activations are released by an exec")
def test_activations(bench: NetbsdBench, prog: bytes) -> None:
    bench.t.upcalls = True
    bench.t.proc.activations = object()
    bench.run(bench.request(prog))
    assert bench.t.proc.activations is None
    assert not bench.t.upcalls


def test_a_bug_of_ours_gives_the_flags_back(bench: NetbsdBench, prog: bytes) -> None:
    def policy(*_: object) -> None:
        raise RuntimeError

    bench.system.execsw.policies = (policy,)
    bench.t.upcalls = True
    with pytest.raises(RuntimeError):
        execute(bench.t, bench.request(prog))
    assert bench.t.upcalls
    assert not bench.t.proc.in_exec


@row("netbsd", "sys_execve, exec_lock", "the list of formats one exec works on stays the same until it ends")
def test_the_switch_of_an_exec(bench: NetbsdBench, tmp_path: Path) -> None:
    from tests.unit.exec.netbsd import Stub

    late = Stub("late", EIO("late"))

    def changes(_package: object) -> bool:
        bench.system.execsw.add(late)
        raise ENOEXEC("not mine")

    bench.system.execsw.add(Stub("changing", changes))
    assert bench.refuse(bench.request(put(tmp_path / "j", b"junk"))) == "ENOEXEC"
    assert late.asked == 0
    bench.system.execsw.remove(next(f for f in bench.system.execsw.entries if f.name == "changing"))
    assert bench.refuse(bench.request(put(tmp_path / "j", b"junk"))) == "EIO"
