"""What __sysctl(2) tells of many processes at once: kern.proc2 and kern.lwp (ps, top), vm.proc.map (pmap).

A program says how large its struct is and how many it wants; addresses in the kernel are 0.  To look at others needs the promise
ptrace.  The real kernel keeps a sleeper's reason in a word; here nobody does, and the word is empty.
Sources: sys/kern/kern_proc.c (sysctl_doeproc, fill_kproc2), sys/kern/init_sysctl.c (sysctl_kern_lwp), sys/uvm/uvm_map.c
(fill_vmentries), sys/sysctl.h.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from ring3.abi.netbsd.kinfo import KINFO_LWP, KINFO_PROC2, KINFO_VMENTRY
from ring3.abi.procrecords import SigSet, WaitStatus
from ring3.abi.signals import SIG_DFL, SIG_IGN, bit
from ring3.calls.netbsd.sysctlnode import Asked, Kind, Reply, asking_node, node_of
from ring3.errors import EINVAL, ENOMEM, EPERM, ESRCH
from ring3.proc.cputime import process_ns, thread_ns
from ring3.proc.jails import known_procs, may_know
from ring3.proc.lwp import lwp_of
from ring3.proc.proc import Proc, Thread, ThreadState
from ring3.proc.procfs.maps import region_name, space_of
from ring3.vm.region import PAGE, Region

Values = dict[str, int | bytes]

_ALL, _PID, _PGRP, _SESSION, _TTY, _UID, _RUID, _GID, _RGID = range(9)
_SELF: Final = -1
_NODEV: Final = 0xFFFF_FFFF
_NO_GROUP: Final = -1
_SLOP: Final = 5                       # as many more than there are, for who asks how much room to make
_MOST: Final = 1 << 20                 # bytes of one answer
_RUN, _SLEEP, _STOP, _ZOMB, _SUSPENDED = 2, 3, 4, 5, 8
_ACTIVE: Final = 2                     # a process that lives; SSTOP and SZOMB are as for LWPs
_INMEM, _CONTROLT, _SUGID, _TRACED, _EXECED, _NARROW, _DETACHED = 0x4, 0x2, 0x100, 0x800, 0x4000, 0x40000, 0x80_0000
_CTTY, _LEADER = 1, 2                  # EPROC_*
_NZERO: Final = 20
_PRIORITY: Final = 43
_TICK_NS: Final = 10_000_000
_U32: Final = 0xFFFF_FFFF
_OBJECT, _VNODE, _ANON = 1, 2, 5       # KVME_TYPE_*
_COW, _GROWS_DOWN = 0x1, 0x20
_NSIG: Final = 64


# --- whom a program asks about
def _of_terminal(p: Proc, wanted: int) -> bool:
    return _terminal(p)[0] == wanted & _U32


_CHOICES: Final[Mapping[int, Callable[[Proc, int], bool]]] = MappingProxyType({
    _ALL: lambda _p, _arg: True,
    _PID: lambda p, arg: p.pid == arg,
    _PGRP: lambda p, arg: p.pgrp == arg,
    _SESSION: lambda p, arg: p.session.sid == arg,
    _TTY: _of_terminal,
    _UID: lambda p, arg: p.cred.euid == arg & _U32,
    _RUID: lambda p, arg: p.cred.ruid == arg & _U32,
    _GID: lambda p, arg: p.cred.egid == arg & _U32,
    _RGID: lambda p, arg: p.cred.rgid == arg & _U32,
})


def _visible(t: Thread, *, others: bool) -> list[Proc]:
    """Those the caller may know of, the youngest first.  Raises EPERM."""
    if others:
        t.needs("ptrace")
    return sorted(known_procs(t), key=lambda p: -p.pid)


def _array(asked: Asked, size: int, most: int, items: Iterable[bytes], whole: int) -> Reply:
    """Structs cut or filled to the size a program has for them, as many as it wants and has room for.

    It is told how many bytes it was given, and ENOMEM when there were more; without a buffer, how many it should bring.
    """
    room = min(asked.room, _MOST)
    data, needed = bytearray(), 0
    for item in items:
        if asked.wanted and len(data) + size <= room and most > 0:
            data += item[:size].ljust(size, b"\0")
            most -= 1
        needed += size
    if not asked.wanted:
        return Reply(b"", needed + _SLOP * whole)
    return Reply(bytes(data), len(data), ENOMEM if needed > len(data) else None)


def processes(t: Thread, asked: Asked) -> Reply:
    """kern.proc2: which kind of choice, the choice, the size of the struct, how many.  Raises EINVAL, EPERM."""
    if asked.new:
        raise EPERM
    if len(asked.rest) != 4:
        raise EINVAL
    kind, arg, size, most = asked.rest
    if kind not in _CHOICES or size <= 0 or most < 0:
        raise EINVAL
    chosen = [p for p in _visible(t, others=(kind, arg) != (_PID, t.proc.pid)) if _CHOICES[kind](p, arg)]
    whole = KINFO_PROC2.form.size
    return _array(asked, min(size, 2 * whole), most, (KINFO_PROC2.pack(_process(t, p)) for p in chosen), whole)


def lwps(t: Thread, asked: Asked) -> Reply:
    """kern.lwp: a process (-1: all), the size of the struct, how many.  Raises EINVAL, EPERM, ESRCH."""
    if asked.new:
        raise EPERM
    if len(asked.rest) != 3:
        raise EINVAL
    pid, size, most = asked.rest
    if size <= 0 or most < 0:
        raise EINVAL
    chosen = [p for p in _visible(t, others=pid != t.proc.pid) if pid in (_SELF, p.pid)]
    if not chosen:
        raise ESRCH
    whole = KINFO_LWP.form.size
    found = (KINFO_LWP.pack(_lwp(thread)) for p in chosen if not p.zombie for thread in p.live_threads())
    return _array(asked, min(size, 2 * whole), most, found, whole)


def regions(t: Thread, asked: Asked) -> Reply:
    """vm.proc.map: a process (-1: the caller), the size of the struct.  Raises EINVAL, EPERM, ESRCH."""
    if asked.new:
        raise EPERM
    if len(asked.rest) != 2:
        raise EINVAL
    pid, size = asked.rest
    p = t.proc if pid == _SELF else t.system.procs.get(pid)
    vm = None if p is None else space_of(p)
    if p is None or vm is None or not may_know(t.proc, p):
        raise ESRCH
    if p is not t.proc:
        t.needs("ptrace")
        if not t.proc.cred.privileged and (t.proc.cred.euid != p.cred.ruid or p.dumpable != 1):
            raise EPERM
    whole = KINFO_VMENTRY.form.size
    if size != whole:
        raise EINVAL
    found = (KINFO_VMENTRY.pack(_region(region, region_name(vm, region))) for region in vm.regions)
    return _array(asked, whole, len(vm.regions), found, whole)


# --- one process
def _terminal(p: Proc) -> tuple[int, int]:
    """(device, foreground group) of the controlling terminal."""
    tty = p.session.tty
    if tty is None:
        return _NODEV, _NO_GROUP
    return getattr(tty, "rdev", 0) & _U32, tty.foreground or _NO_GROUP


def _state(t: Thread) -> int:
    """LS* of a thread."""
    if t.lwp is not None and t.lwp.suspended:
        return _SUSPENDED
    if t.state is ThreadState.STOPPED or t.proc.stopped_by:
        return _STOP
    return _SLEEP if t.state is ThreadState.SLEEPING else _RUN


def _flags(p: Proc) -> int:
    return (
        _INMEM | (_CONTROLT if p.session.tty is not None else 0) | (_SUGID if p.dumpable != 1 else 0)
        | (_EXECED if p.did_exec else 0)
        | (_TRACED if any(t.trace is not None for t in p.threads.values()) else 0)
        | (_NARROW if any(t.abi.word_size == 4 for t in p.live_threads()) else 0)
    )


def _emulation(p: Proc) -> bytes:
    """The name of its system; the first process has none."""
    personality = getattr(p, "personality", None)
    return b"" if personality is None else personality.name.encode()[:15]


def _two(name: str, ns: int) -> Values:
    """A time as two members: seconds, microseconds."""
    return {f"{name}_sec": ns // 1_000_000_000 & _U32, f"{name}_usec": ns % 1_000_000_000 // 1000}


def _process(t: Thread, p: Proc) -> Values:
    """struct kinfo_proc2."""
    cred, abi = p.cred, t.system.call_abi(t)
    dev, foreground = _terminal(p)
    flags = _flags(p)
    groups = cred.groups[:16]
    values: Values = {
        "pid": p.pid, "ppid": p.parent.pid if p.parent is not None else 0, "sid": p.session.sid, "pgid": p.pgrp,
        "tpgid": foreground,
        "eflag": (_CTTY if p.session.tty is not None else 0) | (_LEADER if p.session.sid == p.pid else 0), "exitsig": 20,
        "flag": flags, "realflag": flags, "uid": cred.euid, "ruid": cred.ruid, "gid": cred.egid, "rgid": cred.rgid,
        "svuid": cred.suid, "svgid": cred.sgid, "groups": b"".join(group.to_bytes(4, "little") for group in groups),
        "ngroups": len(groups), "tdev": dev, "comm": p.comm[:23], "login": p.session.login[:23],
        "ename": _emulation(p), "nice": p.nice + _NZERO, "priority": _PRIORITY, "usrpri": _PRIORITY,
        "stat": _ZOMB, "realstat": _ZOMB, "xstat": 0, "nlwps": max(len(p.live_threads()), 1),
        **_two("uctime", p.child_usage.user_ns + p.child_usage.system_ns),
    }
    if p.zombie:
        status: bytes = abi.layouts[WaitStatus].encode(p.exit_status or 0)
        values["xstat"] = int.from_bytes(status[:2], "little")
    if not p.zombie and p.live_threads():
        values |= _alive(t, p)
    return values


def _alive(t: Thread, p: Proc) -> Values:
    """What only a process has that did not end."""
    threads = p.live_threads()
    encode = t.system.call_abi(t).layouts[SigSet].encode
    ignored = sum(bit(signo) for signo in range(1, _NSIG + 1) if p.actions.table[signo].handler == SIG_IGN)
    caught = sum(bit(signo) for signo in range(1, _NSIG + 1) if p.actions.table[signo].handler not in (SIG_DFL, SIG_IGN))
    pending = p.pending.mask
    for thread in threads:
        pending |= thread.pending.mask
    states = [_state(thread) for thread in threads]
    used_ns = process_ns(p)
    values: Values = {
        "stat": next((state for state in (_RUN, _SLEEP, _STOP, _SUSPENDED) if state in states), _SLEEP),
        "realstat": _STOP if p.stopped_by else _ACTIVE, "nrlwps": states.count(_RUN), "siglist": encode(pending),
        "sigmask": encode(threads[0].sigmask), "sigignore": encode(ignored), "sigcatch": encode(caught), "uvalid": 1,
        "uticks": used_ns // _TICK_NS, "sticks": p.usage.system_ns // _TICK_NS, "nvcsw": p.usage.nvcsw, "nivcsw": p.usage.nivcsw,
        "maxrss": p.usage.max_rss >> 10,
        **_two("ustart", time.time_ns() - (t.system.now_ns() - p.start_ns)), **_two("rtime", used_ns + p.usage.system_ns),
        **_two("uutime", used_ns), **_two("ustime", p.usage.system_ns),
    }
    vm = space_of(p)
    if vm is not None:
        stack = sum(r.length for r in vm.regions if r.growsdown or r.start < vm.stack_top <= r.end) // PAGE
        text = sum(r.length for r in vm.regions if r.prot & 4 and r.object is not None) // PAGE
        data = sum(r.length for r in vm.regions if r.prot & 2 and not r.shared) // PAGE
        total = vm.total_bytes // PAGE
        sizes = {"rssize": vm.machine.resident() // PAGE, "tsize": text, "dsize": max(data - stack, 0), "ssize": stack}
        values |= {f"vm_{name}": min(size, (1 << 31) - 1) for name, size in sizes.items()}
        values |= {"vm_vsize": total, "vm_msize": total}
    return values


def _lwp(t: Thread) -> Values:
    """struct kinfo_lwp; a thread of another system's process has its number of that system."""
    native = t.lwp is not None or t.proc.lwps is not None
    lwp = lwp_of(t) if native else None
    return {
        "lid": lwp.lid if lwp is not None else t.tid, "flag": _INMEM | (_DETACHED if lwp is not None and lwp.detached else 0),
        "stat": _state(t), "priority": _PRIORITY, "usrpri": _PRIORITY, "pid": t.proc.pid,
        "name": (lwp.name if lwp is not None else t.comm)[:19], **_two("rtime", thread_ns(t)),
    }


def _region(region: Region, name: bytes) -> Values:
    """struct kinfo_vmentry."""
    file = region.object is not None and bool(region.object.label)
    dev, ino = region.object.identity if region.object is not None else (0, 0)
    kind = _VNODE if file else _OBJECT if region.shared else _ANON
    return {
        "start": region.start, "end": region.end, "offset": region.offset if file else 0, "type": kind,
        "flags": (0 if region.shared else _COW) | (_GROWS_DOWN if region.growsdown else 0), "count": region.length // PAGE,
        "wired_count": int(bool(region.locked)), "protection": region.prot & 7, "max_protection": region.max_prot & 7,
        "inheritance": 2 if region.dontfork else 0 if region.shared else 1, "fileid": ino & ((1 << 64) - 1),
        "fsid": dev & ((1 << 64) - 1), "vtype": 1 if file else 0, "path": name[:1023] if file else b"",
    }


PROC2: Final = asking_node(47, "proc2", Kind.NODE, processes)
LWP: Final = asking_node(64, "lwp", Kind.NODE, lwps)
VM_PROC: Final = node_of(16, "proc", asking_node(1, "map", Kind.STRUCT, regions))
