"""NetBSD's calls that refuse: what only the administrator of a machine may do, and what no file system here has.

Each answers what NetBSD answers somebody without the privilege, or a file system without the feature; there is no swap space, and
no kernel module.  Sources: mount(2), reboot(2), swapctl(2), modctl(2), quotactl(2), acl(3), getfh(2), undelete(2), vadvise(2).
"""

# A call has its arguments although it refuses.
# ruff: noqa: ARG001

from __future__ import annotations

from typing import Annotated, Final

from ring3.abi.flags import AT_FDCWD
from ring3.calls.place import lookup, opened
from ring3.calls.procarg import Pointer
from ring3.calls.sysarg import Fd, Int, Number, OptionalPath, Path, Size
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENXIO, EOPNOTSUPP, EPERM
from ring3.proc.proc import Thread

_NSWAP, _OLD_STATS, _GETDUMPDEV, _STATS = 3, 4, 8, 10
_ASKS: Final = frozenset((_NSWAP, _OLD_STATS, _STATS))

SwapCommand = Annotated[int, Number({
    1: "SWAP_ON", 2: "SWAP_OFF", 3: "SWAP_NSWAP", 5: "SWAP_CTL", 7: "SWAP_DUMPDEV", 8: "SWAP_GETDUMPDEV", 10: "SWAP_STATS",
})]


# --- the machine's administrator
@syscall(pledge="root")
def sys___mount50(t: Thread, fstype: OptionalPath, path: Path, flags: Int, data: Pointer, size: Size) -> int:
    """Refused: mounts are those that the system was made with."""
    raise EPERM


@syscall(pledge="root")
def sys_unmount(t: Thread, path: Path, flags: Int) -> int:
    """Refused, for the same reason."""
    lookup(t, AT_FDCWD, path)
    raise EPERM


@syscall(pledge="root")
def sys_reboot(t: Thread, opt: Int, bootstr: Pointer) -> int:
    """Refused."""
    raise EPERM


@syscall(pledge="root")
def sys_acct(t: Thread, path: OptionalPath) -> int:
    """Refused."""
    raise EPERM


@syscall(pledge="root")
def sys_modctl(t: Thread, cmd: Int, arg: Pointer) -> int:
    """Refused: nothing is loaded into this kernel."""
    raise EPERM


@syscall(pledge="root")
def sys_nfssvc(t: Thread, flag: Int, arg: Pointer) -> int:
    """Refused."""
    raise EPERM


@syscall(pledge="stdio")
def sys_swapctl(t: Thread, cmd: SwapCommand, arg: Pointer, misc: Int) -> int:
    """No device to swap to: 0 of them.  ENXIO for the dump device, EPERM for what changes anything, EINVAL."""
    if cmd in _ASKS:
        return 0
    if cmd == _GETDUMPDEV:
        raise ENXIO
    raise EPERM if cmd in (1, 2, 5, 7) else EINVAL


# --- what file systems here have not
@syscall(pledge="fattr")
def sys___quotactl(t: Thread, path: Path, args: Pointer) -> int:
    """Refused."""
    lookup(t, AT_FDCWD, path)
    raise EOPNOTSUPP


@syscall(pledge="cpath")
def sys_undelete(t: Thread, path: Path) -> int:
    """Refused: nothing is kept of a name that was removed."""
    raise EOPNOTSUPP


@syscall(pledge="rpath")
def sys___getfh30(t: Thread, path: Path, fhp: Pointer, size: Pointer) -> int:
    """Refused to all but root, and no file has a handle."""
    if not t.proc.cred.privileged:
        raise EPERM
    lookup(t, AT_FDCWD, path)
    raise EOPNOTSUPP


@syscall(pledge="stdio")
def sys_vadvise(t: Thread, anom: Int) -> int:
    """Refused, as by every NetBSD there was."""
    raise EINVAL


# --- access lists
def _no_list_at(t: Thread, path: bytes, *, follow: bool = True) -> int:
    lookup(t, AT_FDCWD, path, follow=follow)
    raise EOPNOTSUPP


def _no_list(t: Thread, fd: int) -> int:
    opened(t, fd)
    raise EOPNOTSUPP


@syscall(pledge="rpath")
def sys___acl_get_file(t: Thread, path: Path, kind: Int, acl: Pointer) -> int:
    """Refused."""
    return _no_list_at(t, path)


@syscall(pledge="rpath")
def sys___acl_get_link(t: Thread, path: Path, kind: Int, acl: Pointer) -> int:
    """Refused."""
    return _no_list_at(t, path, follow=False)


@syscall(pledge="rpath")
def sys___acl_get_fd(t: Thread, fd: Fd, kind: Int, acl: Pointer) -> int:
    """Refused."""
    return _no_list(t, fd)


@syscall(pledge="fattr")
def sys___acl_set_file(t: Thread, path: Path, kind: Int, acl: Pointer) -> int:
    """Refused."""
    return _no_list_at(t, path)


@syscall(pledge="fattr")
def sys___acl_set_link(t: Thread, path: Path, kind: Int, acl: Pointer) -> int:
    """Refused."""
    return _no_list_at(t, path, follow=False)


@syscall(pledge="fattr")
def sys___acl_set_fd(t: Thread, fd: Fd, kind: Int, acl: Pointer) -> int:
    """Refused."""
    return _no_list(t, fd)


@syscall(pledge="fattr")
def sys___acl_delete_file(t: Thread, path: Path, kind: Int) -> int:
    """Refused."""
    return _no_list_at(t, path)


@syscall(pledge="fattr")
def sys___acl_delete_link(t: Thread, path: Path, kind: Int) -> int:
    """Refused."""
    return _no_list_at(t, path, follow=False)


@syscall(pledge="fattr")
def sys___acl_delete_fd(t: Thread, fd: Fd, kind: Int) -> int:
    """Refused."""
    return _no_list(t, fd)


@syscall(pledge="rpath")
def sys___acl_aclcheck_file(t: Thread, path: Path, kind: Int, acl: Pointer) -> int:
    """Refused."""
    return _no_list_at(t, path)


@syscall(pledge="rpath")
def sys___acl_aclcheck_link(t: Thread, path: Path, kind: Int, acl: Pointer) -> int:
    """Refused."""
    return _no_list_at(t, path, follow=False)


@syscall(pledge="rpath")
def sys___acl_aclcheck_fd(t: Thread, fd: Fd, kind: Int, acl: Pointer) -> int:
    """Refused."""
    return _no_list(t, fd)
