"""The stream of events, and what listens to it: each listener hears what it asked for, and one that raises is forgotten."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from time import sleep
from typing import Any

import pytest

import ring3
from ring3 import events
from ring3.calls.interpose import Call
from ring3.proc.lifecycle import exit_process
from ring3.proc.proc import ThreadState
from ring3.proc.system import System
from ring3.trace.filter import CallSet, SignalSet
from ring3.trace.inject import Injection, When, parse_injection
from ring3.trace.jsonl import KINDS, line, writer
from ring3.trace.perfetto import Perfetto
from ring3.trace.summary import Summary

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(200)]


@pytest.fixture
def kernel() -> Iterator[ring3.Kernel]:
    with ring3.Kernel() as made:
        yield made


def sh(kernel: ring3.Kernel, script: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = kernel.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=90)
    return done


# --- events
def test_a_run_in_events(kernel: ring3.Kernel) -> None:
    seen: list[Any] = []
    for kind in KINDS:
        kernel.on(kind)(seen.append)
    assert sh(kernel, "cat /etc/hostname; kill -USR1 $$").returncode == -10
    execs = [(event.path, event.argv[0]) for event in seen if isinstance(event, events.Exec)]
    assert execs == [(b"/usr/bin/dash", b"/bin/sh"), (b"/usr/bin/cat", b"cat")]
    [fork] = [event for event in seen if isinstance(event, events.Fork)]
    ends = {event.pid: (event.code, event.signal) for event in seen if isinstance(event, events.Exit)}
    assert ends == {fork.pid: (0, "SIGUSR1"), fork.child_pid: (0, "")}
    ended = [event for event in seen if isinstance(event, events.SyscallExit)]
    opened = [event for event in ended if "hostname" in event.args and event.name == "openat"]
    assert [(event.pid, event.error) for event in opened] == [(fork.child_pid, "")]
    assert opened[0].took > 0
    times = [event.ns for event in seen]
    assert times == sorted(times)


def test_nobody_hears_what_he_did_not_ask_for(kernel: ring3.Kernel) -> None:
    begun: list[events.SyscallEnter] = []
    kernel.on(events.SyscallEnter)(begun.append)
    sh(kernel, "true")
    assert begun
    assert {type(event) for event in begun} == {events.SyscallEnter}


def test_a_listener_that_raises_is_forgotten(kernel: ring3.Kernel, capfd: pytest.CaptureFixture[str]) -> None:
    heard: list[events.Exec] = []

    @kernel.on(events.Exec)
    def bad(event: events.Exec) -> None:
        heard.append(event)
        raise KeyError("of the listener's own")

    assert sh(kernel, "/bin/echo one; /bin/echo two").stdout == "one\ntwo\n"
    assert len(heard) == 1
    said = capfd.readouterr().err
    assert "bad was removed, since it raised" in said
    assert "KeyError: \"of the listener's own\"" in said


def test_listeners_come_and_go(kernel: ring3.Kernel) -> None:
    heard: list[Any] = []
    listener = kernel.on(events.Exit)(heard.append)
    sh(kernel, "true")
    kernel.off(listener)
    sh(kernel, "true")
    assert len(heard) == 1
    assert kernel.call(lambda system: system.instruments) == [], "and nobody is told anything any more"


# --- hooks
def test_a_call_is_failed(kernel: ring3.Kernel) -> None:
    @kernel.on_syscall("openat")
    def full(call: Call) -> None:
        if call.args[1] == b"/etc/hostname":
            call.fail("EIO")

    assert "Input/output error" in sh(kernel, "cat /etc/hostname").stderr
    kernel.off(full)
    assert sh(kernel, "cat /etc/hostname").stderr == ""


def test_a_call_is_answered_and_not_made(kernel: ring3.Kernel) -> None:
    kernel.on_syscall("unlinkat")(lambda call: call.answer(0))
    assert sh(kernel, "touch /tmp/kept; rm /tmp/kept; ls /tmp/kept").stdout == "/tmp/kept\n"


def test_a_result_is_changed(kernel: ring3.Kernel) -> None:
    results: list[int | None] = []

    @kernel.on_syscall("getpid", after=True)
    def other(call: Call) -> None:
        results.append(call.result)
        call.answer(4711)

    done = kernel.run(["/usr/bin/python3", "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    assert done.stdout == "4711\n"
    assert results
    assert all(result and result < 100 for result in results)


def test_a_refusal_is_seen_and_made_good(kernel: ring3.Kernel) -> None:
    @kernel.on_syscall("mkdir", after=True)
    def fine(call: Call) -> None:
        if call.error == "EEXIST":
            call.answer(0)

    assert sh(kernel, "mkdir /etc").returncode == 0


def test_a_call_that_sleeps_is_seen_at_its_end(kernel: ring3.Kernel) -> None:
    seen: list[int | None] = []
    kernel.on_syscall("read", after=True)(lambda call: seen.append(call.result) if call.args[0] == 0 else None)
    done = kernel.run(["cat"], input=b"12345", capture_output=True)
    assert done.stdout == b"12345"
    assert seen == [5, 0]


def test_a_delay_holds_one_thread_alone(kernel: ring3.Kernel) -> None:
    @kernel.on_syscall("write")
    def slow(call: Call) -> None:
        call.delay(0.4)

    took: list[events.SyscallExit] = []
    kernel.on(events.SyscallExit)(lambda event: took.append(event) if event.name == "write" else None)
    with kernel.spawn(["/bin/echo", "late"], stdout=ring3.PIPE) as process:
        assert kernel.run(["/bin/true"]).returncode == 0, "another program runs meanwhile"
        assert process.poll() is None
        assert process.communicate()[0] == b"late\n"
    assert took[0].took >= 400_000_000


def test_hooks_hear_calls_that_end_a_program(kernel: ring3.Kernel) -> None:
    ended: list[str] = []
    kernel.on_syscall("*", after=True)(lambda call: ended.append(f"{call.name} {call.error}"))
    kernel.on_syscall("exit_group")(lambda _call: ended.append("exit_group"))
    assert sh(kernel, "/nowhere; /bin/true").returncode == 0
    assert "execve ENOENT" in ended
    assert ended.count("exit_group") >= 2


def test_a_hook_that_raises_is_forgotten(kernel: ring3.Kernel, capfd: pytest.CaptureFixture[str]) -> None:
    @kernel.on_syscall("write")
    def bad(_call: Call) -> None:
        raise ZeroDivisionError

    assert sh(kernel, "echo one; echo two").stdout == "one\ntwo\n"
    assert capfd.readouterr().err.count("was removed, since it raised") == 1


def test_hooks_and_promises_go_together(kernel: ring3.Kernel) -> None:
    kernel.on_syscall("openat")(lambda _call: None)
    done = kernel.run(["/bin/sh", "-c", ": > /tmp/x"], capture_output=True, pledge="stdio rpath", pledge_mode="eperm")
    assert b"not permitted" in done.stderr


def test_an_errno_must_be_one() -> None:
    with pytest.raises(ValueError, match="EFOO"):
        Call.__new__(Call).fail("EFOO")


# --- injections
@pytest.mark.parametrize(
    ("text", "when", "meant"),
    [
        ("read:EIO", When(), [1, 2, 3, 4, 5, 6]), ("read:EIO:when=3", When(3, 3, 0), [3]),
        ("read:EIO:when=3+", When(3), [3, 4, 5, 6]), ("read:EIO:when=2+2", When(2, step=2), [2, 4, 6]),
        ("read:EIO:when=2..4", When(2, 4), [2, 3, 4]), ("read:EIO:when=1..5+2", When(1, 5, 2), [1, 3, 5]),
    ],
)
def test_when(text: str, when: When, meant: list[int]) -> None:
    injection = parse_injection(text)
    assert injection.when == when
    assert [count for count in range(1, 7) if when.holds(count)] == meant


def test_the_whole_grammar() -> None:
    found = parse_injection("%file,read:error=EIO:signal=usr1:delay_enter=1500:delay_exit=2ms")
    assert isinstance(found, Injection)
    assert (found.error, found.signal, found.delay_enter, found.delay_exit) == ("EIO", 10, 0.0015, 0.002)
    assert parse_injection("read:retval=0x10").retval == 16
    poked = parse_injection("read:poke_enter=@arg2=00fF:poke_exit=@arg1=41,@arg7=424344:syscall=getuid:when=2")
    assert (poked.poke_enter, poked.poke_exit) == (((2, b"\0\xff"),), ((1, b"A"), (7, b"BCD")))


@pytest.mark.parametrize(
    "text",
    ["read", ":EIO", "read:EFOO", "read:when=1", "read:EIO:when=0", "read:EIO:when=3..2", "read:EIO:retval=1", "read:EIO:EIO",
     "read:retval=x", "read:signal=NOPE", "read:delay_enter=-1", "read:delay_enter=1h", "%nope:EIO", "/[:EIO",
     "read:delay_enter=", "read:delay_enter=1.2.3", "read:delay_exit=--", "read:delay_exit=ms",
     "read:syscall=getpid", "read:EIO:syscall=open", "read:poke_exit", "read:poke_exit=",
     "read:poke_exit=@arg1", "read:poke_exit=@arg1=",
     "read:poke_exit=@arg0=00", "read:poke_exit=@arg8=00", "read:poke_exit=@arg01=00",
     "read:poke_exit=@arg1=0", "read:poke_exit=@arg1=0x",
     "read:poke_exit=@arg1= 00", "read:poke_exit=@arg1=00,@arg1=00", "read:poke_exit=arg1=00", "read:poke_exit=@arg1=00,",
     "read:poke_exit=@arg1=00:poke_exit=@arg1=00"],
)
def test_injections_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_injection(text)


# --- filters
def bound(name: str) -> Any:
    from ring3.abi.x86 import Arch
    from ring3.personality.linux import linux_personality

    abi = linux_personality().abis[Arch.X86_64]
    return abi.sysent[next(number for number, known in abi.names.items() if known == name)]


@pytest.mark.parametrize(
    ("text", "meant", "others"),
    [
        ("openat,read", ["openat", "read"], ["write"]), ("!read", ["write"], ["read"]), ("all", ["read"], []),
        ("none", [], ["read"]),
        ("%file", ["openat", "stat", "rename", "execve"], ["read", "mmap"]), ("%desc", ["read", "mmap", "openat"], ["getpid"]),
        ("%process", ["fork", "execve", "wait4", "exit_group"], ["read"]), ("%network", ["socket", "sendmsg"], ["read"]),
        ("%signal", ["kill", "rt_sigaction", "rt_sigreturn"], ["read"]), ("%memory", ["mmap", "brk", "madvise"], ["read"]),
        ("%creds", ["setuid", "getgroups"], ["read"]), ("%clock", ["clock_gettime", "time"], ["nanosleep"]),
        ("%desc", ["poll", "pipe2", "eventfd2"], ["sendmsg", "accept"]), ("%process", ["kill"], ["getpid"]),
        ("0,59", ["read", "execve"], ["write"]),
        ("/^get.*id$", ["getpid", "getsid"], ["getcwd"]), ("file,getpid", ["openat", "getpid"], ["read"]),
    ],
)
def test_sets_of_calls(text: str, meant: list[str], others: list[str]) -> None:
    chosen = CallSet.parse(text)
    assert [name for name in meant if not chosen.has(bound(name))] == []
    assert [name for name in others if chosen.has(bound(name))] == []


def test_sets_of_signals() -> None:
    assert [n for n in (2, 15, 17) if SignalSet.parse("INT,sigterm").has(n)] == [2, 15]
    assert not SignalSet.parse("none").has(2)
    assert SignalSet.parse("!none").has(2)
    with pytest.raises(ValueError, match="NOPE"):
        SignalSet.parse("NOPE")


# --- files for other tools
def test_json_lines_are_json() -> None:
    lines: list[str] = []
    listen = writer(lines.append)
    listen(events.Exec(1, 2, 2, b"/bin/\xff", (b"a", b"\n"), "linux", "elf64"))
    found = json.loads(lines[0])
    assert found["path"].encode(errors="surrogateescape") == b"/bin/\xff"
    assert lines[0].count("\n") == 1
    assert json.loads(line(events.PolicyDecision(1, 2, 2, "unveil", "hidden", "r", "open()", None)))["path"] is None


def test_a_perfetto_trace_is_what_the_format_asks_for(kernel: ring3.Kernel) -> None:
    pieces: list[str] = []
    trace = Perfetto(pieces.append)
    for kind in trace.kinds():
        kernel.on(kind)(trace)
    sh(kernel, "(echo a); /bin/true; kill -USR1 $$")
    trace.finish()
    found = json.loads("".join(pieces))["traceEvents"]
    assert {row["ph"] for row in found} == {"M", "X", "i", "s", "f"}
    assert all(isinstance(row["pid"], int) and isinstance(row["tid"], int) for row in found)
    slices = [row for row in found if row["ph"] == "X"]
    assert all(row["ts"] >= 0 and row["dur"] >= 0 for row in slices)
    assert {row["args"]["name"] for row in found if row["name"] == "process_name"} >= {"dash [2]", "dash [3]", "true [4]"}
    last: dict[int, float] = {}
    for row in slices:                          # slices of one track lie beside each other, or in each other
        end, before = row["ts"] + row["dur"], last.get(row["tid"], -1)
        assert row["ts"] >= before - 0.002 or end <= before + 0.002
        last[row["tid"]] = max(end, before)
    arrows = check_arrows(found)
    assert sorted(kind for kind, _, _ in arrows) == ["exec", "fork", "fork", "wake", "wake", "wake"]
    assert {(source, target) for kind, source, target in arrows if kind == "fork"} == {(2, 3), (2, 4)}
    assert [(source, target) for kind, source, target in arrows if kind == "wake"] == [(3, 2), (4, 2), (4, 2)]  # vfork: at the exec


def check_arrows(rows: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    """Kind, first and last thread of each arrow; both its ends lie in slices, that of its head is told of before it."""
    def around(row: dict[str, Any], rows: list[dict[str, Any]]) -> bool:
        return any(
            found["ph"] == "X" and (found["pid"], found["tid"]) == (row["pid"], row["tid"])
            and found["ts"] <= row["ts"] <= found["ts"] + found["dur"] for found in rows
        )

    begun = {(row["cat"], row["id"]): row for row in rows if row["ph"] == "s"}
    arrows = []
    for index, head in enumerate(rows):
        if head["ph"] == "f":
            tail = begun.pop((head["cat"], head["id"]))
            assert tail["name"] == head["name"]
            assert tail["ts"] <= head["ts"]
            assert head["bp"] == "e"
            assert around(tail, rows)
            assert around(head, rows[:index])
            arrows.append((head["cat"], tail["tid"], head["tid"]))
    assert not begun
    return arrows


@pytest.mark.parametrize(("script", "name"), [
    ("exec cat < fifo", "openat"), ("exec 3<> fifo; exec cat <&3", "read"), ("exec sleep 100", "clock_nanosleep"),
    ("(exec sleep 100) & wait", "rt_sigsuspend"), ("exec /usr/bin/perl -e 'select(undef, undef, undef, undef)'", "pselect6"),
])
def test_a_call_that_its_process_does_not_outlive_is_told_without_a_result(kernel: ring3.Kernel, script: str, name: str) -> None:
    seen: list[events.SyscallExit] = []
    kernel.on(events.SyscallExit)(seen.append)

    def kill(system: System) -> bool:
        """All at once, once they sleep."""
        procs = [p for p in system.procs.values() if p is not system.init]
        if not all(t.state is ThreadState.SLEEPING and t.watched and t.watched[0].name in (name, "clock_nanosleep")
                   for p in procs for t in p.threads.values()):
            return False
        for p in procs:
            exit_process(p, 9)
        return True

    with kernel.spawn(["/bin/sh", "-c", f"cd $(mktemp -d); mkfifo fifo; {script}"], stdin=ring3.DEVNULL) as process:
        while not kernel.call(kill):
            sleep(0.05)
        assert process.wait() == -9
    assert kernel.loop.instrument_failures == []
    assert [event.name for event in seen if event.result is None and not event.error and event.pid == process.pid][-1] == name


def test_a_thread_that_sleeps_is_told_who_woke_it(kernel: ring3.Kernel) -> None:
    seen: list[events.Wake] = []
    kernel.on(events.Wake)(seen.append)
    sh(kernel, "(sleep 0.2; echo a) | cat")
    assert {wake.woken_tid for wake in seen} >= {2, 4}
    assert all(wake.tid != wake.woken_tid for wake in seen)
    seen.clear()
    sh(kernel, "sleep 0.1")                     # a timer is nobody
    assert [wake.woken_pid for wake in seen if wake.pid == wake.woken_pid] == []
    assert len(seen) <= 2                       # the exec of a vfork, and the end


def test_an_empty_perfetto_trace_is_json_too() -> None:
    pieces: list[str] = []
    Perfetto(pieces.append).finish()
    assert json.loads("".join(pieces))["traceEvents"] == []


def test_the_summary_adds_up() -> None:
    summary = Summary()
    for took, error in ((1_000_000, ""), (3_000_000, "EIO")):
        summary(events.SyscallExit(0, 2, 2, "read", "", None if error else 1, error, took))
    summary(events.SyscallExit(0, 2, 2, "close", "", 0, "", 1_000_000))
    rows = [row.split() for row in summary.table().splitlines()[2:-2]]
    assert rows == [["80.00", "0.004000", "2000", "2", "1", "read"], ["20.00", "0.001000", "1000", "1", "close"]]


def test_a_listener_may_hear_of_some_calls_only() -> None:
    heard: list[str] = []
    other: list[str] = []
    with ring3.Kernel() as kernel:
        kernel.call(lambda system: kernel.loop.stream(system).listen(
            events.SyscallExit, lambda event: heard.append(event.name), CallSet.parse("write,exit_group"),
        ))
        kernel.on(events.SyscallEnter)(lambda event: other.append(event.name))
        kernel.run(["echo", "hello"], capture_output=True)
    assert heard == ["write", "exit_group"]
    assert {"write", "openat", "exit_group"} <= set(other)


@pytest.mark.parametrize("how", ["event", "call"])
def test_a_hook_that_exits_is_taken_away_like_one_that_raises(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    def leave(_event: object) -> None:
        raise SystemExit(5)

    with ring3.Kernel() as kernel:
        (kernel.on(events.Exec) if how == "event" else kernel.on_syscall("write"))(leave)
        assert kernel.run("echo hello; exit 3", shell=True, capture_output=True).returncode == 3
        assert kernel.run(["true"]).returncode == 0
    assert capfd.readouterr().err.count("was removed, since it raised") == 1


@pytest.mark.parametrize("how", ["event", "call"])
def test_a_hook_that_is_interrupted_interrupts_the_run(how: str) -> None:
    def stop(_event: object) -> None:
        raise KeyboardInterrupt

    with ring3.Kernel() as kernel:
        (kernel.on(events.Exec) if how == "event" else kernel.on_syscall("write"))(stop)
        with pytest.raises(KeyboardInterrupt):
            kernel.run(["echo", "hello"], capture_output=True)
