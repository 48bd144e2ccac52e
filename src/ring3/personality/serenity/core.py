"""SerenityOS's core files: NAME_PID_TIME in the directory that /sys/kernel/variables/coredump_directory names.

There is none until root names one; it has to be root's, of root's group, and writable by all (mode 040777 to the bit).  A process
that is not dumpable leaves none, nor, which is ring3's own rule, one that the user confines.  The file belongs to the process's
user, mode 0600 once it is whole.  Its notes are a stream of their own: records with a byte in front that says what they are.

Threads that run at that moment have no registers to be kept; which access a fault was for is known of pages, not of calls.
Source: Kernel/Coredump.cpp, Kernel/Process.cpp, LibELF/Core.h (reference, section 1.19).
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.flags import FileType, OpenFlags
from ring3.abi.records import AttrChange
from ring3.abi.signals import SEGV_ACCERR, SEGV_MAPERR, SigInfo, Signal
from ring3.errors import EACCES, Errno
from ring3.personality.serenity.sigframe import encode_registers
from ring3.personality.serenity.signals import SignalNumbers
from ring3.personality.serenity.view.process import as_json, text_of
from ring3.policy.own import users_confinement
from ring3.proc.core import CORE_MAX, pieces_of, write_core
from ring3.proc.cred import Cred
from ring3.proc.proc import Proc, Thread, ThreadState
from ring3.proc.procfs.maps import region_name
from ring3.proc.tasks import COREDUMP_SLOTS
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.opening import open_file
from ring3.vm.region import Region

if TYPE_CHECKING:
    from ring3.proc.system import System
    from ring3.vfs.file import File

NAME_MAX: Final = 200
_DIRECTORY: Final = FileType.DIR | 0o777
_END, _PROCESS, _THREAD, _REGION, _METADATA = (bytes((kind,)) for kind in range(5))
_MOST_HEADERS: Final = 60_000


def dump_core(t: Thread, info: SigInfo) -> bool:
    """Write the core of a process that `info` ends, met by `t`; whether there is one."""
    p, system = t.proc, t.system
    if not system.core_directory or p.dumpable != 1 or users_confinement(p) is not None or len(p.vm.regions) > _MOST_HEADERS:
        return False
    try:
        file = _new_file(system, p)
    except (Errno, OSError, MemoryError):
        return False
    try:
        readable = [region for region in p.vm.regions if region.prot & 1]
        notes = _notes(t, info, readable)
        if not write_core(file, p.vm, pieces_of(readable, CORE_MAX, _whole), notes, notes_first=False):
            return False
        assert file.vnode is not None
        file.vnode.setattr(AttrChange(mode=0o600))
    except (Errno, OSError, MemoryError):
        return False
    finally:
        file.close()
    return True


def _whole(region: Region) -> int:
    return region.length


def _new_file(system: System, p: Proc) -> File:
    """An empty file nobody can open yet.  Raises what finding and making it does, EACCES where the directory is not root's for
    all.
    """
    root = system.mounts.root
    kernel = NameiContext(root, root, Cred())
    directory = namei(kernel, system.core_directory)
    attr = directory.vnode.getattr()
    if (attr.mode, attr.uid, attr.gid) != (_DIRECTORY, 0, 0):
        raise EACCES("the directory for core files is not root's for all")
    name = p.comm.replace(b"/", b"_")[:NAME_MAX]
    path = b"%s_%d_%d" % (name, p.pid, int(time.time()))
    file = open_file(kernel, path, OpenFlags.CREAT | OpenFlags.EXCL | OpenFlags.WRONLY, 0, at=directory)
    assert file.vnode is not None
    try:
        file.vnode.setattr(AttrChange(uid=p.cred.ruid, gid=p.cred.rgid))
    except (Errno, OSError):
        file.close()
        raise
    return file


def _notes(t: Thread, info: SigInfo, regions: list[Region]) -> bytes:
    """The stream: the process, its threads, its regions, what it or the kernel said of its end."""
    p = t.proc
    arguments, environment = p.vm.kept or ((), ())
    about = {
        "pid": p.pid,
        "termination_signal": SignalNumbers.outward(info.signo),
        "executable_path": text_of(p.exe.path(t.system.mounts.root)) if p.exe is not None else "",
        "arguments": [text_of(word) for word in arguments],
        "environment": [text_of(word) for word in environment],
    }
    threads = [_THREAD + struct.pack("<i", other.tid) + encode_registers(other.cpu.regs) for other in _stopped(t)]
    mapped = [
        _REGION + struct.pack("<QQH", region.start, region.end, index) + region_name(p.vm, region).replace(b"\0", b"") + b"\0"
        for index, region in enumerate(regions)
    ]
    said = _PROCESS + as_json(about) + b"\0" + b"".join(threads + mapped)
    return said + _METADATA + as_json(_metadata(p, info)) + b"\0" + _END


def _stopped(t: Thread) -> list[Thread]:
    """The thread that met its end, and those whose registers hold still."""
    rest = (ThreadState.SLEEPING, ThreadState.STOPPED, ThreadState.READY, ThreadState.SERVED)
    return [t, *(other for other in t.proc.threads.values() if other is not t and other.state in rest)]


def _metadata(p: Proc, info: SigInfo) -> dict[str, Any]:
    """What was said of the end: by the program and by the kernel; a fault, as far as there is room for it."""
    said = [(text_of(key), text_of(value)) for key, value in (p.tasks.coredump if p.tasks is not None else ())]
    if info.signo in (Signal.SIGSEGV, Signal.SIGBUS) and info.code in (SEGV_MAPERR, SEGV_ACCERR):
        access = "Execute" if info.error_code & 0x10 else "Write" if info.error_code & 2 else "Read"
        said += [
            ("fault_address", f"0x{info.addr:016x}"),
            ("fault_type", "NotPresent" if info.code == SEGV_MAPERR else "ProtectionViolation"),
            ("fault_access", access),
        ]
    return dict(said[:COREDUMP_SLOTS])
