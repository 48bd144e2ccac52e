"""/sys/kernel/processes: every process and its threads, as ps, top and the system monitor read them.

What this kernel does not count is 0: how often a thread was scheduled, its calls, faults and bytes.  CPU time counts as the
program's.  The kernel's own process is the one whose children nobody else waits for.
Source: Kernel/FileSystem/SysFS/Subsystems/Kernel/Processes.cpp (keys and their order), Thread::state_string.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from ring3.personality.serenity.view.machine import cpu_times
from ring3.personality.serenity.view.process import as_json, files_of, own_policy, text_of
from ring3.policy import promises
from ring3.policy.veil import VeilState
from ring3.proc.cputime import thread_ns
from ring3.proc.proc import Proc, Thread, ThreadState
from ring3.proc.procfs.maps import shares, space_of
from ring3.proc.tasks import NORMAL_PRIORITY

if TYPE_CHECKING:
    from ring3.personality.serenity.view.fs import SysFS

_VEILS: Final = {
    VeilState.NONE: "None", VeilState.DROPPED: "Dropped", VeilState.LOCKED: "Locked", VeilState.LOCKED_INHERITED: "Locked",
}
_STATES: Final = {
    ThreadState.NEW: "Runnable", ThreadState.RUNNING: "Running", ThreadState.SERVED: "Running", ThreadState.READY: "Runnable",
    ThreadState.STOPPED: "Stopped", ThreadState.DEAD: "Dead",
}
# What a thread waits for, by the call it sleeps in; the words are the blockers' own.
_WAITS: Final = {
    "accept4": "Accepting", "clock_nanosleep": "Sleeping", "connect": "Connecting", "futex": "Queue", "join_thread": "Joining",
    "poll": "Selecting", "pread": "Reading", "read": "Reading", "readv": "Reading", "recvmsg": "Reading", "sendmsg": "Writing",
    "sigsuspend": "Pending Signal", "sigtimedwait": "Pending Signal", "waitid": "Waiting", "write": "Writing", "pwritev": "Writing",
}
_NOT_COUNTED: Final = (
    "syscall_count", "inode_faults", "zero_faults", "cow_faults", "file_read_bytes", "file_write_bytes", "unix_socket_read_bytes",
    "unix_socket_write_bytes", "ipv4_socket_read_bytes", "ipv4_socket_write_bytes",
)


def processes(fs: SysFS) -> bytes:
    """All that the viewer may know of."""
    known = [p for p in fs.system.procs.values() if fs.knows(p)]
    times = cpu_times()
    return as_json({
        "processes": [_process(fs, p) for p in known], "total_time": times.total, "total_time_kernel": times.kernel,
    })


def _process(fs: SysFS, p: Proc) -> dict[str, Any]:
    tty = p.session.tty
    own = own_policy(p)
    is_kernel = p is fs.system.init
    return {
        "pledge": "" if own is None or not own.promises else promises.show(own.promises) + " ",
        "veil": "" if is_kernel else _VEILS[own.state if own is not None else VeilState.NONE],
        "pid": p.pid,
        "pgid": (tty.foreground or 0) if tty is not None else 0,
        "pgp": p.pgrp,
        "sid": p.session.sid,
        "uid": p.cred.ruid,
        "gid": p.cred.rgid,
        "ppid": p.parent.pid if p.parent is not None else 0,
        "tty": _terminal(tty),
        "nfds": len(files_of(p)),
        "name": text_of(p.comm),
        "executable": text_of(fs.view(p.exe)) if p.exe is not None else "",
        **_memory(p),
        "dumpable": p.dumpable == 1,
        "kernel": is_kernel,
        "threads": [_thread(t) for t in p.threads.values()],
    }


def _terminal(tty: Any) -> str:
    """As "pts:3"; a terminal that is no pseudo-terminal here is a "tty"."""
    if tty is None:
        return ""
    number = getattr(tty, "number", None)
    return f"pts:{number}" if number is not None else f"tty:{os.minor(getattr(tty, 'rdev', 0))}"


def _memory(p: Proc) -> dict[str, int]:
    vm = space_of(p)
    resident = dirty = clean = shared = volatile = nonvolatile = 0
    for region, kilobytes in shares(vm) if vm is not None else ():
        nbytes = kilobytes << 10
        resident += nbytes
        anonymous = region.object is None or region.object.anonymous
        purgeable = region.traits.purgeable if region.traits is not None else None
        dirty += nbytes if not region.shared and region.prot & 2 else 0
        clean += nbytes if not anonymous and not region.prot & 2 else 0
        shared += nbytes if region.shared else 0
        if purgeable is not None:
            volatile += nbytes if purgeable.is_volatile else 0
            nonvolatile += 0 if purgeable.is_volatile else nbytes
    return {
        "amount_virtual": vm.total_bytes if vm is not None else 0,
        "amount_resident": resident,
        "amount_dirty_private": dirty,
        "amount_clean_inode": clean,
        "amount_shared": shared,
        "amount_purgeable_volatile": volatile,
        "amount_purgeable_nonvolatile": nonvolatile,
    }


def _thread(t: Thread) -> dict[str, Any]:
    return {
        "tid": t.tid,
        "name": text_of(t.comm),
        "times_scheduled": 0,
        "time_user": thread_ns(t),
        "time_kernel": 0,
        "state": _state(t),
        "cpu": 0,
        "priority": t.task.priority if t.task is not None else NORMAL_PRIORITY,
        **dict.fromkeys(_NOT_COUNTED, 0),
    }


def _state(t: Thread) -> str:
    if t.state is not ThreadState.SLEEPING:
        return _STATES[t.state]
    call = t.proc.personality.abis[t.cpu.arch].names.get(t.call_number, "")
    return _WAITS.get(call, "Blocked")
