"""KtraceWriter: everything about everybody in one file, whatever system a program is of."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from ring3.abi.netbsd.ktrace import FileKind, Record
from ring3.abi.signals import SI_TKILL, SigAction, SigInfo, Signal
from ring3.abi.x86 import ORIG_RAX, RSP
from ring3.calls.trap import trap
from ring3.proc.proc import ThreadState
from ring3.trace import ktrace
from ring3.trace.kdump import Options, Printer
from ring3.trace.ktrace import KtraceWriter, emulation, file_kind, lwp_id
from ring3.trace.ktracefile import KtraceFile, TraceRecord
from ring3.vfs.file import File
from tests.rows import row
from tests.unit.calls.netbsd.netguest import another_lwp, netbsd32_guest, netbsd_guest
from tests.unit.calls.stage import NUMBERS64, STACK, Guest, Stage


class Trace:
    """A stage with a writer, and what it wrote."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.file = io.BytesIO()
        self.writer = KtraceWriter(self.file)
        stage.system.instruments.append(self.writer)

    def records(self) -> list[TraceRecord]:
        return list(KtraceFile(io.BytesIO(self.file.getvalue())))

    def text(self) -> list[str]:
        file = KtraceFile(io.BytesIO(self.file.getvalue()))
        printer = Printer(file, Options())
        return "".join(printer.lines(record)[23:] for record in file).splitlines()


@pytest.fixture
def trace() -> Iterator[Trace]:
    stage = Stage()
    yield Trace(stage)
    stage.close()


def linux(g: Guest, name: str, *args: int) -> None:
    t = g.t
    abi = t.proc.personality.abis[t.cpu.arch]
    for register, arg in zip(abi.argument_registers, args, strict=False):
        t.cpu.regs[register] = arg & (1 << 64) - 1
    t.cpu.regs[ORIG_RAX] = NUMBERS64[name]
    trap(t)
    t.state = ThreadState.SERVED


def test_a_linux_program_has_linuxs_numbers(trace: Trace) -> None:
    g = trace.stage.guest()
    linux(g, "openat", -100, g.put(b"/none\0"), 0, 0)
    linux(g, "memfd_create", g.put(b"m\0"), 0)
    linux(g, "write", 0, g.put(b"data"), 4)
    linux(g, "kill", g.p.pid, 0)
    assert trace.text() == [
        'EMUL  "linux"',
        "CALL  openat(0xffffffffffffff9c,0x100000,0,0)", 'NAMI  "/none"', "RET   openat -1 errno 2 No such file or directory",
        "CALL  memfd_create(0x100010,0)", "RET   memfd_create 0",
        "CALL  write(0,0x100020,4)", "GIO   fd 0 wrote 4 bytes", '       "data"', "RET   write 4",
        f"CALL  kill({g.p.pid},0)", "RET   kill 0",
    ]


def test_vectors_are_data_too(trace: Trace) -> None:
    g = trace.stage.guest()
    linux(g, "memfd_create", g.put(b"m\0"), 0)
    one, two = g.put(b"abc"), g.put(b"defgh")
    linux(g, "writev", 0, g.words(one, 3, two, 5), 2)
    payloads = [r.payload for r in trace.records() if r.type == Record.GENIO]
    assert [p[8:] for p in payloads] == [b"abc", b"defgh"]


def test_data_comes_in_pieces_and_not_without_end(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ktrace, "MAX_IO", 10_000)
    g = trace.stage.guest()
    linux(g, "memfd_create", g.put(b"m\0"), 0)
    linux(g, "write", 0, g.put(bytes(50_000)), 50_000)
    assert [len(r.payload) - 8 for r in trace.records() if r.type == Record.GENIO] == [4088, 4088, 1824]


def test_signals_have_the_numbers_of_the_program(trace: Trace) -> None:
    for g, signo, code in ((trace.stage.guest(), 17, SI_TKILL), (netbsd_guest(trace.stage), 20, -5)):
        g.p.actions.table[Signal.SIGCHLD] = SigAction(0x4000)
        g.t.sigmask = 1 << Signal.SIGUSR1 - 1
        trace.writer.signal(g.t, SigInfo(Signal.SIGCHLD, SI_TKILL), handled=True)
        payload = trace.records()[-1].payload
        assert int.from_bytes(payload[:4], "little") == signo
        assert int.from_bytes(payload[8:16], "little") == 0x4000
        assert int.from_bytes(payload[16:32], "little") == 1 << (29 if signo == 20 else 9)
        assert int.from_bytes(payload[32:36], "little", signed=True) == code


def test_signals_nobody_takes_are_not_told(trace: Trace) -> None:
    g = trace.stage.guest()
    trace.writer.signal(g.t, SigInfo(Signal.SIGCHLD), handled=False)            # ignored by default
    g.p.actions.table[Signal.SIGTERM] = SigAction(1)
    trace.writer.signal(g.t, SigInfo(Signal.SIGTERM), handled=False)
    assert trace.records() == []


@row("netbsd", "execve KTR_EXEC_ARG, KTR_EXEC_ENV", "arguments and environment are recorded once copied, whatever comes after")
def test_strings_of_an_exec_are_told_before_it_is_known_to_work(trace: Trace) -> None:
    g = trace.stage.guest()
    trace.writer.exec_strings(g.t, (b"prog", b"-x"), (b"A=1",))
    assert trace.text() == ['EMUL  "linux"', 'ARG   "prog"', 'ARG   "-x"', 'ENV   "A=1"']


@row("netbsd", "execve ktremul", "an exec is followed by a record of its emulation")
def test_an_exec(trace: Trace) -> None:
    g = netbsd_guest(trace.stage)
    g.call("open", g.put(b"/\0"), 0, 0)
    g.p.fds.install(File(None, 0), limit=9)  # type: ignore[arg-type]
    trace.writer.exec(g.t, None)
    assert trace.text()[-3:] == ["FD    fd 0 file", "FD    fd 1 misc", 'EMUL  "netbsd"']


def test_emulations_and_lwps(trace: Trace) -> None:
    stage = trace.stage
    g = netbsd_guest(stage)
    assert emulation(g.t) == b"netbsd"
    assert emulation(netbsd32_guest(stage).t) == b"netbsd32"
    assert emulation(stage.guest().t) == b"linux"
    assert lwp_id(g.t) == 1
    assert lwp_id(another_lwp(g).t) == 2


def test_arguments_on_the_stack_that_is_gone(trace: Trace) -> None:
    g = netbsd_guest(trace.stage)
    assert g.t.cpu.regs[RSP] == STACK
    g.t.cpu.regs[RSP] = 0x10
    g.t.cpu.regs[ORIG_RAX] = 197            # mmap: the seventh is on the stack
    trap(g.t)
    call = next(r for r in trace.records() if r.type == Record.SYSCALL)
    assert len(call.payload) == 8 + 6 * 8


def test_kinds_of_files(trace: Trace) -> None:
    g = trace.stage.guest()
    linux(g, "pipe2", g.room(8), 0)
    linux(g, "socketpair", 1, 1, 0, g.room(8))
    linux(g, "eventfd2", 0, 0)
    assert [file_kind(file) for _, file in sorted(g.p.fds.files.items())] == [
        FileKind.PIPE, FileKind.PIPE, FileKind.SOCKET, FileKind.SOCKET, FileKind.MISC,
    ]
