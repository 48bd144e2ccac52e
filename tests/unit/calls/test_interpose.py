"""Hooks that mean no good: whatever one does, the guest goes on and the kernel stays whole."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import ring3
from ring3.calls.interpose import EVERY, Call
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
