"""Extended attributes.

Source: xattr(7), getxattr(2), setxattr(2), listxattr(2), removexattr(2), fs/xattr.c.
"""

from __future__ import annotations

from ring3.abi.flags import AT_FDCWD, Access, FileType
from ring3.calls.place import changing, lookup, opened
from ring3.calls.sysarg import Addr, Fd, InBuf, Int, Path, Size
from ring3.calls.syscall import syscall
from ring3.errors import E2BIG, EINVAL, ENODATA, EOPNOTSUPP, EPERM, ERANGE, EROFS
from ring3.proc.proc import Thread
from ring3.vfs.access import is_owner, permission
from ring3.vfs.dentry import Dentry
from ring3.vfs.file import File
from ring3.vfs.vnode import Vnode

NAME_MAX = 255
SIZE_MAX = 65536
LIST_MAX = 65536
XATTR_CREATE, XATTR_REPLACE = 1, 2
_NAMESPACES = (b"user.", b"trusted.", b"security.", b"system.")


def _by_path(t: Thread, path: bytes, *, follow: bool, access: Access = Access.EXISTS) -> Dentry:
    return lookup(t, AT_FDCWD, path, follow=follow, access=access)


def _vnode(target: Dentry | File) -> Vnode:
    """Raises EOPNOTSUPP for files without a name."""
    if target.vnode is None:
        raise EOPNOTSUPP
    return target.vnode


def _check_name(t: Thread, vnode: Vnode, name: bytes, access: Access) -> None:
    """Raises ERANGE, EOPNOTSUPP, and what the namespace asks for: EPERM, ENODATA, EACCES."""
    if not 0 < len(name) <= NAME_MAX:
        raise ERANGE
    if not name.startswith(_NAMESPACES):
        raise EOPNOTSUPP
    cred = t.proc.cred
    refused = EPERM if access & Access.WRITE else ENODATA
    if name.startswith(b"trusted."):
        if not cred.privileged:
            raise refused
    elif name.startswith(b"user."):
        if vnode.type not in (FileType.REG, FileType.DIR):
            raise refused
        attr = vnode.getattr()
        if access & Access.WRITE and vnode.type == FileType.DIR and attr.mode & 0o1000 and not is_owner(cred, attr):
            raise EPERM
        permission(cred, attr, access)
    elif access & Access.WRITE and not is_owner(cred, vnode.getattr()):
        raise EPERM


def _writable(target: Dentry | File) -> None:
    dentry = target.dentry if isinstance(target, File) else target
    if dentry is not None and dentry.mount.readonly:
        raise EROFS


def _answer(t: Thread, data: bytes, addr: int, size: int) -> int:
    """Into the program's buffer; a size of 0 only asks how long.  Raises ERANGE, EFAULT."""
    if size:
        if len(data) > size:
            raise ERANGE
        t.proc.vm.copyout(addr, data)
    return len(data)


def _get(t: Thread, target: Dentry | File, name: bytes, addr: int, size: int) -> int:
    vnode = _vnode(target)
    _check_name(t, vnode, name, Access.READ)
    return _answer(t, vnode.getxattr(name), addr, size)


def _set(t: Thread, target: Dentry | File, name: bytes, addr: int, size: int, flags: int) -> int:
    if flags & ~(XATTR_CREATE | XATTR_REPLACE):
        raise EINVAL
    if size > SIZE_MAX:
        raise E2BIG
    value = t.proc.vm.copyin(addr, size)
    vnode = _vnode(target)
    _writable(target)
    _check_name(t, vnode, name, Access.WRITE)
    vnode.setxattr(name, value, flags)
    return 0


def _list(t: Thread, target: Dentry | File, addr: int, size: int) -> int:
    names = [] if target.vnode is None else target.vnode.listxattr()
    shown = [name for name in names if t.proc.cred.privileged or not name.startswith(b"trusted.")]
    data = b"".join([name + b"\0" for name in shown])
    if len(data) > LIST_MAX:
        raise E2BIG
    return _answer(t, data, addr, size)


def _remove(t: Thread, target: Dentry | File, name: bytes) -> int:
    vnode = _vnode(target)
    _writable(target)
    _check_name(t, vnode, name, Access.WRITE)
    vnode.removexattr(name)
    return 0


@syscall(pledge="rpath")
def sys_getxattr(t: Thread, path: Path, name: Path, value: Addr, size: Size) -> int:
    """An attribute's value; with a size of 0 its length.  ENODATA, ERANGE, EOPNOTSUPP."""
    return _get(t, _by_path(t, path, follow=True), name, value, size)


@syscall(pledge="rpath")
def sys_lgetxattr(t: Thread, path: Path, name: Path, value: Addr, size: Size) -> int:
    """getxattr of a link itself."""
    return _get(t, _by_path(t, path, follow=False), name, value, size)


@syscall(pledge="rpath")
def sys_fgetxattr(t: Thread, fd: Fd, name: Path, value: Addr, size: Size) -> int:
    """getxattr of an open file."""
    return _get(t, opened(t, fd), name, value, size)


@syscall(pledge="fattr")
def sys_setxattr(t: Thread, path: Path, name: Path, value: InBuf, size: Size, flags: Int) -> int:
    """Set an attribute.  EEXIST, ENODATA, EPERM, EROFS."""
    return _set(t, _by_path(t, path, follow=True, access=Access.WRITE), name, value, size, flags)


@syscall(pledge="fattr")
def sys_lsetxattr(t: Thread, path: Path, name: Path, value: InBuf, size: Size, flags: Int) -> int:
    """setxattr of a link itself."""
    return _set(t, _by_path(t, path, follow=False, access=Access.WRITE), name, value, size, flags)


@syscall(pledge="fattr")
def sys_fsetxattr(t: Thread, fd: Fd, name: Path, value: InBuf, size: Size, flags: Int) -> int:
    """setxattr of an open file."""
    return _set(t, changing(t, fd), name, value, size, flags)


@syscall(pledge="rpath")
def sys_listxattr(t: Thread, path: Path, names: Addr, size: Size) -> int:
    """The names of all attributes, each with its zero; with a size of 0 how long that is."""
    return _list(t, _by_path(t, path, follow=True), names, size)


@syscall(pledge="rpath")
def sys_llistxattr(t: Thread, path: Path, names: Addr, size: Size) -> int:
    """listxattr of a link itself."""
    return _list(t, _by_path(t, path, follow=False), names, size)


@syscall(pledge="rpath")
def sys_flistxattr(t: Thread, fd: Fd, names: Addr, size: Size) -> int:
    """listxattr of an open file."""
    return _list(t, opened(t, fd), names, size)


@syscall(pledge="fattr")
def sys_removexattr(t: Thread, path: Path, name: Path) -> int:
    """Remove an attribute.  ENODATA."""
    return _remove(t, _by_path(t, path, follow=True, access=Access.WRITE), name)


@syscall(pledge="fattr")
def sys_lremovexattr(t: Thread, path: Path, name: Path) -> int:
    """removexattr of a link itself."""
    return _remove(t, _by_path(t, path, follow=False, access=Access.WRITE), name)


@syscall(pledge="fattr")
def sys_fremovexattr(t: Thread, fd: Fd, name: Path) -> int:
    """removexattr of an open file."""
    return _remove(t, changing(t, fd), name)
