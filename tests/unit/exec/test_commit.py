"""Plan, load, commit: a refusal leaves everything as it was, a commit raises nothing, and what exec keeps and resets.

The same from inside a guest stands in tests/guest/execs.c; here every step is made to fail in turn.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ring3.abi.flags import OpenFlags
from ring3.abi.signals import SI_TIMER, SIG_IGN, AltStack, SigAction, SigInfo, bit
from ring3.abi.x86 import CS, CS_64, RIP, RSP, SS, SS_USER
from ring3.errors import EIO, ENFILE, ENOMEM, Errno
from ring3.exec import commit as commit_module
from ring3.exec.check import check_exec
from ring3.exec.commit import commit, die
from ring3.exec.load import Loaded, load
from ring3.exec.package import ExecPackage, ExecRequest
from ring3.exec.plan import ExecDeath, ExecPlan, ImageFile
from ring3.exec.rules import STEPS
from ring3.proc.lifecycle import clone_thread
from ring3.proc.proc import Thread
from ring3.protocols import Instrument
from ring3.vfs.file import File
from ring3.vfs.memfd import memfd_create
from ring3.vfs.memory import MemoryFS
from ring3.vfs.namei import NameiContext
from ring3.vfs.opening import open_file
from tests.unit.exec.bench import Bench
from tests.unit.exec.images import DATA, pie, pie_interpreted, program
from tests.unit.exec.images import load as segment

FATAL = {"arrange", "map", "map interpreter", "vdso", "stack", "run vmcmds", "copyargs"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A program with everything: a script whose interpreter is a pie with an interpreter."""
    (tmp_path / "i").write_bytes(pie(segment(0x3000, filesz=0x10, memsz=0x3000, flags=DATA)))
    (tmp_path / "d").write_bytes(pie_interpreted(bytes(tmp_path / "i")))
    (tmp_path / "s").write_bytes(b"#!%s -x\n" % bytes(tmp_path / "d"))
    (tmp_path / "p").write_bytes(program())
    for path in tmp_path.iterdir():
        path.chmod(0o755)
    return tmp_path


def busy(bench: Bench, files: Path) -> Thread:
    """A running process with a bit of everything that an exec could disturb."""
    bench.start(bytes(files / "p"))
    t, p = bench.t, bench.t.proc
    root = bench.system.mounts.root
    ctx = NameiContext(root, root, p.cred)
    for fd in (0, 1, 5, 7):
        p.fds.set(fd, open_file(ctx, b"/dev/null" if fd < 5 else bytes(files / "p"), OpenFlags.PATH), cloexec=bool(fd & 4))
    p.actions.table[10] = SigAction(0x1234, 0, 0, 5)
    p.actions.table[12] = SigAction(SIG_IGN, 0x10000000)
    p.pending.add(SigInfo(34, pid=7))
    p.pending.add(SigInfo(35, SI_TIMER))
    t.pending.add(SigInfo(15))
    t.sigmask = bit(15) | bit(34)
    t.altstack = AltStack(0x1000, 0, 8192)
    t.robust_list, t.clear_child_tid = 0x5000, 0x6000
    t.tls_slots = {12: bytes(16)}
    p.parent_death_signal, p.keep_caps = 9, True
    return t


def snapshot(bench: Bench) -> dict[str, Any]:
    """What must not have changed after a refusal."""
    t, p, system = bench.t, bench.t.proc, bench.system
    state: dict[str, Any] = {
        name: getattr(p, name)
        for name in type(p).__slots__
        if name not in ("usage", "child_usage", "system") and not name.endswith("queue")
    }
    state |= {f"t.{name}": getattr(t, name, None) for name in type(t).__slots__ if name != "system"}
    state |= {
        "files": {fd: (id(file), file.refs) for fd, file in p.fds.files.items()}, "cloexec": set(p.fds.cloexec),
        "actions": list(p.actions.table), "pending": dict(p.pending.queued), "t.pending": dict(t.pending.queued),
        "rlimits": list(p.rlimits), "threads": dict(p.threads), "fs": (p.fs.root, p.fs.cwd, p.fs.umask, p.fs.refs),
        "regions": [repr(r) for r in p.vm.regions], "vm": (p.vm.refs, p.vm.brk_end, p.vm.auxv), "regs": tuple(t.cpu.regs),
        "text": p.vm.text and p.vm.text.vnode.denied_writers,  # type: ignore[attr-defined]
        "spaces": [id(s) for s in bench.machine.spaces if not s.is_closed],
        "cpus": [id(c) for c in bench.machine.cpus if c.is_alive],
        "pages": {id(s): len(s.pages) for s in bench.machine.spaces if not s.is_closed},
        "random": system.random.getstate(), "procs": dict(system.procs), "last pid": system._last_pid,
        "switch": system.execsw.entries, "personalities": list(system.personalities),
    }
    return state


def attempt(bench: Bench, request: ExecRequest, observe: Callable[[str], None]) -> ExecPlan | ExecDeath | Loaded | None:
    outcome: ExecPlan | ExecDeath | Loaded | None = check_exec(bench.t, request, observe)
    return load(bench.t, outcome, observe) if isinstance(outcome, ExecPlan) else outcome


def steps_of(bench: Bench, request: ExecRequest) -> list[str]:
    met: list[str] = []
    outcome = attempt(bench, request, met.append)
    assert isinstance(outcome, Loaded)
    outcome.cpu.kill()
    outcome.vm.release()
    return met


def test_every_step_is_met(bench: Bench, files: Path) -> None:
    busy(bench, files)
    met = steps_of(bench, bench.request(bytes(files / "s")))
    assert set(met) == set(STEPS)
    assert [step for step in STEPS if step in met] == list(dict.fromkeys(sorted(met, key=STEPS.index)))


@pytest.mark.parametrize("name", ["p", "d", "s"])
def test_each_step_may_fail(bench: Bench, files: Path, name: str) -> None:
    """An Errno at every step in turn: a refusal or a death, and the caller exactly as before."""
    busy(bench, files)
    request = bench.request(bytes(files / name), [b"a", b"b"], [b"C=1"])
    met = steps_of(bench, request)
    before = snapshot(bench)
    for index, expected in enumerate(met):
        seen: list[str] = []

        def fail(step: str, at: int = index, seen: list[str] = seen) -> None:
            seen.append(step)
            if len(seen) == at + 1:
                raise ENFILE("made to fail")

        try:
            outcome = attempt(bench, request, fail)
        except ENFILE:
            assert expected not in FATAL
        else:
            assert isinstance(outcome, ExecDeath)
            assert (outcome.signal, outcome.step) == (11, expected)
            assert expected in FATAL
        assert seen[-1] == expected
        assert snapshot(bench) == before


def test_a_bug_of_ours_leaves_nothing_either(bench: Bench, files: Path) -> None:
    """Not an Errno but any exception, at every step."""
    busy(bench, files)
    request = bench.request(bytes(files / "s"))
    met = steps_of(bench, request)
    before = snapshot(bench)
    for index in range(len(met)):
        calls = 0

        def fail(_step: str, at: int = index) -> None:
            nonlocal calls
            calls += 1
            if calls == at + 1:
                raise RuntimeError("a bug")

        with pytest.raises(RuntimeError):
            attempt(bench, request, fail)
        assert snapshot(bench) == before


@pytest.mark.parametrize("verb", ["map_anonymous", "map_file", "map_vdso", "write"])
def test_the_machine_refuses(bench: Bench, files: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """The host has no memory left in the middle of the vmcmds: too late on Linux."""
    busy(bench, files)
    plan = bench.check(bytes(files / "d"))
    before = snapshot(bench)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "no memory")

    monkeypatch.setattr(type(bench.machine.new_space()), verb, refuse)
    bench.machine.spaces.pop().close()
    outcome = load(bench.t, plan)
    assert isinstance(outcome, ExecDeath)
    assert outcome.error.startswith("ENOMEM")
    assert snapshot(bench) == before


@pytest.mark.parametrize("verb", ["new_space", "new_thread"])
def test_no_space_or_thread_to_be_had(bench: Bench, files: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """That is early enough: a plain ENOMEM."""
    busy(bench, files)
    plan = bench.check(bytes(files / "d"))
    before = snapshot(bench)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "no memory")

    monkeypatch.setattr(bench.machine, verb, refuse)
    with pytest.raises(ENOMEM):
        load(bench.t, plan)
    assert snapshot(bench) == before


# --- commit
def test_commit_has_no_raise() -> None:
    """Read, not run: no `raise`, no `assert` in the module behind the point of no return."""
    tree = ast.parse(Path(commit_module.__file__).read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Raise | ast.Assert)]


class Unclosable(File):
    """A file whose end fails."""

    __slots__ = ()

    def close(self) -> None:
        raise EIO


def test_commit_survives_files_that_cannot_be_closed(bench: Bench, files: Path) -> None:
    t = busy(bench, files)
    t.proc.fds.set(6, Unclosable(None, OpenFlags.RDONLY), cloexec=True)
    t.proc.fds.set(8, Unclosable(None, OpenFlags.RDONLY), cloexec=True)
    bench.start(bytes(files / "d"))
    assert sorted(t.proc.fds.files) == [0, 1]


def test_what_is_kept_and_what_is_reset(bench: Bench, files: Path) -> None:
    t = busy(bench, files)
    p = t.proc
    old_vm, old_cpu, old_text = p.vm, t.cpu, p.vm.text
    plan = bench.start(bytes(files / "s"), [b"zero", b"one"])
    assert sorted(p.fds.files) == [0, 1]
    assert not p.fds.cloexec
    assert p.actions.table[10] == SigAction()
    assert p.actions.table[12].handler == SIG_IGN
    assert t.sigmask == bit(15) | bit(34)
    assert t.pending.mask == bit(15)
    assert p.pending.mask == bit(34)                    # what a POSIX timer sent is gone with it
    assert t.altstack == AltStack()
    assert (t.robust_list, t.clear_child_tid, t.tls_slots) == (0, 0, {})
    assert not p.keep_caps
    assert p.parent_death_signal == 9                   # ids did not change
    assert t.comm == b"s"
    assert p.did_exec
    assert p.exec_id == 2
    assert p.vm is not old_vm
    assert not old_vm.regions
    assert not old_cpu.is_alive  # type: ignore[attr-defined]
    assert t.cpu.owner is t
    assert old_text is not None
    assert old_text.vnode.denied_writers == 0  # type: ignore[attr-defined]
    assert p.vm.text is not None
    assert p.vm.text.label == bytes(files / "d")
    assert p.exe is not None
    assert p.exe.path(p.fs.root) == bytes(files / "d")
    assert t.cpu.regs[RIP] == plan.start
    assert t.cpu.regs[RSP] == plan.stack.sp
    assert (t.cpu.regs[CS], t.cpu.regs[SS]) == (CS_64, SS_USER)
    assert p.vm.copyin(plan.stack.sp, len(plan.stack.data)) == plan.stack.data
    assert p.vm.copyin(p.vm.arg_start, p.vm.arg_end - p.vm.arg_start).split(b"\0")[-3:] == [bytes(files / "s"), b"one", b""]


def test_other_threads_die_and_the_survivor_leads(bench: Bench, files: Path) -> None:
    t = busy(bench, files)
    p = t.proc
    second, third = clone_thread(t), clone_thread(t)
    bench.t = second
    bench.start(bytes(files / "p"))
    assert p.threads == {p.pid: second}
    assert second.tid == p.pid
    assert bench.system.threads[p.pid] is second
    assert third.tid not in bench.system.threads
    assert [c.is_alive for c in bench.machine.cpus].count(True) == 1


def test_shared_descriptors_are_unshared(bench: Bench, files: Path) -> None:
    t = busy(bench, files)
    shared = t.proc.fds
    shared.refs += 1                                    # another process, by CLONE_FILES
    bench.start(bytes(files / "p"))
    assert t.proc.fds is not shared
    assert sorted(shared.files) == [0, 1, 5, 7]
    assert sorted(t.proc.fds.files) == [0, 1]


def test_a_vfork_child_leaves_its_parents_memory(bench: Bench, files: Path) -> None:
    t = busy(bench, files)
    vm = t.proc.vm
    vm.refs += 1
    t.proc.vfork_done = False
    woken = []
    monitor = type("Waiter", (), {"notify": lambda _self: woken.append(1)})()
    t.proc.vfork_queue.add(monitor)
    bench.start(bytes(files / "p"))
    assert vm.regions
    assert vm.refs == 1
    assert woken == [1]


def test_death_ends_the_process_by_its_signal(bench: Bench, files: Path) -> None:
    t = busy(bench, files)
    clone_thread(t)
    (files / "x").write_bytes(program(segment(0xFFFF_8000_0000_0000)))
    (files / "x").chmod(0o755)
    death = check_exec(t, bench.request(bytes(files / "x")))
    assert isinstance(death, ExecDeath)
    assert death.show().startswith("dies by signal 11 at step 'map': ENOMEM")
    die(t, death)
    assert t.proc.zombie
    assert t.proc.exit_status == 11
    assert not any(c.is_alive for c in bench.machine.cpus)


def test_same_seed_same_plan(files: Path) -> None:
    plans = []
    for seed in (5, 5, 6):
        bench = Bench(seed=seed)
        plans.append(bench.check(bytes(files / "d")))
        assert bench.check(bytes(files / "d")) == plans[-1]         # asking advances nothing
        bench.close()
    assert plans[0].show() == plans[1].show()
    assert plans[0]._replace(personality=plans[1].personality) == plans[1]
    assert plans[0].load_bias != plans[2].load_bias
    assert plans[0].stack.sp != plans[2].stack.sp


def test_the_next_exec_of_a_process_lies_elsewhere(bench: Bench, files: Path) -> None:
    first = bench.start(bytes(files / "d"))
    second = bench.start(bytes(files / "d"))
    assert first.load_bias != second.load_bias


def test_randomisation_stays_in_linux_bounds(files: Path) -> None:
    """28 bits for mappings and programs, 22 for the stack, a gigabyte for the break; and they are used."""
    biases, tops, bases, breaks = set(), set(), set(), set()
    for seed in range(300):
        bench = Bench(seed=seed)
        plan = bench.check(bytes(files / "d"))
        bench.close()
        biases.add(plan.load_bias - 0x555555554000)
        tops.add(bench.system.facts.user_top - plan.layout.stack_top)
        bases.add(plan.layout.mmap_base)
        breaks.add(plan.layout.brk - plan.load_bias - 0x3000)
        assert plan.stack.sp % 16 == 0
        assert plan.interp_base < plan.layout.mmap_base < plan.layout.stack_top - (8 << 20)
    assert 0 <= min(biases) < max(biases) < 1 << 40
    assert max(biases) > 1 << 39
    assert 0 <= min(tops) < max(tops) <= (1 << 34) + 8192
    assert max(tops) > 1 << 33
    assert 0 <= min(breaks) < max(breaks) <= 1 << 30
    assert len(biases) > 295
    assert len(bases) > 295


def test_randomisation_can_be_switched_off(bench: Bench, files: Path) -> None:
    bench.system.execsw.randomise = False
    plan = bench.check(bytes(files / "d"))
    assert plan.load_bias == 0x555555554000
    assert plan.layout.stack_top == bench.system.facts.user_top


def test_policies_are_asked_and_may_refuse(bench: Bench, files: Path) -> None:
    asked = []

    def policy(_t: Thread, package: ExecPackage, file: ImageFile) -> None:
        asked.append((package.step, file.path[-2:]))
        if len(asked) > 4:
            raise EIO("no")

    bench.system.execsw.policies = (policy,)
    assert bench.verdict(bench.request(bytes(files / "s"))) == "runs"
    assert asked == [("lookup", b"/s"), ("script", b"/d"), ("interpreter", b"/i")]
    assert bench.verdict(bench.request(bytes(files / "s"))) == "EIO"


def test_check_only(bench: Bench, files: Path) -> None:
    """AT_EXECVE_CHECK asks about the file, not about its format."""
    (files / "x").write_bytes(b"no program")
    (files / "x").chmod(0o755)
    request = bench.request(bytes(files / "x"))._replace(check_only=True)
    assert check_exec(bench.t, request) is None
    (files / "x").chmod(0o644)
    with pytest.raises(Errno):
        check_exec(bench.t, request)


def test_plans_print(bench: Bench, files: Path) -> None:
    shown = bench.check(bytes(files / "s"), [b"z"]).show()
    assert "vmcmd       map" in shown
    assert "[stack]" in shown
    assert "script" in shown


def test_commit_without_instruments_or_with(bench: Bench, files: Path) -> None:
    seen = []

    class Watcher(Instrument):
        def exec(self, thread: Thread, plan: ExecPlan) -> None:
            seen.append((thread, plan.comm))

    bench.system.instruments.append(Watcher())
    commit(bench.t, bench.load(bench.check(bytes(files / "p"))))
    assert seen == [(bench.t, b"p")]


def test_a_file_without_a_name(bench: Bench) -> None:
    """A memfd runs while it is open for writing; its name in /proc says what it was, and where it was called from is lost."""
    file = memfd_create(MemoryFS(), b"mine", 0)
    file.write(program())
    request = ExecRequest(b"", [b"x"], [], file=file, name=b"/dev/fd/3")
    plan = check_exec(bench.t, request)
    assert isinstance(plan, ExecPlan)
    commit(bench.t, bench.load(plan))
    p = bench.t.proc
    assert p.exe is not None
    assert p.exe.path(p.fs.root, mark_deleted=True) == b"/memfd:mine (deleted)"
    assert plan.execfn == b"/dev/fd/3"
    assert not plan.secure
