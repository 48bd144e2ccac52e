"""ktrace(2), fktrace(2), utrace(2): who is traced to which file, who may say so, and what then stands in the file."""

from __future__ import annotations

import io
import re
import struct
import time
from collections.abc import Iterator

import pytest

from ring3.abi.flags import CloneFlags, OpenFlags
from ring3.abi.netbsd.ktrace import INHERIT, PERSISTENT, Record
from ring3.errors import EACCES, EAGAIN, EBADF, EINVAL, ENOENT, ENOSPC, EPERM, ESRCH, Errno
from ring3.proc import ktrace
from ring3.proc.cred import Cred
from ring3.proc.lifecycle import fork_process
from ring3.proc.lookup import namei_context
from ring3.trace.kdump import Options, Printer
from ring3.trace.ktrace import GuestKtrace
from ring3.trace.ktracefile import KtraceFile, TraceRecord
from ring3.vfs import names
from ring3.vfs.file import File
from ring3.vfs.namei import namei
from tests.rows import row
from tests.unit.calls.netbsd.netguest import NUMBERS, NetbsdGuest, netbsd_guest
from tests.unit.calls.stage import Stage

SET, CLEAR, CLEARFILE, DESCEND = 0, 1, 2, 4
ALL = 0x00FF_FFFF
V2 = 2 << 24


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    made.system.new_ktracer = GuestKtrace
    yield made
    made.close()


@pytest.fixture
def g(stage: Stage) -> NetbsdGuest:
    guest = netbsd_guest(stage)
    names.mknod(namei_context(guest.t), b"/trace", 0o100666)
    return guest


def contents(g: NetbsdGuest, path: bytes = b"/trace") -> bytes:
    vnode = namei(namei_context(g.t)._replace(told=None), path).vnode
    return vnode.read(0, vnode.getattr().size)


def trace(g: NetbsdGuest, facilities: int = ALL, ops: int = SET, pid: int | None = None, path: bytes = b"/trace") -> int:
    try:
        return g.call("ktrace", g.put(path + b"\0"), ops, facilities, g.p.pid if pid is None else pid)
    finally:
        g.t.watched = None          # the end of this call is not told of


def records(data: bytes) -> list[TraceRecord]:
    return list(KtraceFile(io.BytesIO(data)))


def text(data: bytes) -> list[str]:
    """What kdump says, without process, LWP and command."""
    file = KtraceFile(io.BytesIO(data))
    printer = Printer(file, Options())
    lines = "".join(printer.lines(record) for record in file).splitlines()
    return [re.sub(r"^ *\d+ ( *\d+ )?\S* +([A-Z]+  )", r"\2", line).strip() for line in lines]


@row("netbsd", "ktr_syscall, ktr_sysret, ktr_namei", "calls, paths, data and results are in the file in the order they came")
def test_what_a_traced_process_does_is_in_the_file(g: NetbsdGuest) -> None:
    trace(g, ALL | V2)
    data = g.put(b"hello")
    path = g.put(b"/none\0")
    assert g.trap(NUMBERS["open"], path, 0, 0)[2]
    fd = g.trap(NUMBERS["open"], g.put(b"/new\0"), 0x602, 0o644)[0]
    g.trap(NUMBERS["write"], fd, data, 5)
    g.trap(NUMBERS["mmap"], 0, 4096, 3, 0x1002, -1, 0x77, 0)
    room = g.room(8)
    again = g.trap(NUMBERS["open"], g.put(b"/new\0"), 0, 0)[0]
    g.trap(NUMBERS["read"], again, room, 8)
    lines = text(contents(g))
    mapped = lines.pop(12)
    assert mapped.startswith("RET   mmap 1")
    assert lines == [
        'EMUL  "netbsd"',
        f"CALL  open({path:#x},0,0)", 'NAMI  "/none"', "RET   open -1 errno 2 No such file or directory",
        f"CALL  open({path + 16:#x},0x602,0x1a4)", 'NAMI  "/new"', "RET   open 0",
        f"CALL  write(0,{data:#x},5)", "GIO   fd 0 wrote 5 bytes", '"hello"', "RET   write 5",
        "CALL  mmap(0,0x1000,3,0x1002,0xffffffffffffffff,0x77,0)",
        f"CALL  open({room + 16:#x},0,0)", 'NAMI  "/new"', "RET   open 1",
        f"CALL  read(1,{room:#x},8)", "GIO   fd 1 read 5 bytes", '"hello"', "RET   read 5",
    ]


def test_who_traces_itself_sees_the_end_of_the_call(g: NetbsdGuest) -> None:
    g.trap(NUMBERS["ktrace"], g.put(b"/trace\0"), SET, ALL, g.p.pid)
    assert text(contents(g)) == ['EMUL  "netbsd"', "RET   ktrace 0"]


@pytest.mark.parametrize("version", [0, 1, 2])
def test_versions(g: NetbsdGuest, version: int) -> None:
    g.t.comm = b"a-long-name-of-a-command"
    trace(g, ALL | version << 24)
    g.trap(NUMBERS["getpid"])
    found = records(contents(g))
    expected = (version, 1 if version else None, g.p.pid, b"a-long-name-of-a")
    assert [(r.version, r.lid, r.pid, r.comm) for r in found] == [expected] * 3
    assert abs(found[0].time_ns - time.time_ns()) < 60_000_000_000
    assert [r.type for r in found] == [Record.EMUL, Record.SYSCALL, Record.SYSRET]


def test_two_results(g: NetbsdGuest) -> None:
    trace(g)
    g.trap(NUMBERS["getpid"])
    assert g.p.pid < 10
    assert text(contents(g))[-1] == f"RET   getpid {g.p.pid}, 1"


def test_an_indirect_call_is_the_call_it_names(g: NetbsdGuest) -> None:
    trace(g)
    g.trap(NUMBERS["__syscall"], NUMBERS["close"], 77)
    assert text(contents(g))[1:] == ["CALL  close(0x4d)", "RET   close -1 errno 9 Bad file descriptor"]


def test_an_argument_that_cannot_be_read(g: NetbsdGuest) -> None:
    trace(g)
    g.trap(NUMBERS["open"], 0x10, 0, 0)
    assert text(contents(g))[1:] == ["CALL  open(0x10,0,0)", "RET   open -1 errno 14 Bad address"]


def test_a_call_nobody_wrote(g: NetbsdGuest) -> None:
    trace(g)
    g.trap(511)
    assert text(contents(g))[1:] == [
        "CALL  [511]", "RET   [511] -1 errno 78 Function not implemented", "PSIG  SIGSYS SIG_DFL code=0x7fff",
    ]


def test_facilities(g: NetbsdGuest) -> None:
    trace(g, 1 << Record.SYSRET)
    g.trap(NUMBERS["getpid"])
    assert [r.type for r in records(contents(g))] == [Record.SYSRET]
    trace(g, 1 << Record.SYSCALL)
    g.trap(NUMBERS["getpid"])
    assert [r.type for r in records(contents(g))[1:]] == [Record.SYSCALL, Record.SYSRET]
    trace(g, 1 << Record.SYSRET, CLEAR)
    g.trap(NUMBERS["getpid"])
    assert [r.type for r in records(contents(g))[3:]] == [Record.SYSCALL]


def test_clearing_all_ends_it_and_costs_nothing_then(g: NetbsdGuest, stage: Stage) -> None:
    trace(g)
    assert len(stage.system.instruments) == 1
    g.call("ktrace", 0, CLEAR, ALL, g.p.pid)        # the file is not looked at
    assert g.p.ktrace is None
    assert not stage.system.instruments
    assert namei(namei_context(g.t), b"/trace").vnode.writers == 0


def test_a_second_file_takes_the_place_of_the_first(g: NetbsdGuest) -> None:
    names.mknod(namei_context(g.t), b"/other", 0o100666)
    trace(g)
    trace(g, path=b"/other")
    g.trap(NUMBERS["getpid"])
    assert text(contents(g)) == ['EMUL  "netbsd"', 'NAMI  "/other"']
    assert len(records(contents(g, b"/other"))) == 3


def test_the_same_file_for_two(g: NetbsdGuest, stage: Stage) -> None:
    other = netbsd_guest(stage)
    trace(g, ALL & ~(1 << Record.NAMEI))
    trace(g, pid=other.p.pid)
    assert other.p.ktrace.file is g.p.ktrace.file
    g.trap(NUMBERS["getppid"])
    other.trap(NUMBERS["getppid"])
    assert [r.pid for r in records(contents(g))] == [g.p.pid] * 3 + [other.p.pid] * 3


def test_the_end_of_a_process(g: NetbsdGuest, stage: Stage) -> None:
    trace(g)
    g.trap(NUMBERS["exit"], 3)
    assert not stage.system.instruments
    assert g.p.ktrace is None
    data = contents(netbsd_guest(stage))
    assert text(data)[1:] == ["CALL  exit(3)"]


# --- children

@row("netbsd", "ktrace KTRFAC_INHERIT", "a child is traced as its parent where that was asked for")
@pytest.mark.parametrize("inherits", [True, False])
def test_inherit(g: NetbsdGuest, stage: Stage, inherits: bool) -> None:
    trace(g, ALL | (INHERIT if inherits else 0))
    child = fork_process(g.t, CloneFlags(0), 17)
    stage.system.tell("fork", g.t, child)
    assert (child.proc.ktrace is not None) is inherits


def test_descend(g: NetbsdGuest) -> None:
    child = fork_process(g.t, CloneFlags(0), 17)
    grandchild = fork_process(child, CloneFlags(0), 17)
    trace(g, ALL, SET | DESCEND)
    assert all(p.ktrace is not None for p in (g.p, child.proc, grandchild.proc))
    trace(g, ALL, CLEAR | DESCEND)
    assert all(p.ktrace is None for p in (g.p, child.proc, grandchild.proc))


def test_a_group(g: NetbsdGuest, stage: Stage) -> None:
    other = netbsd_guest(stage)
    other.p.pgrp = g.p.pgrp
    trace(g, pid=-g.p.pgrp)
    assert g.p.ktrace is not None
    assert other.p.ktrace is not None


def test_clearfile(g: NetbsdGuest, stage: Stage) -> None:
    other = netbsd_guest(stage)
    names.mknod(namei_context(g.t), b"/other", 0o100666)
    trace(g)
    trace(g, pid=other.p.pid, path=b"/other")
    trace(g, 0, CLEARFILE, 0)
    assert g.p.ktrace is None
    assert other.p.ktrace is not None


# --- who may

USER = Cred(100, 100, 100, 100, 100, 100, 100, 100)


@row("netbsd", "ktrcanset", "only a process without powers the caller lacks is traced; what root began only root changes")
@pytest.mark.parametrize(("caller", "target", "by_root", "allowed"), [
    (Cred(), USER, False, True),
    (USER, USER, False, True),
    (USER, USER, True, False),
    (Cred(), USER, True, True),
    (USER, Cred(), False, False),
    (USER, USER._replace(suid=0), False, False),
    (USER, USER._replace(ruid=5), False, False),
    (USER, USER._replace(sgid=0), False, False),
    (USER._replace(rgid=7), USER, False, False),
])
def test_who_may_trace_whom(g: NetbsdGuest, stage: Stage, caller: Cred, target: Cred, by_root: bool, allowed: bool) -> None:
    other = netbsd_guest(stage)
    other.p.cred = target
    if by_root:
        trace(g, pid=other.p.pid)
        assert other.p.ktrace.flags & PERSISTENT
    g.p.cred = caller
    if allowed:
        assert trace(g, pid=other.p.pid) == 0
    else:
        with pytest.raises(EPERM):
            trace(g, pid=other.p.pid)
        with pytest.raises(EPERM):
            trace(g, ALL, CLEAR, other.p.pid)


def test_clearfile_of_what_another_traces(g: NetbsdGuest, stage: Stage) -> None:
    other = netbsd_guest(stage)
    trace(g, pid=other.p.pid)
    g.p.cred = USER
    with pytest.raises(EPERM):
        trace(g, 0, CLEARFILE, 0)


@row("netbsd", "execve ktrderef KTRFAC_ROOT", "tracing ends at a set-id exec unless root began it")
@pytest.mark.parametrize("by_root", [True, False])
def test_setid(g: NetbsdGuest, stage: Stage, by_root: bool) -> None:
    g.p.cred = Cred() if by_root else USER
    trace(g)
    stage.system.tell("setid", g.t)
    assert (g.p.ktrace is not None) is by_root


def test_persistence_is_not_asked_for(g: NetbsdGuest) -> None:
    g.p.cred = USER
    trace(g, ALL | PERSISTENT)
    assert not g.p.ktrace.flags & PERSISTENT


@pytest.mark.parametrize(("path", "ops", "facilities", "pid", "refusal"), [
    (b"/none", SET, ALL, None, ENOENT), (b"/dev", SET, ALL, None, Errno), (b"/dev/null", SET, ALL, None, EACCES),
    (b"/trace", SET, 0, None, EINVAL), (b"/trace", SET, PERSISTENT, None, EINVAL), (b"/trace", SET, ALL, 4242, ESRCH),
    (b"/trace", SET, ALL, -4242, ESRCH), (b"/trace", SET, ALL, 1, EPERM), (b"/trace", CLEAR, 0, None, EINVAL),
])
def test_refusals(
    g: NetbsdGuest, stage: Stage, path: bytes, ops: int, facilities: int, pid: int | None, refusal: type[Errno]
) -> None:
    with pytest.raises(refusal):
        trace(g, facilities, ops, pid, path)
    assert not stage.system.instruments
    assert namei(namei_context(g.t), b"/trace").vnode.writers == 0


# --- fktrace

def test_fktrace(g: NetbsdGuest) -> None:
    fd = g.call("open", g.put(b"/trace\0"), 1, 0)
    g.call("fktrace", fd, SET, 1 << Record.SYSRET, g.p.pid)
    g.call("close", fd)
    g.trap(NUMBERS["getpid"])
    assert [r.type for r in records(contents(g))] == [Record.SYSRET]


def test_fktrace_needs_a_file_open_for_writing(g: NetbsdGuest) -> None:
    fd = g.call("open", g.put(b"/trace\0"), 0, 0)
    for bad in (fd, 99):
        with pytest.raises(EBADF):
            g.call("fktrace", bad, SET, ALL, g.p.pid)


class Pipe(File):
    """Takes so many bytes, then none."""

    def __init__(self, room: int) -> None:
        super().__init__(None, OpenFlags.WRONLY)
        self.room = room
        self.taken = b""

    def write(self, data: bytes) -> int:
        if not self.room:
            raise EAGAIN
        piece = data[: self.room]
        self.room -= len(piece)
        self.taken += piece
        return len(piece)


def test_a_full_pipe_gets_the_rest_later(g: NetbsdGuest, stage: Stage) -> None:
    pipe = Pipe(100)
    fd = g.p.fds.install(pipe, limit=64)
    g.call("fktrace", fd, SET, ALL, g.p.pid)
    for _ in range(5):
        g.trap(NUMBERS["getpid"])
    assert len(pipe.taken) == 100
    pipe.room = 1 << 20
    stage.skip(1_000_000_000)
    assert len(records(pipe.taken)) == 11


def test_a_pipe_nobody_reads_ends_it(g: NetbsdGuest, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ktrace, "MAX_WAITING", 1000)
    fd = g.p.fds.install(Pipe(0), limit=64)
    g.call("fktrace", fd, SET, ALL, g.p.pid)
    for _ in range(50):
        g.trap(NUMBERS["getpid"])
    assert g.p.ktrace is None
    assert not stage.system.instruments


def test_a_full_disk_ends_it_for_everybody(g: NetbsdGuest, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    other = netbsd_guest(stage)
    trace(g)
    trace(g, pid=other.p.pid)

    def full(*_: object) -> int:
        raise ENOSPC

    monkeypatch.setattr(type(g.p.ktrace.file.file), "write", full)
    assert not g.trap(NUMBERS["getpid"])[2]
    assert g.p.ktrace is None
    assert other.p.ktrace is None


# --- utrace

@row("netbsd", "ktruser", "utrace writes a record of the program's own, named by at most 20 bytes")
def test_utrace(g: NetbsdGuest) -> None:
    assert g.call("utrace", 0, 0, 1 << 40) == 0         # nobody watches
    trace(g)
    g.call("utrace", g.put(b"name\0"), g.put(b"\1\2\3"), 3)
    g.call("utrace", 0x10, g.put(b"x"), 1)
    assert text(contents(g))[1:] == ["USER  name: 3, 010203", "USER  *: 1, 78"]
    with pytest.raises(ENOSPC):
        g.call("utrace", g.put(b"name\0"), 0, 2049)


# --- sysctl

def test_names_of_variables(g: NetbsdGuest) -> None:
    trace(g)
    name, room = g.put(struct.pack("<ii", 1, 1)), g.room(64)
    length = g.words(64)
    g.trap(NUMBERS["__sysctl"], name, 2, room, length, 0, 0)
    g.trap(NUMBERS["__sysctl"], 0x10, 2, 0, 0, 0, 0)
    g.trap(NUMBERS["__sysctl"], name, 99, 0, 0, 0, 0)
    assert [line for line in text(contents(g)) if line.startswith("MIB")] == ["MIB   1.1"]
