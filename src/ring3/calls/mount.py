"""mount and umount, as far as a guest may: root may mount a tmpfs and take mounts away.

Everything else, binds, remounts and devices included, is EPERM: what a guest sees of the host was decided when its kernel was made.
Changes of propagation are accepted, there being nobody to propagate to.  Source: mount(2), umount(2).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import AT_FDCWD, Access, MountFlags
from ring3.calls.place import lookup
from ring3.calls.sysarg import Addr, Int, OptionalPath, Path, Word
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENODEV, ENOTDIR, EPERM
from ring3.proc.proc import Thread
from ring3.vfs.memory import MemoryFS

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC = 1, 2, 4, 8, 32, 4096, 8192, 16384
MS_NOATIME, MS_NODIRATIME, MS_RELATIME = 1024, 2048, 1 << 21
_PROPAGATION: Final = (1 << 17) | (1 << 18) | (1 << 19) | (1 << 20)
_MNT_KNOWN = 0xF
_MNT_EXPIRE = 4
_UMOUNT_NOFOLLOW = 8

_FLAGS: Final = (
    (MS_RDONLY, MountFlags.RDONLY), (MS_NOSUID, MountFlags.NOSUID), (MS_NODEV, MountFlags.NODEV), (MS_NOEXEC, MountFlags.NOEXEC),
    (MS_NOATIME, MountFlags.NOATIME), (MS_NODIRATIME, MountFlags.NODIRATIME), (MS_RELATIME, MountFlags.RELATIME),
)


@syscall(pledge="root")
def sys_mount(t: Thread, source: OptionalPath, target: Path, kind: OptionalPath, flags: Word, data: Addr) -> int:
    """Mount a tmpfs, or change a mount's propagation.  EPERM for everything else."""
    del source, data
    if flags & 0xFFFF_0000 == 0xC0ED_0000:      # MS_MGC_VAL of old times
        flags &= 0xFFFF
    dentry = lookup(t, AT_FDCWD, target, access=Access.CREATE)
    if not t.proc.cred.privileged:
        raise EPERM
    if flags & (MS_REMOUNT | MS_BIND | MS_MOVE):
        raise EPERM
    if flags & _PROPAGATION:
        if dentry.parent is not None:
            raise EINVAL
        return 0
    if kind is None:
        raise EINVAL
    if kind not in (b"tmpfs", b"ramfs"):
        raise EPERM if kind in (b"proc", b"sysfs", b"devtmpfs", b"devpts", b"overlay", b"ext4", b"cgroup2") else ENODEV
    if not dentry.vnode.is_dir:
        raise ENOTDIR
    wanted = MountFlags.NONE
    for number, flag in _FLAGS:
        if flags & number:
            wanted |= flag
    t.system.mounts.mount(MemoryFS(), dentry, wanted)
    return 0


def _unmount(t: Thread, path: bytes, flags: int) -> int:
    if flags & ~_MNT_KNOWN:
        raise EINVAL
    dentry = lookup(t, AT_FDCWD, path, follow=not flags & _UMOUNT_NOFOLLOW, access=Access.CREATE)
    if not t.proc.cred.privileged:
        raise EPERM
    if dentry.parent is not None or flags & _MNT_EXPIRE:
        raise EINVAL
    if t.system.guard is not None:
        t.system.guard.unmounts(dentry.mount)
    t.system.mounts.unmount(dentry.mount)
    return 0


@syscall(pledge="root")
def sys_umount2(t: Thread, path: Path, flags: Int) -> int:
    """Take a mount away.  EINVAL for what is none, EBUSY, EPERM."""
    return _unmount(t, path, flags)
