"""The file that binding a local socket makes, and what fchmod and fchown say of it before: LibCore's servers do.

Source: LocalSocket::{bind,chmod,chown} (Kernel/Net/LocalSocket.cpp).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.flags import FileType
from ring3.abi.records import AttrChange
from ring3.calls.socket import socket_of
from ring3.errors import EBADF, EPERM
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Thread
from ring3.vfs import names
from ring3.vfs.socket import UnixSocket
from ring3.vfs.vnode import Vnode

_DEFAULT: Final = 0o666                 # whatever the umask
_MODE, _UID, _GID = range(0x1_0100, 0x1_0103)           # where a socket's options keep them: no numbers of anybody's


def make_file(t: Thread, socket: UnixSocket, path: bytes) -> Vnode:
    """The file of a socket's name.  Raises what mknod does."""
    future = socket.options
    vnode = names.mknod(namei_context(t), path, FileType.SOCK | future.get(_MODE, _DEFAULT)).vnode
    if _UID in future or _GID in future:
        vnode.setattr(AttrChange(uid=future.get(_UID), gid=future.get(_GID)))
    return vnode


def set_mode(t: Thread, fd: int, mode: int) -> int:
    """fchmod of a socket.  Raises EBADF, also for one that has a file or is connected to one: the original falls then."""
    _without_file(t, fd).options[_MODE] = mode & 0o777
    return 0


def set_owner(t: Thread, fd: int, uid: int | None, gid: int | None) -> int:
    """fchown of a socket.  Raises EBADF; EPERM unless root asks or both are one's own."""
    socket, cred = _without_file(t, fd), t.proc.cred
    if not cred.privileged and (uid != cred.euid or (gid not in (cred.rgid, cred.egid) and gid not in cred.groups)):
        raise EPERM
    for key, value in ((_UID, uid), (_GID, gid)):
        if value is not None:
            socket.options[key] = value
    return 0


def _without_file(t: Thread, fd: int) -> UnixSocket:
    socket = socket_of(t, fd)
    if not isinstance(socket, UnixSocket) or socket.address.path or (socket.peer is not None and socket.peer.address.path):
        raise EBADF
    return socket
