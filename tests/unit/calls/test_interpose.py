"""Hooks that mean no good: whatever one does, the guest goes on and the kernel stays whole."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import ring3
from ring3.abi.x86 import Arch
from ring3.calls.interpose import EVERY, Call, Interposer, Marks, _answer, marks_of
from ring3.calls.rewritten import RewrittenAbis
from ring3.calls.syscall import Pair
from ring3.personality.linux import linux_personality
from ring3.trace.inject import Injector, parse_injection
from ring3.trace.strace import Strace
from tests.guest.netbsd.build import build

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(200)]
CROSSING = Path(__file__).parents[2] / "abuse" / "guest" / "nbcrossing.c"


def after_hook(hook: Callable[[Call], object], name: str = "write", *, after: bool = False) -> tuple[int, bytes]:
    """What becomes of `echo hello` whose writes are hooked."""
    with ring3.Kernel() as kernel:
        kernel.on_syscall(name, after=after)(hook)
        done = kernel.run(["/bin/echo", "hello"], capture_output=True, timeout=90)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "hook",
    [
        lambda call: call.answer(1 << 70), lambda call: call.answer(1 << 64), lambda call: call.answer(-1 << 64),
        lambda call: call.answer("6"), lambda call: call.answer(6.5), lambda call: call.answer(None),
        lambda call: call.fail("Errno"), lambda call: call.fail("EFTYPE"), lambda call: call.fail(5), lambda call: call.fail([]),
        lambda call: call.fail("__name__"),
        lambda call: call.delay(float("nan")), lambda call: call.delay(float("inf")), lambda call: call.delay(-1),
        lambda call: call.delay("x"), lambda call: call.delay(1e18), lambda call: setattr(call, "outcome", "nonsense"),
        lambda call: call.thread.nothing, lambda: None,
    ],
)
@pytest.mark.parametrize("after", [False, True])
def test_nonsense_is_reported_and_the_guest_goes_on(
    hook: Callable[[Call], object], after: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    assert after_hook(hook, after=after) == (0, b"hello\n")
    assert "was removed, since it raised" in capfd.readouterr().err


@pytest.mark.parametrize("result", [-(1 << 63), (1 << 64) - 1, -1, True])
def test_every_word_is_a_result(result: int) -> None:
    status, said = after_hook(lambda call: call.answer(result) if call.args[0] == 1 else None)
    assert said == b""
    assert status in (0, 1)


def test_a_hook_takes_itself_away_in_the_call_it_is_called_for() -> None:
    seen = []
    with ring3.Kernel() as kernel:
        def once(call: Call) -> None:
            seen.append(call.name)
            kernel.off(once)

        kernel.on_syscall(EVERY)(once)
        assert kernel.run(["/bin/true"], timeout=90).returncode == 0
    assert len(seen) == 1


def test_a_hook_adds_another_one() -> None:
    seen = []
    with ring3.Kernel() as kernel:
        hook = kernel.on_syscall("write")(lambda _call: kernel.on_syscall("exit_group")(lambda call: seen.append(call.name)))
        assert kernel.run(["/bin/echo"], capture_output=True, timeout=90).returncode == 0
        kernel.off(hook)
    assert seen == ["exit_group"]


def test_a_hook_cannot_wait_for_a_program_of_its_kernel(capfd: pytest.CaptureFixture[str]) -> None:
    with ring3.Kernel() as kernel:
        kernel.on_syscall("write")(lambda _call: kernel.run(["/bin/true"]))
        done = kernel.run(["/bin/echo", "hello"], capture_output=True, timeout=90)
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    assert "a hook cannot wait for a process of its kernel" in capfd.readouterr().err


def test_a_hook_starts_a_program() -> None:
    started = []
    with ring3.Kernel() as kernel:
        def start(_call: Call) -> None:
            kernel.off(start)
            started.append(kernel.spawn(["/bin/true"]))

        kernel.on_syscall("write")(start)
        assert kernel.run(["/bin/echo", "hello"], capture_output=True, timeout=90).stdout == b"hello\n"
        assert started[0].wait(20) == 0


def test_calls_that_end_or_replace_a_program_are_hooked_without_harm() -> None:
    for name in ("exit_group", "execve", "vfork", "clone", "rt_sigreturn", "wait4"):
        for act in (lambda call: call.answer(0), lambda call: call.fail("EIO"), lambda call: call.delay(0.001)):
            for after in (False, True):
                with ring3.Kernel() as kernel:
                    kernel.on_syscall(name, after=after)(act)
                    command = ["/bin/sh", "-c", "/bin/echo a; exec /bin/echo b"]
                    process = kernel.spawn(command, stdout=ring3.DEVNULL, stderr=ring3.DEVNULL)
                    with suppress(subprocess.TimeoutExpired):       # the guest may well wait for what was not made
                        process.wait(0.3)
                    process.kill()


def test_a_call_behind_another_number_is_hooked_by_its_own_name() -> None:
    """NetBSD's syscall(2) is no call that could be hooked: the one it makes is."""
    seen = []
    program = str(build(CROSSING))
    with ring3.Kernel() as kernel:
        kernel.on_syscall(EVERY)(lambda call: seen.append(call.name))
        kernel.on_syscall("open")(lambda call: call.fail("EPERM"))
        done = kernel.run([program, "syscall open"], capture_output=True, timeout=90, personality="netbsd")
    assert done.stdout == b"refused\n"
    assert "open" in seen
    assert "syscall" not in seen


# --- injections
def injected(text: str, *words: str, personality: str = "linux") -> tuple[bytes, list[str], Injector]:
    """What becomes of a program, what a trace says of it, and who injected."""
    trace: list[str] = []
    injector = Injector(parse_injection(text))
    with ring3.Kernel(instruments=[Strace(trace.append)]) as kernel:
        kernel.call(lambda system: kernel.loop.interposer(system).inject(injector))
        done = kernel.run(list(words), capture_output=True, timeout=90, personality=personality)
    return done.stdout, "".join(trace).splitlines(), injector


@pytest.mark.parametrize("is_watched", [False, True])
def test_a_call_behind_another_number_is_injected_into(is_watched: bool) -> None:
    program = str(build(CROSSING))
    injector = Injector(parse_injection("open:EPERM"))
    with ring3.Kernel(instruments=[Strace(lambda _text: None)] if is_watched else []) as kernel:
        kernel.call(lambda system: kernel.loop.interposer(system).inject(injector))
        done = kernel.run([program, "syscall open"], capture_output=True, timeout=90, personality="netbsd")
    assert done.stdout == b"refused\n"


def test_what_is_done_to_one_call_is_done_to_no_other() -> None:
    """The calls behind are made by another number, and have nothing to do with it."""
    _, shown, _ = injected("getpid:retval=7:when=1", str(build(CROSSING)), "syscall open", personality="netbsd")
    assert sum("INJECTED" in line for line in shown) <= 1
    assert not any("INJECTED" in line for line in shown if not line.startswith("getpid"))


def test_a_call_with_two_results_is_marked_and_keeps_both() -> None:
    """NetBSD's fork tells who is the child by the second one."""
    program = str(build(CROSSING))
    _, shown, _ = injected("/^(fork|getpid|pipe|open):delay_enter=1us", program, "syscall open", personality="netbsd")
    assert any(line.endswith("(DELAYED)") for line in shown)


def test_arguments_in_other_places_are_found() -> None:
    """syscall(2)'s move up by one: what is written to goes with them."""
    said, shown, injector = injected("write:poke_enter=@arg2=4a", str(build(CROSSING)), "syscall open", personality="netbsd")
    assert said.startswith(b"J")
    assert any("INJECTED: args" in line for line in shown)
    assert not injector.failures


def test_an_injector_forgets_threads_that_ended() -> None:
    program = "i=0; while [ $i -lt 99 ]; do i=$((i+1)); (:); done"
    _, _, injector = injected("exit_group,exit:delay_enter=1us", "/bin/sh", "-c", program)
    assert len(injector._counts) < 64


class FakeSystem:
    """What an interposer needs of one."""

    interpose = None
    init = None

    def __init__(self) -> None:
        self.procs: dict[int, object] = {}


def test_tables_of_processes_that_ended_are_not_kept() -> None:
    """A guest that makes promises in a loop has new tables each time."""
    import gc

    interposer = Interposer(FakeSystem(), lambda _hook, _error: None)       # type: ignore[arg-type]
    interposer.add("read", lambda _call: None)
    for _ in range(50):
        own = RewrittenAbis(linux_personality().abis, lambda bound: bound)
        assert interposer.abis(own) is interposer.abis(own)
        assert interposer.abis(own)[Arch.X86_64].sysent[0].name == "read"
    del own
    gc.collect()
    assert len(interposer._abis) == 0


def test_marks_on_a_pair_keep_the_pair() -> None:
    call = Call.__new__(Call)
    call._outcome = Pair(5, 6)
    call._marks = Marks(delay=True)
    found = _answer(call)
    assert isinstance(found, Pair)
    assert (int(found), found.second, marks_of(found).delay) == (5, 6, True)


def run_injected(*texts: str, words: tuple[str, ...]) -> list[str]:
    """What a trace says of a program that several injections are for."""
    trace: list[str] = []
    with ring3.Kernel(instruments=[Strace(trace.append)]) as kernel:
        kernel.call(lambda system: kernel.loop.interposer(system).inject(Injector(*map(parse_injection, texts))))
        kernel.run(list(words), capture_output=True, timeout=90)
    return "".join(trace).splitlines()


def test_each_name_is_counted_for_itself() -> None:
    shown = run_injected("getuid,getgid,geteuid,getegid:EIO:when=1", words=("/usr/bin/id", "-u"))
    assert {line.partition("(")[0] for line in shown if "INJECTED" in line} >= {"geteuid"}
    assert all(sum(line.startswith(f"{name}(") and "INJECTED" in line for line in shown) <= 1 for name in ("getuid", "geteuid"))


def test_of_two_injections_into_one_call_the_last_holds() -> None:
    shown = run_injected("write:EIO:when=1", "write:EPERM:when=2", words=("/bin/sh", "-c", "echo a; echo b"))
    assert [line.split("= ")[1].split()[1] for line in shown if line.startswith("write(1") and "INJECTED" in line] == ["EPERM"]


def test_each_thread_counts_for_itself() -> None:
    shown = run_injected("getppid:EIO:when=1", words=("/bin/sh", "-c", "(:); (:)"))
    assert sum("getppid()" in line and "INJECTED" in line for line in shown) == sum("getppid()" in line for line in shown)


def test_an_injection_without_an_end_has_none() -> None:
    for text in ("read:EIO", "read:EIO:when=3+", "read:EIO:when=1+2"):
        when = parse_injection(text).when
        assert when.holds(65537)
        assert when.holds(10**12 + 1)
    assert not parse_injection("read:EIO:when=1..5").when.holds(6)


def test_hooks_behind_an_exec_are_called() -> None:
    seen = []
    with ring3.Kernel() as kernel:
        kernel.on_syscall("execve", after=True)(lambda call: seen.append((call.result, call.error)))
        command = ["/bin/sh", "-c", "/nowhere/x; exec /bin/true"]
        assert kernel.run(command, stderr=ring3.DEVNULL, timeout=90).returncode == 0
    assert seen[-1] == (0, "")


def test_a_hook_sees_what_the_one_before_made_of_the_call() -> None:
    seen = []
    with ring3.Kernel() as kernel:
        kernel.on_syscall("write", after=True)(lambda call: call.fail("ENOSPC"))
        kernel.on_syscall("write", after=True)(lambda call: seen.append((call.result, call.error)))
        kernel.run(["/bin/echo", "x"], capture_output=True, timeout=90)
    assert set(seen) == {(None, "ENOSPC")}


@pytest.mark.parametrize("seconds", ["1" * 50, 10**400, float("nan"), -1, None, [1]])
def test_a_delay_is_a_number_of_seconds(seconds: object) -> None:
    call = Call.__new__(Call)
    call._delay_ns = 0
    with pytest.raises((ValueError, TypeError)):
        call.delay(seconds)         # type: ignore[arg-type]


@pytest.mark.parametrize("error", [GeneratorExit, SystemExit, ZeroDivisionError])
def test_what_a_hook_raises_but_an_interrupt_takes_it_away(error: type[BaseException], capfd: pytest.CaptureFixture[str]) -> None:
    def hook(_call: Call) -> None:
        raise error

    assert after_hook(hook) == (0, b"hello\n")
    assert "was removed, since it raised" in capfd.readouterr().err
