"""Linux's core files: "core" in the process's current directory, with the notes that debuggers read.

As core(5) has it with core_pattern "core": not of a process that is not dumpable, not without RLIMIT_CORE, not where a file of that
name cannot be replaced by the process's own ids; and not, which is ring3's own rule, of a process that the user confines, since it
may write files only where it asked itself.  Threads that run at that moment have no registers to be kept.  A 32-bit process leaves
none.  Source: core(5), elf_prstatus and elf_prpsinfo of linux/elfcore.h, getrlimit(2).
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.flags import OpenFlags
from ring3.abi.signals import SigInfo
from ring3.errors import ENOENT, Errno
from ring3.proc.core import CORE_MAX, pieces_of, write_core
from ring3.proc.cputime import thread_ns
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Proc, Rlimit, Thread, ThreadState
from ring3.proc.procfs.maps import region_name
from ring3.proc.procfs.memory import argument_text
from ring3.vfs.names import unlink
from ring3.vfs.opening import open_file
from ring3.vm.region import PAGE

if TYPE_CHECKING:
    from ring3.vm.vmspace import VMSpace

NAME: Final = b"core"
_NT_PRSTATUS, _NT_FPREGSET, _NT_PRPSINFO, _NT_AUXV, _NT_SIGINFO, _NT_FILE = 1, 2, 3, 6, 0x53494749, 0x46494C45
_PRSTATUS: Final = struct.Struct("<iiih2xQQiiiiqqqqqqqq27Qi4x")
_PRPSINFO: Final = struct.Struct("<bsbb4xQIIiiii16s80s")
_REGISTERS: Final = 27
_FXSAVE: Final = 512
_MOST_HEADERS: Final = 60_000


def dump_core(t: Thread, info: SigInfo) -> bool:
    """Write the core of a process that `info` ends, met by `t`; whether there is one."""
    p = t.proc
    limit = p.rlimit(Rlimit.CORE)
    vm = p.vm
    if p.dumpable != 1 or limit < PAGE or p.confinement is not None or not t.abi.native or len(vm.regions) > _MOST_HEADERS:
        return False
    context = namei_context(t)
    try:
        with suppress(ENOENT):
            unlink(context, NAME)
        flags = OpenFlags.CREAT | OpenFlags.EXCL | OpenFlags.WRONLY | OpenFlags.NOFOLLOW
        file = open_file(context, NAME, flags, 0o600)
    except (Errno, OSError, MemoryError):
        return False
    try:
        notes = _notes(t, info)
        room = min(limit, CORE_MAX) - len(notes) - PAGE - 56 * (len(vm.regions) + 1)
        return write_core(file, vm, pieces_of(vm.regions, room), notes, notes_first=True)
    except (Errno, OSError, MemoryError):       # a thread that died meanwhile has no registers
        return False
    finally:
        file.close()


def _notes(t: Thread, info: SigInfo) -> bytes:
    p = t.proc
    encode = t.abi.layouts[SigInfo].encode
    notes = [
        _note(_NT_PRSTATUS, _status(t, info)),
        _note(_NT_PRPSINFO, _about(p)),
        _note(_NT_SIGINFO, encode(info)),
        _note(_NT_AUXV, p.vm.auxv),
        _note(_NT_FILE, _files(p.vm)),
        _note(_NT_FPREGSET, t.cpu.read_xstate()[:_FXSAVE]),
    ]
    for other in p.threads.values():
        if other is not t and other.state in (ThreadState.SLEEPING, ThreadState.STOPPED, ThreadState.READY, ThreadState.SERVED):
            notes += (_note(_NT_PRSTATUS, _status(other, info)), _note(_NT_FPREGSET, other.cpu.read_xstate()[:_FXSAVE]))
    return b"".join(notes)


def _note(kind: int, data: bytes) -> bytes:
    padded = data + bytes(-len(data) % 4)
    return struct.pack("<III8s", 5, len(data), kind, b"CORE") + padded


def _status(t: Thread, info: SigInfo) -> bytes:
    """struct elf_prstatus: the registers, and what was pending."""
    p = t.proc
    used = thread_ns(t) // 1000
    times: list[Any] = [used // 1_000_000, used % 1_000_000, 0, 0, 0, 0, 0, 0]
    parent = p.parent.pid if p.parent is not None else 0
    return _PRSTATUS.pack(
        info.signo, info.code, info.errno, info.signo, (t.pending.mask | p.pending.mask), t.sigmask, t.tid, parent, p.pgrp,
        p.session.sid, *times, *t.cpu.regs[:_REGISTERS], 1,
    )


def _about(p: Proc) -> bytes:
    """struct elf_prpsinfo: whose it was and how it was called."""
    words = argument_text(p)[:80].rstrip(b"\0").replace(b"\0", b" ")
    parent = p.parent.pid if p.parent is not None else 0
    return _PRPSINFO.pack(
        0, b"R", 0, max(min(p.nice, 127), -128), 0, p.cred.ruid, p.cred.rgid, p.pid, parent, p.pgrp, p.session.sid, p.comm[:15],
        words[:79],
    )


def _files(vm: VMSpace) -> bytes:
    """The NT_FILE note: where pages of which files are mapped."""
    rows, names = [], []
    for region in vm.regions:
        if region.object is not None and not region.object.anonymous and (name := region_name(vm, region)).startswith(b"/"):
            rows += [region.start, region.end, region.offset // PAGE]
            names.append(name)
    return struct.pack(f"<{2 + len(rows)}Q", len(names), PAGE, *rows) + b"".join([name + b"\0" for name in names])
