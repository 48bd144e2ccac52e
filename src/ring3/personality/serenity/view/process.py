"""The texts of SerenityOS's /proc/PID: what one process promised, unveiled, has open, has mapped, was started with.

What this kernel does not know is told as nothing, never made up: which pages of a region are there (`pagemap` is empty;
`amount_resident` is the region's share of what the whole space has), and what was shared at fork (`cow_pages`).
Source: Kernel/ProcessSpecificExposed.cpp (keys and their order).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.flags import S_IFMT, FileType, OpenFlags, Poll
from ring3.abi.x86 import RBP, RIP
from ring3.errors import EFAULT, ENOBUFS, ENOENT, ESRCH
from ring3.policy import promises
from ring3.policy.own import OwnPolicy
from ring3.policy.veil import show_permissions
from ring3.proc.proc import Proc, ThreadState
from ring3.proc.procfs.maps import region_name, shares, space_of
from ring3.proc.procfs.memory import argument_words
from ring3.vfs.pipe import PipeFile
from ring3.vfs.pty import PtyMaster, PtySlave
from ring3.vm.traits import STACK, SYSCALL

if TYPE_CHECKING:
    from ring3.personality.serenity.view.fs import SerenityProcFS
    from ring3.vfs.file import File
    from ring3.vm.region import Region

FRAMES_MAX: Final = 1024
_NONBLOCK: Final = int(OpenFlags.NONBLOCK)
_SEEKABLE: Final = frozenset((FileType.REG, FileType.DIR, FileType.BLK, FileType.LNK))
# What the original calls the class behind a descriptor, by the type of the file.
_CLASSES: Final = {
    FileType.REG: "InodeFile", FileType.DIR: "InodeFile", FileType.FIFO: "FIFO", FileType.SOCK: "LocalSocket",
    FileType.CHR: "CharacterDevice", FileType.BLK: "BlockDevice",
}


def as_json(value: Any) -> bytes:
    """A text of the value, as compact as the original's."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def text_of(data: bytes) -> str:
    """Bytes of the guest's as text that JSON can hold."""
    return data.decode(errors="replace")


def own_policy(p: Proc) -> OwnPolicy | None:
    """What a process forbids itself; None: nothing."""
    found = p.confinement
    return found if isinstance(found, OwnPolicy) else None


def pledge(_fs: SerenityProcFS, p: Proc) -> bytes:
    """What it promised itself; nothing where it promised nothing."""
    own = own_policy(p)
    return as_json({} if own is None or own.promises is None else {"promises": promises.show(own.promises)})


def unveil(_fs: SerenityProcFS, p: Proc) -> bytes:
    """What it unveiled itself."""
    own = own_policy(p)
    rows = [] if own is None or own.now is None else list(own.now.rows())
    return as_json([{"path": text_of(path), "permissions": show_permissions(mask)} for path, mask in rows])


def perf_events(_fs: SerenityProcFS, p: Proc) -> bytes:
    """Profiles are counted and not kept.  Raises ENOBUFS, as for who has none."""
    raise ENOBUFS(f"no events of {p.pid}")


def command_line(_fs: SerenityProcFS, p: Proc) -> bytes:
    """Its arguments."""
    return as_json([text_of(word) for word in argument_words(p)])


# --- descriptors
def files_of(p: Proc) -> dict[int, File]:
    """Its open files by number; none once it ended."""
    fds = getattr(p, "fds", None)
    return {} if fds is None or p.zombie else fds.files


def descriptor_path(fs: SerenityProcFS, p: Proc, fd: int) -> bytes:
    """What a descriptor leads to, as far as it has a path.  Raises ENOENT for one that was closed."""
    file = files_of(p).get(fd)
    if file is None:
        raise ENOENT
    return pseudo_path(fs, file)


def pseudo_path(fs: SerenityProcFS, file: File) -> bytes:
    """A path, or what stands for one."""
    if file.dentry is not None:
        return fs.view(file.dentry)
    if isinstance(file, PipeFile):
        return b"fifo:%d" % file.getattr().ino
    return b"socket:" if file.is_socket else file.label


def descriptors(fs: SerenityProcFS, p: Proc) -> bytes:
    """All descriptors, in order."""
    files, cloexec = files_of(p), p.fds.cloexec if files_of(p) else ()
    return as_json([_descriptor(fs, fd, files[fd], closes=fd in cloexec) for fd in sorted(files)])


def _descriptor(fs: SerenityProcFS, fd: int, file: File, *, closes: bool) -> dict[str, Any]:
    attr = file.getattr()
    ready = file.poll()
    row: dict[str, Any] = {
        "fd": fd,
        "absolute_path": text_of(pseudo_path(fs, file)),
        "seekable": attr.mode & S_IFMT in _SEEKABLE,
        "class": _class_of(file, attr.mode),
        "offset": file.offset,
        "cloexec": closes,
        "blocking": not file.flags & _NONBLOCK,
        "can_read": bool(ready & Poll.IN),
        "can_write": bool(ready & Poll.OUT),
    }
    if file.vnode is not None:
        row["inode"] = {"fsid": attr.dev, "index": attr.ino}
    return row


def _class_of(file: File, mode: int) -> str:
    if isinstance(file, PtyMaster):
        return "MasterPTY"
    if isinstance(file, PtySlave):
        return "SlavePTY"
    try:
        return _CLASSES[FileType(mode & S_IFMT)]
    except (KeyError, ValueError):
        return type(file).__name__


# --- memory
def regions(_fs: SerenityProcFS, p: Proc) -> bytes:
    """The address space."""
    vm = space_of(p)
    if vm is None:
        return as_json([])
    return as_json([_region(region, text_of(region_name(vm, region)), resident << 10) for region, resident in shares(vm)])


def _region(region: Region, name: str, resident: int) -> dict[str, Any]:
    marks = region.traits.marks if region.traits is not None else 0
    anonymous = region.object is None or region.object.anonymous
    row: dict[str, Any] = {
        "readable": bool(region.prot & 1),
        "writable": bool(region.prot & 2),
        "executable": bool(region.prot & 4),
        "stack": bool(marks & STACK),
        "shared": region.shared,
        "syscall": bool(marks & SYSCALL),
        "purgeable": anonymous,
    }
    if anonymous:
        purgeable = region.traits.purgeable if region.traits is not None else None
        row["volatile"] = purgeable is not None and purgeable.is_volatile
    return {
        **row,
        "cacheable": True,
        "address": region.start,
        "size": region.length,
        "amount_resident": resident,
        "amount_dirty": resident if region.prot & 2 and not region.shared else 0,
        "cow_pages": 0,
        "name": name,
        "vmobject": "AnonymousVMObject" if anonymous else "SharedInodeVMObject" if region.shared else "PrivateInodeVMObject",
        "pagemap": "",
    }


def stack(p: Proc, tid: int) -> bytes:
    """Where a thread is: its instruction, then the return addresses its frames lead to.  Nothing of one that runs just now.

    Raises ESRCH for a thread that ended.
    """
    t = p.threads.get(tid)
    if t is None or t.state is ThreadState.DEAD:
        raise ESRCH
    if t.state in (ThreadState.RUNNING, ThreadState.NEW):
        return as_json([])
    regs, vm = t.cpu.regs, p.vm
    found, frame = [int(regs[RIP])], int(regs[RBP])
    while frame and len(found) < FRAMES_MAX:
        try:
            words = vm.copyin(frame, 16)
        except EFAULT:
            break
        above, back = int.from_bytes(words[:8], "little"), int.from_bytes(words[8:], "little")
        if not back:
            break
        found.append(back)
        if above <= frame:              # frames only lead up: none leads round and round
            break
        frame = above
    return as_json(found)
