"""NetBSD's extended attributes: those with a namespace beside the name, and those that Linux has too (which are shared).

The user's namespace is that of `user.` names; the system's is for root, and nothing is in it.  A list is each name behind its
length.  cp(1) and mv(1) ask.  Sources: extattr(9), extattr_get_file(2), sys/extattr.h.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from ring3.abi.flags import AT_FDCWD, Access
from ring3.calls import xattr
from ring3.calls.place import lookup, opened
from ring3.calls.sysarg import Addr, Fd, InBuf, Number, Path, Size
from ring3.calls.syscall import Syscall, syscall
from ring3.errors import EINVAL, ENODATA, EPERM, ERANGE
from ring3.proc.proc import Thread
from ring3.vfs.vnode import Vnode

_USER, _SYSTEM = 1, 2
_PREFIX: Final = b"user."
_NAME_MAX: Final = 255

Namespace = Annotated[int, Number({_USER: "EXTATTR_NAMESPACE_USER", _SYSTEM: "EXTATTR_NAMESPACE_SYSTEM"})]


def _full(t: Thread, namespace: int, name: bytes) -> bytes:
    """The name with its namespace.  Raises EINVAL, EPERM; ENODATA where nothing can be."""
    if namespace == _SYSTEM:
        raise ENODATA if t.proc.cred.privileged else EPERM
    if namespace != _USER or not name:
        raise EINVAL
    return _PREFIX + name


def _list(t: Thread, vnode: Vnode | None, namespace: int, data: int, nbytes: int) -> int:
    """All names; how long that is, without a buffer.  Raises EINVAL, EPERM, ERANGE, EFAULT."""
    if namespace not in (_USER, _SYSTEM):
        raise EINVAL
    if namespace == _SYSTEM:
        if not t.proc.cred.privileged:
            raise EPERM
        return 0
    names = [] if vnode is None else [name[len(_PREFIX) :] for name in vnode.listxattr() if name.startswith(_PREFIX)]
    shown = b"".join([bytes((len(name),)) + name for name in names if len(name) <= _NAME_MAX])
    if data:
        if len(shown) > nbytes:
            raise ERANGE
        t.proc.vm.copyout(data, shown)
    return len(shown)


def _get(call: Syscall, t: Thread, where: Any, namespace: int, name: bytes, data: int, nbytes: int) -> int:
    return int(call.run(t, where, _full(t, namespace, name), data, nbytes if data else 0))


def _set(call: Syscall, t: Thread, where: Any, namespace: int, name: bytes, data: int, nbytes: int) -> int:
    call.run(t, where, _full(t, namespace, name), data, nbytes, 0)
    return nbytes


def _vnode(t: Thread, path: bytes, *, follow: bool = True) -> Vnode:
    return lookup(t, AT_FDCWD, path, follow=follow, access=Access.EXISTS).vnode


@syscall(pledge="rpath")
def sys_extattr_get_file(t: Thread, path: Path, namespace: Namespace, name: Path, data: Addr, nbytes: Size) -> int:
    """An attribute's value, or its length.  ENOATTR, ERANGE, EOPNOTSUPP, EPERM."""
    return _get(xattr.sys_getxattr, t, path, namespace, name, data, nbytes)


@syscall(pledge="rpath")
def sys_extattr_get_link(t: Thread, path: Path, namespace: Namespace, name: Path, data: Addr, nbytes: Size) -> int:
    """The same of a link itself."""
    return _get(xattr.sys_lgetxattr, t, path, namespace, name, data, nbytes)


@syscall(pledge="rpath")
def sys_extattr_get_fd(t: Thread, fd: Fd, namespace: Namespace, name: Path, data: Addr, nbytes: Size) -> int:
    """The same of an open file."""
    return _get(xattr.sys_fgetxattr, t, fd, namespace, name, data, nbytes)


@syscall(pledge="fattr")
def sys_extattr_set_file(t: Thread, path: Path, namespace: Namespace, name: Path, data: InBuf, nbytes: Size) -> int:
    """Set an attribute; how long it is.  EOPNOTSUPP, EPERM, EROFS."""
    return _set(xattr.sys_setxattr, t, path, namespace, name, data, nbytes)


@syscall(pledge="fattr")
def sys_extattr_set_link(t: Thread, path: Path, namespace: Namespace, name: Path, data: InBuf, nbytes: Size) -> int:
    """The same of a link itself."""
    return _set(xattr.sys_lsetxattr, t, path, namespace, name, data, nbytes)


@syscall(pledge="fattr")
def sys_extattr_set_fd(t: Thread, fd: Fd, namespace: Namespace, name: Path, data: InBuf, nbytes: Size) -> int:
    """The same of an open file."""
    return _set(xattr.sys_fsetxattr, t, fd, namespace, name, data, nbytes)


@syscall(pledge="fattr")
def sys_extattr_delete_file(t: Thread, path: Path, namespace: Namespace, name: Path) -> int:
    """Remove an attribute.  ENOATTR, EPERM."""
    return int(xattr.sys_removexattr.run(t, path, _full(t, namespace, name)))


@syscall(pledge="fattr")
def sys_extattr_delete_link(t: Thread, path: Path, namespace: Namespace, name: Path) -> int:
    """The same of a link itself."""
    return int(xattr.sys_lremovexattr.run(t, path, _full(t, namespace, name)))


@syscall(pledge="fattr")
def sys_extattr_delete_fd(t: Thread, fd: Fd, namespace: Namespace, name: Path) -> int:
    """The same of an open file."""
    return int(xattr.sys_fremovexattr.run(t, fd, _full(t, namespace, name)))


@syscall(pledge="rpath")
def sys_extattr_list_file(t: Thread, path: Path, namespace: Namespace, data: Addr, nbytes: Size) -> int:
    """The names of all attributes."""
    return _list(t, _vnode(t, path), namespace, data, nbytes)


@syscall(pledge="rpath")
def sys_extattr_list_link(t: Thread, path: Path, namespace: Namespace, data: Addr, nbytes: Size) -> int:
    """The same of a link itself."""
    return _list(t, _vnode(t, path, follow=False), namespace, data, nbytes)


@syscall(pledge="rpath")
def sys_extattr_list_fd(t: Thread, fd: Fd, namespace: Namespace, data: Addr, nbytes: Size) -> int:
    """The same of an open file."""
    return _list(t, opened(t, fd).vnode, namespace, data, nbytes)
