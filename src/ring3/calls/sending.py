"""Sending over sockets: send, sendto, sendmsg and sendmmsg, with files and credentials that go along.

A stream's send goes on until all has gone; what went before an interruption or an error is the result.
Source: send(2), recv(2), sendmmsg(2), recvmmsg(2), unix(7), cmsg(3), net/unix/af_unix.c, net/core/scm.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from ring3.abi.filerecords import CmsgHdr, MMsgHdr, MsgHdr, Ucred
from ring3.calls.buffers import IOV_MAX, GuestBuffers, read_iovecs
from ring3.calls.guest import fetch
from ring3.calls.place import opened
from ring3.calls.sockaddr import InAddr, MsgFlag, inet_address, netlink_address, read_address, unix_address
from ring3.calls.socket import socket_of, socket_vnode
from ring3.calls.sysarg import Addr, Fd, InBuf, Size, UInt
from ring3.calls.syscall import syscall
from ring3.calls.transfer import PIECE, SO_SNDTIMEO, Answer, break_pipe, retry, sender, socket_deadline, unrestarted
from ring3.errors import EAGAIN, EFAULT, EINVAL, EMSGSIZE, ENOBUFS, EOPNOTSUPP, EPERM, EPIPE, Errno
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread
from ring3.vfs.anysocket import Socket
from ring3.vfs.file import File
from ring3.vfs.socketrecords import AF_NETLINK, AF_UNIX, SOL_SOCKET, STREAM, SocketAddress, UnixAddress
from ring3.vfs.socketrecords import Ucred as PeerCred
from ring3.vfs.vnode import Vnode
from ring3.waiting import Interrupted

MSG_DONTWAIT, MSG_NOSIGNAL = 0x40, 0x4000
SCM_RIGHTS, SCM_CREDENTIALS = 1, 2
CONTROL_MAX: Final = 20480          # net.core.optmem_max
MMSG_MAX = 1024                     # UIO_MAXIOV


class Outgoing(NamedTuple):
    """What one send sends."""

    socket: Socket
    buffers: GuestBuffers
    flags: int
    to: SocketAddress | None = None
    vnode: Vnode | None = None
    files: Sequence[File] = ()
    cred: PeerCred | None = None


# --- sending
def transmit(t: Thread, out: Outgoing) -> Answer:
    """All of a message, or of a stream's bytes."""
    socket = out.socket
    wait = not (out.flags & MSG_DONTWAIT or socket.nonblocking)
    if socket.is_packets and out.buffers.total > min(socket.max_packet, PIECE):
        raise EMSGSIZE
    try:
        done = _send_piece(out, 0)
    except EAGAIN:
        if not wait:
            raise
        return _transmit_later(t, out, 0)
    except EPIPE:
        _broken(t, out, 0)
        raise
    if done >= out.buffers.total or socket.is_packets or (not wait and done < min(out.buffers.total, PIECE)):
        return done
    return _transmit_later(t, out, done)


def _send_piece(out: Outgoing, done: int) -> int:
    """One attempt from byte `done` on.  Raises EAGAIN, EPIPE, EFAULT …"""
    data = out.buffers.gather(done, PIECE) if out.buffers.total else b""
    if out.socket.is_packets and len(data) < out.buffers.total:
        raise EFAULT                    # a packet goes whole or not at all
    return out.socket.send(
        data, flags=out.flags, to=out.to, vnode=out.vnode, files=() if done else out.files, cred=out.cred
    )


def _broken(t: Thread, out: Outgoing, done: int) -> None:
    if not out.flags & MSG_NOSIGNAL:
        break_pipe(t, out.socket, done)


async def _transmit_later(t: Thread, out: Outgoing, done: int) -> int:
    socket = out.socket
    deadline_ns = socket_deadline(t, socket, SO_SNDTIMEO)
    wait = not (out.flags & MSG_DONTWAIT or socket.nonblocking)
    for file in out.files:
        file.acquire()
    try:
        while True:
            if wait:
                sending = retry(socket, partial(_send_piece, out, done), deadline_ns=deadline_ns)
                done += await (sending if deadline_ns is None else unrestarted(sending))
            else:
                done += _send_piece(out, done)
            if done >= out.buffers.total or socket.is_packets:
                return done
    except (Interrupted, Errno) as end:
        if isinstance(end, EPIPE):
            _broken(t, out, done)
        if not done:
            raise
        return done
    finally:
        for file in out.files:
            file.release()


def _destination(t: Thread, socket: Socket, data: bytes) -> tuple[SocketAddress | None, Vnode | None]:
    """Where an explicit address leads.  A stream refuses it, whatever it says; TCP does not look at it."""
    if not data:
        return None, None
    if socket.family == AF_NETLINK:
        return netlink_address(data), None
    if socket.family != AF_UNIX:
        t.needs("inet")
        return (None if socket.kind == STREAM else inet_address(data, socket.family, unspecified=True)), None
    t.needs("unix")                 # a pair of sockets needs no promise, to whom they may speak does
    if socket.kind == STREAM:
        return UnixAddress(), None
    address = unix_address(data)
    return address, socket_vnode(t, address)


@syscall(pledge="stdio")
def sys_sendto(t: Thread, fd: Fd, buf: InBuf, nbytes: Size, flags: MsgFlag, addr: InAddr, length: UInt) -> Answer:
    """Send, maybe to a name.  EPIPE, EAGAIN, ENOTCONN, EMSGSIZE, EISCONN."""
    buffers = GuestBuffers(t.proc.vm, ((buf, nbytes),))
    socket = socket_of(t, fd)
    to, vnode = _destination(t, socket, read_address(t, addr, length) if addr else b"")
    return transmit(t, Outgoing(socket, buffers, flags, to, vnode, (), sender(t)))


@syscall(pledge="stdio")
def sys_send(t: Thread, fd: Fd, buf: InBuf, nbytes: Size, flags: MsgFlag) -> Answer:
    """sendto without a name (a number of its own only through socketcall)."""
    answer: Answer = sys_sendto.run(t, fd, buf, nbytes, flags, 0, 0)
    return answer


def _outgoing(t: Thread, socket: Socket, header: MsgHdr, flags: int) -> Outgoing:
    """What a struct msghdr says is to be sent.  Raises EINVAL, EMSGSIZE, ENOBUFS, EPERM, EBADF, EFAULT."""
    if header.iovlen > IOV_MAX:
        raise EMSGSIZE
    namelen = min(header.namelen, 128) if header.name else 0
    if header.name and header.namelen >> 31:
        raise EINVAL
    to, vnode = _destination(t, socket, read_address(t, header.name, namelen) if namelen else b"")
    buffers = GuestBuffers(t.proc.vm, read_iovecs(t, header.iov, header.iovlen))
    files, cred = _read_control(t, header) if header.control and header.controllen else ((), None)
    return Outgoing(socket, buffers, flags, to, vnode, files, cred or sender(t))


def _read_control(t: Thread, header: MsgHdr) -> tuple[Sequence[File], PeerCred | None]:
    """Files and credentials that go along."""
    if header.controllen > CONTROL_MAX:
        raise ENOBUFS
    abi = t.system.call_abi(t)
    layout, word = abi.layouts[CmsgHdr], abi.word_size
    data = t.proc.vm.copyin(header.control, header.controllen)
    files: list[File] = []
    cred: PeerCred | None = None
    offset = 0
    while offset + layout.size <= len(data):
        length, level, kind = layout.decode(data, offset)
        if length < layout.size or offset + length > len(data):
            raise EINVAL
        body = data[offset + layout.size : offset + length]
        if level == SOL_SOCKET:
            if kind == SCM_RIGHTS:
                t.needs("sendfd")
                fds = [int.from_bytes(body[i : i + 4], "little", signed=True) for i in range(0, len(body) - 3, 4)]
                files += [opened(t, fd) for fd in fds]
                if not all(file.inherited for file in files):
                    raise EOPNOTSUPP                        # a kqueue stays where it was made
            elif kind == SCM_CREDENTIALS:
                cred = _read_credentials(t, body)
            else:
                raise EINVAL
        offset += (length + word - 1) & -word
    return files, cred


def _read_credentials(t: Thread, body: bytes) -> PeerCred:
    """Raises EINVAL; EPERM for an identity that is not the sender's."""
    layout = t.system.call_abi(t).layouts[Ucred]
    if len(body) != layout.size:
        raise EINVAL
    claimed = PeerCred(*layout.decode(body))
    cred = t.proc.cred
    if not cred.privileged and (
        claimed.pid != t.proc.pid
        or claimed.uid not in (cred.ruid, cred.euid, cred.suid)
        or claimed.gid not in (cred.rgid, cred.egid, cred.sgid)
    ):
        raise EPERM
    return claimed


@syscall(pledge="stdio sendfd")
def sys_sendmsg(t: Thread, fd: Fd, message: Addr, flags: MsgFlag) -> Answer:
    """Send what a struct msghdr says, with files and credentials."""
    socket = socket_of(t, fd)
    return transmit(t, _outgoing(t, socket, fetch(t, MsgHdr, message), flags))


@syscall(pledge="stdio sendfd")
def sys_sendmmsg(t: Thread, fd: Fd, messages: Addr, count: UInt, flags: MsgFlag) -> Answer:
    """Several sendmsg; how many went."""
    return _send_many(t, fd, messages, min(count, MMSG_MAX), flags)


async def _send_many(t: Thread, fd: int, messages: int, count: int, flags: int) -> int:
    layout = t.system.call_abi(t).layouts[MMsgHdr]
    socket = socket_of(t, fd)
    for index in range(count):
        addr = messages + index * layout.size
        try:
            header: MMsgHdr = fetch(t, MMsgHdr, addr)
            sent = await _settled(transmit(t, _outgoing(t, socket, MsgHdr(*header[:7]), flags)))
            t.proc.vm.copyout(addr, layout.encode(header._replace(transferred=sent)))
        except (Errno, Interrupted):
            if index:
                return index
            raise
    return count


async def _settled(answer: Answer) -> int:
    return answer if isinstance(answer, int) else await answer
