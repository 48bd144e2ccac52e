"""The numbers of one process or thread: stat, statm, status, limits and their small companions.

`stat` and `status` are what ps, top, pgrep and the C libraries read; column for column as Linux 6.1 prints them.
Source: proc_pid_stat(5), proc_pid_status(5), proc_pid_limits(5), fs/proc/array.c as those pages describe it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ring3.abi.signals import SIG_DFL, SIG_IGN, bit
from ring3.abi.x86 import RIP, RSP
from ring3.namedtuple import NamedTuple
from ring3.proc.cputime import process_ns, thread_ns
from ring3.proc.proc import RLIM_INFINITY, Proc, Rlimit, Thread, ThreadState
from ring3.proc.procfs.maps import space_of

if TYPE_CHECKING:
    from ring3.proc.sigqueue import SigQueue
    from ring3.vm.region import Region
    from ring3.vm.vmspace import VMSpace

TICK_NS = 10_000_000            # USER_HZ is 100
PAGE = 4096
ALL_CAPABILITIES = (1 << 41) - 1
NODES = b",".join([b"00000000"] * 31 + [b"00000001"])      # 1024 possible memory nodes, one there

_STATES = {
    ThreadState.NEW: b"R (running)", ThreadState.RUNNING: b"R (running)", ThreadState.SERVED: b"R (running)",
    ThreadState.READY: b"R (running)", ThreadState.SLEEPING: b"S (sleeping)", ThreadState.STOPPED: b"T (stopped)",
    ThreadState.DEAD: b"Z (zombie)",
}


class Subject(NamedTuple):
    """Whom a file speaks of: process `p`, through its thread `t` (None where it has none), by the number `number`.

    `whole`: the process as a whole (/proc/PID), not one thread of it (/proc/PID/task/TID).
    """

    p: Proc
    t: Thread | None
    number: int
    whole: bool

    @property
    def comm(self) -> bytes:
        return self.t.comm if self.t is not None else self.p.comm


def state_of(s: Subject) -> bytes:
    """The third field of stat, with its meaning behind it."""
    if s.p.zombie:
        return b"Z (zombie)"
    t = s.t
    if t is None:
        return b"S (sleeping)"
    if s.p.stopped_by and t.state is not ThreadState.DEAD:
        return b"T (stopped)"
    if t.state is ThreadState.SLEEPING and t.sleep is not None and t.sleep.killable:
        return b"D (disk sleep)"
    return _STATES[t.state]


def threads_of(p: Proc) -> int:
    """How many threads there are, as stat counts them."""
    return max(len(p.live_threads()), 1)


def _queued(queue: SigQueue | None) -> int:
    return queue.mask if queue is not None else 0


def _dispositions(p: Proc) -> tuple[int, int]:
    """The signals that are ignored, and those with handlers, as masks."""
    ignored = caught = 0
    for signo in range(1, 65):
        handler = p.actions.table[signo].handler
        if handler == SIG_IGN:
            ignored |= bit(signo)
        elif handler != SIG_DFL:
            caught |= bit(signo)
    return ignored, caught


def _parent_pid(p: Proc) -> int:
    return p.parent.pid if p.parent is not None else 0


def _terminal(p: Proc) -> tuple[int, int]:
    """(tty_nr, tpgid): the controlling terminal's device number in the kernel's own packing, and its foreground group."""
    tty = p.session.tty
    if tty is None:
        return 0, -1
    dev = getattr(tty, "rdev", 0) or os.makedev(136, 0)
    major, minor = os.major(dev), os.minor(dev)
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12, tty.foreground or -1


def stat(s: Subject, *, visible: bool) -> bytes:
    """The 52 columns.  Addresses are shown only to who may look into the process (`visible`)."""
    p, t = s.p, s.t
    vm = space_of(p)
    tty_nr, tpgid = _terminal(p)
    ignored, caught = _dispositions(p)
    used_ns = process_ns(p) if s.whole or t is None else thread_ns(t)
    children = p.child_usage if s.whole else None
    code, data = _image(vm, visible=visible)
    sizes = (vm.total_bytes, vm.machine.resident() // PAGE) if vm is not None else (0, 0)
    pending = _queued(t.pending if t is not None else None)
    blocked = t.sigmask if t is not None else 0
    low = (1 << 31) - 1         # the four obsolete masks have the standard signals only
    fields = (
        state_of(s)[:1].decode(), _parent_pid(p), p.pgrp, p.session.sid, tty_nr, tpgid, 0x400000,
        0, 0, 0, 0, used_ns // TICK_NS, p.usage.system_ns // TICK_NS,
        children.user_ns // TICK_NS if children else 0, children.system_ns // TICK_NS if children else 0,
        20 + p.nice, p.nice, threads_of(p), 0, max(p.start_ns, 0) // TICK_NS, *sizes, _limit_value(p, Rlimit.RSS),
        *code, 0, 0,
        pending & low, blocked & low, ignored & low, caught & low, int(t is not None and t.state is ThreadState.SLEEPING),
        0, 0, p.exit_signal if s.whole else -1, 0, 0, 0, 0, 0, 0, *data,
        (p.exit_status or 0) if visible else 0,
    )
    return b"%d (%s) " % (s.number, s.comm) + " ".join(map(str, fields)).encode() + b"\n"


def _limit_value(p: Proc, which: Rlimit) -> int:
    value = p.rlimits[which][0] if p.rlimits else RLIM_INFINITY
    return (1 << 64) - 1 if value == RLIM_INFINITY else value


def _image(vm: VMSpace | None, *, visible: bool) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """(start and end of code, start of the stack), (data, brk, arguments, environment)."""
    if vm is None:
        return (0, 0, 0), (0,) * 7
    if not visible:
        return (1, 1, 0), (0,) * 7
    text, rest = _image_regions(vm)
    return (
        (text.start, text.end, vm.arg_start) if text is not None else (0, 0, vm.arg_start),
        (rest.start if rest else 0, rest.end if rest else 0, vm.brk_start, vm.arg_start, vm.arg_end, vm.env_start, vm.env_end),
    )


def _image_regions(vm: VMSpace) -> tuple[Region | None, Region | None]:
    """The first executable and the first writable region of a file: those of the program itself, as images are laid out."""
    text = next((r for r in vm.regions if r.prot & 4 and r.object is not None), None)
    data = next((r for r in vm.regions if r.prot & 2 and r.object is not None and not r.shared), None)
    return text, data


def statm(p: Proc) -> bytes:
    """Sizes in pages: all, resident, shared, text, 0, data and stack, 0."""
    vm = space_of(p)
    if vm is None:
        return b"0 0 0 0 0 0 0\n"
    text, _ = _image_regions(vm)
    resident = vm.machine.resident() // PAGE
    data = sum(r.length for r in vm.regions if r.prot & 2 and not r.shared)
    return b"%d %d %d %d 0 %d 0\n" % (
        vm.total_bytes // PAGE, resident, _file_pages(vm, resident), text.length // PAGE if text else 0, data // PAGE
    )


def _file_pages(vm: VMSpace, resident: int) -> int:
    """How many of the resident pages are of files: in proportion to size."""
    files = sum(r.length for r in vm.regions if r.object is not None)
    return resident * files // max(vm.total_bytes, 1)


def status(s: Subject) -> bytes:
    """Line by line as Linux 6.1."""
    p, t = s.p, s.t
    cred = p.cred
    fs, fds = getattr(p, "fs", None), getattr(p, "fds", None)
    lines = [b"Name:\t" + s.comm.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")]
    if fs is not None and not p.zombie:
        lines.append(b"Umask:\t%04o" % fs.umask)
    lines += [
        b"State:\t" + state_of(s),
        b"Tgid:\t%d" % p.pid,
        b"Ngid:\t0",
        b"Pid:\t%d" % s.number,
        b"PPid:\t%d" % _parent_pid(p),
        b"TracerPid:\t0",
        b"Uid:\t%d\t%d\t%d\t%d" % (cred.ruid, cred.euid, cred.suid, cred.fsuid),
        b"Gid:\t%d\t%d\t%d\t%d" % (cred.rgid, cred.egid, cred.sgid, cred.fsgid),
        b"FDSize:\t%d" % (_table_size(max(fds.files, default=0)) if fds is not None and not p.zombie else 0),
        b"Groups:\t" + b" ".join(b"%d" % group for group in cred.groups) + b" ",
        b"NStgid:\t%d" % p.pid,
        b"NSpid:\t%d" % s.number,
        b"NSpgid:\t%d" % p.pgrp,
        b"NSsid:\t%d" % p.session.sid,
    ]
    vm = space_of(p)
    if vm is not None:
        lines += _memory_lines(p, vm)
    lines += [b"Threads:\t%d" % threads_of(p), *_signal_lines(p, t), *_power_lines(p), *_placement_lines(p)]
    lines += [b"voluntary_ctxt_switches:\t%d" % p.usage.nvcsw, b"nonvoluntary_ctxt_switches:\t%d" % p.usage.nivcsw]
    return b"\n".join(lines) + b"\n"


def _table_size(highest: int) -> int:
    size = 64
    while size <= highest:
        size *= 2
    return size


def _memory_lines(p: Proc, vm: VMSpace) -> list[bytes]:
    resident = vm.machine.resident()
    files = _file_pages(vm, resident // PAGE) * PAGE
    text, _ = _image_regions(vm)
    stack = sum(r.length for r in vm.regions if r.growsdown or r.start < vm.stack_top <= r.end)
    data = sum(r.length for r in vm.regions if r.prot & 2 and not r.shared) - stack
    code = sum(r.length for r in vm.regions if r.prot & 4 and r.object is not None)
    program = text.length if text is not None else 0
    sizes = (
        (b"VmPeak", vm.peak_bytes), (b"VmSize", vm.total_bytes), (b"VmLck", sum(r.length for r in vm.regions if r.locked)),
        (b"VmPin", 0), (b"VmHWM", max(resident, min(p.usage.max_rss, vm.peak_bytes))), (b"VmRSS", resident),
        (b"RssAnon", resident - files), (b"RssFile", files), (b"RssShmem", 0), (b"VmData", max(data, 0)), (b"VmStk", stack),
        (b"VmExe", program), (b"VmLib", code - program), (b"VmPTE", (len(vm.regions) // 2 + 4) * PAGE), (b"VmSwap", 0),
        (b"HugetlbPages", 0),
    )
    lines = [b"%s:\t%8d kB" % (name, size >> 10) for name, size in sizes]
    return [*lines, b"CoreDumping:\t0", b"THP_enabled:\t1"]


def _signal_lines(p: Proc, t: Thread | None) -> list[bytes]:
    ignored, caught = _dispositions(p)
    queued = len(p.pending) + sum(len(thread.pending) for thread in p.threads.values())
    masks = (
        (b"SigPnd", _queued(t.pending if t is not None else None)), (b"ShdPnd", p.pending.mask),
        (b"SigBlk", t.sigmask if t is not None else 0), (b"SigIgn", ignored), (b"SigCgt", caught),
    )
    limit = _limit_value(p, Rlimit.SIGPENDING)
    return [b"SigQ:\t%d/%d" % (queued, limit), *(b"%s:\t%016x" % (name, mask) for name, mask in masks)]


def _power_lines(p: Proc) -> list[bytes]:
    cred = p.cred
    permitted = ALL_CAPABILITIES if 0 in (cred.ruid, cred.euid, cred.suid) else 0
    masks = (
        (b"CapInh", 0), (b"CapPrm", permitted), (b"CapEff", ALL_CAPABILITIES if cred.privileged else 0),
        (b"CapBnd", ALL_CAPABILITIES), (b"CapAmb", 0),
    )
    return [
        *(b"%s:\t%016x" % (name, mask) for name, mask in masks), b"NoNewPrivs:\t%d" % p.no_new_privs, b"Seccomp:\t0",
        b"Seccomp_filters:\t0", b"Speculation_Store_Bypass:\tvulnerable", b"SpeculationIndirectBranch:\talways enabled",
    ]


def _placement_lines(p: Proc) -> list[bytes]:
    ncpus = p.system.facts.ncpus
    return [
        b"Cpus_allowed:\t" + cpu_mask((1 << ncpus) - 1, ncpus),
        b"Cpus_allowed_list:\t" + (b"0-%d" % (ncpus - 1) if ncpus > 1 else b"0"),
        b"Mems_allowed:\t" + NODES,
        b"Mems_allowed_list:\t0",
    ]


def cpu_mask(mask: int, ncpus: int) -> bytes:
    """A bitmap as the kernel prints one: words of 32 bits, the first as short as it can be.

    >>> cpu_mask(3, 2), cpu_mask(3, 36)
    (b'3', b'0,00000003')
    """
    words = []
    bits = ncpus
    while bits > 0:
        words.append(b"%0*x" % ((min(bits, 32) + 3) // 4, mask & 0xFFFFFFFF))
        mask >>= 32
        bits -= 32
    return b",".join(reversed(words))


_LIMITS = (
    (Rlimit.CPU, b"Max cpu time", b"seconds"), (Rlimit.FSIZE, b"Max file size", b"bytes"),
    (Rlimit.DATA, b"Max data size", b"bytes"),
    (Rlimit.STACK, b"Max stack size", b"bytes"), (Rlimit.CORE, b"Max core file size", b"bytes"),
    (Rlimit.RSS, b"Max resident set", b"bytes"), (Rlimit.NPROC, b"Max processes", b"processes"),
    (Rlimit.NOFILE, b"Max open files", b"files"), (Rlimit.MEMLOCK, b"Max locked memory", b"bytes"),
    (Rlimit.AS, b"Max address space", b"bytes"), (Rlimit.LOCKS, b"Max file locks", b"locks"),
    (Rlimit.SIGPENDING, b"Max pending signals", b"signals"), (Rlimit.MSGQUEUE, b"Max msgqueue size", b"bytes"),
    (Rlimit.NICE, b"Max nice priority", b""), (Rlimit.RTPRIO, b"Max realtime priority", b""),
    (Rlimit.RTTIME, b"Max realtime timeout", b"us"),
)


def limits(p: Proc) -> bytes:
    """proc_pid_limits(5)."""
    def shown(value: int) -> bytes:
        return b"unlimited" if value == RLIM_INFINITY else b"%d" % value

    rows = [(b"Limit", b"Soft Limit", b"Hard Limit", b"Units")]
    rows += [(name, shown(p.rlimits[which][0]), shown(p.rlimits[which][1]), unit) for which, name, unit in _LIMITS]
    return b"".join(b"%-25s %-20s %-20s %s\n" % (*row[:3], row[3].ljust(10) if row[3] else b"") for row in rows)


def io(_p: Proc) -> bytes:
    """Nobody counts what is read and written: all 0."""
    keys = (b"rchar", b"wchar", b"syscr", b"syscw", b"read_bytes", b"write_bytes", b"cancelled_write_bytes")
    return b"".join(key + b": 0\n" for key in keys)


def schedstat(s: Subject) -> bytes:
    """Time on a CPU, time waited (unknown), turns (unknown)."""
    used = process_ns(s.p) if s.whole or s.t is None else thread_ns(s.t)
    return b"%d 0 %d\n" % (used, s.p.usage.nvcsw)


def oom_score(p: Proc) -> bytes:
    """A process of no size: what its adjustment makes of it."""
    if p.zombie or not p.threads:
        return b"0\n"
    return b"%d\n" % max((1000 + p.oom_score_adj) * 2 // 3, 0)


def current_call(s: Subject) -> bytes:
    """/proc/PID/syscall: the call it sleeps in, with six arguments, stack and instruction pointer."""
    t = s.t
    if t is None or t.state is not ThreadState.SLEEPING:
        return b"running\n"
    abi = s.p.personality.abis[t.cpu.arch]
    regs = t.cpu.regs
    words = [regs[register] for register in (*abi.argument_registers, RSP, RIP)]
    return b"%d " % t.call_number + b" ".join(b"0x%x" % word for word in words) + b"\n"
