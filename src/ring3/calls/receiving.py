"""Receiving over sockets: recv, recvfrom, recvmsg and recvmmsg, with files and credentials that came along.

A stream gives what there is, or with MSG_WAITALL all that was asked for; a message that is too long is cut and its rest dropped.
Source: recv(2), recvmmsg(2), unix(7), cmsg(3), net/unix/af_unix.c, net/core/scm.c.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ring3.abi.filerecords import CmsgHdr, MMsgHdr, MsgHdr, Ucred
from ring3.calls.buffers import IOV_MAX, GuestBuffers, read_iovecs
from ring3.calls.guest import fetch
from ring3.calls.sending import MMSG_MAX, MSG_DONTWAIT, SCM_CREDENTIALS, SCM_RIGHTS
from ring3.calls.sockaddr import MsgFlag, OutAddr, encode_source, outgoing, put_address
from ring3.calls.socket import socket_of
from ring3.calls.sysarg import Addr, Fd, OutBuf, Size, UInt
from ring3.calls.sysarg_files import InOut, TimeoutLeft
from ring3.calls.syscall import syscall
from ring3.calls.transfer import PIECE, SO_RCVTIMEO, Answer, retry, socket_deadline, unrestarted
from ring3.errors import EAGAIN, EFAULT, EMFILE, EMSGSIZE, EPERM, Errno
from ring3.proc.proc import Rlimit, Thread
from ring3.vfs.anysocket import Socket
from ring3.vfs.file import File
from ring3.vfs.socketrecords import MSG_PEEK, SOL_SOCKET, STREAM, Received
from ring3.vfs.socketrecords import Ucred as PeerCred
from ring3.waiting import Interrupted

MSG_CTRUNC, MSG_WAITALL, MSG_WAITFORONE, MSG_CMSG_CLOEXEC = 0x08, 0x100, 0x10000, 0x40000000


def collect(t: Thread, socket: Socket, want: int, flags: int) -> Received | Any:
    """What comes in: a `Received`, or a coroutine of one when it has to be waited for."""
    wait = not (flags & MSG_DONTWAIT or socket.nonblocking)
    try:
        received = socket.recv(want, flags=flags)
    except EAGAIN:
        if not wait:
            raise
        return _collect_later(t, socket, want, flags)
    if flags & MSG_WAITALL and wait and _is_partial(socket, received, want, flags):
        return _collect_rest(t, socket, received, want, flags)
    return received


def _is_partial(socket: Socket, received: Received, want: int, flags: int) -> bool:
    return (
        socket.kind == STREAM and not flags & MSG_PEEK and 0 < len(received.data) < want and not received.files
    )


async def _collect_later(t: Thread, socket: Socket, want: int, flags: int) -> Received:
    deadline_ns = socket_deadline(t, socket, SO_RCVTIMEO)
    waiting = retry(socket, partial(socket.recv, want, flags=flags), deadline_ns=deadline_ns)
    received = await (waiting if deadline_ns is None else unrestarted(waiting))
    if flags & MSG_WAITALL and _is_partial(socket, received, want, flags):
        return await _collect_rest(t, socket, received, want, flags)
    return received


async def _collect_rest(t: Thread, socket: Socket, first: Received, want: int, flags: int) -> Received:
    """MSG_WAITALL: until there is enough, or an end, an error, an interruption."""
    data, last = first.data, first
    deadline_ns = socket_deadline(t, socket, SO_RCVTIMEO)
    while len(data) < want:
        try:
            last = await retry(socket, partial(socket.recv, want - len(data), flags=flags), deadline_ns=deadline_ns)
        except (Errno, Interrupted):
            break
        if not last.data:
            break
        data += last.data
        if last.files:
            break
    return last._replace(data=data, length=len(data), credentials=first.credentials)


def _drop_files(received: Received) -> None:
    """What came along and cannot be handed over."""
    for file in received.files:
        file.release()


@syscall(pledge="stdio")
def sys_recvfrom(t: Thread, fd: Fd, buf: OutBuf, nbytes: Size, flags: MsgFlag, addr: OutAddr, length: Addr) -> Answer:
    """Receive, and from whom.  EAGAIN, ENOTCONN, ECONNRESET, EINTR."""
    buffers = GuestBuffers(t.proc.vm, ((buf, nbytes),))
    socket = socket_of(t, fd)
    received = collect(t, socket, min(buffers.total, PIECE), flags)
    if isinstance(received, Received):
        return _hand_over(t, received, buffers, addr, length)
    return _receive_later(t, received, buffers, addr, length)


@syscall(pledge="stdio")
def sys_recv(t: Thread, fd: Fd, buf: OutBuf, nbytes: Size, flags: MsgFlag) -> Answer:
    """recvfrom without a name (a number of its own only through socketcall)."""
    answer: Answer = sys_recvfrom.run(t, fd, buf, nbytes, flags, 0, 0)
    return answer


async def _receive_later(t: Thread, waiting: Any, buffers: GuestBuffers, addr: int, length: int) -> int:
    return _hand_over(t, await waiting, buffers, addr, length)


def _hand_over(t: Thread, received: Received, buffers: GuestBuffers, addr: int, length: int) -> int:
    _drop_files(received)
    if received.data and buffers.scatter(0, received.data) < len(received.data):
        raise EFAULT
    if addr:
        put_address(t, encode_source(received.address), addr, length)
    return received.length


def receive_message(t: Thread, fd: int, header: MsgHdr, flags: int) -> Any:
    """One recvmsg: (bytes, what the header says afterwards), or a coroutine of that."""
    socket = socket_of(t, fd)
    if header.iovlen > IOV_MAX:
        raise EMSGSIZE
    buffers = GuestBuffers(t.proc.vm, read_iovecs(t, header.iov, header.iovlen))
    received = collect(t, socket, min(buffers.total, PIECE), flags)
    if isinstance(received, Received):
        return _fill_in(t, socket, received, header, buffers, flags)
    return _message_later(t, socket, received, header, buffers, flags)


async def _message_later(
    t: Thread, socket: Socket, waiting: Any, header: MsgHdr, buffers: GuestBuffers, flags: int
) -> tuple[int, MsgHdr]:
    return _fill_in(t, socket, await waiting, header, buffers, flags)


def _fill_in(
    t: Thread, socket: Socket, received: Received, header: MsgHdr, buffers: GuestBuffers, flags: int
) -> tuple[int, MsgHdr]:
    vm = t.proc.vm
    if received.data and buffers.scatter(0, received.data) < len(received.data):
        _drop_files(received)
        raise EFAULT
    control, truncated = _write_control(t, socket, received, header, cloexec=bool(flags & MSG_CMSG_CLOEXEC))
    answer = received.flags | (MSG_CTRUNC if truncated else 0) | flags & MSG_CMSG_CLOEXEC
    namelen = header.namelen
    if header.name:
        name = outgoing(t, encode_source(received.address))
        vm.copyout(header.name, name[: header.namelen & 0x7FFF_FFFF])
        namelen = len(name)
    return received.length, header._replace(namelen=namelen, controllen=control, flags=answer)


def _write_control(t: Thread, socket: Socket, received: Received, header: MsgHdr, *, cloexec: bool) -> tuple[int, bool]:
    """Credentials and files into the program's control buffer: (bytes used, whether something did not fit)."""
    abi = t.system.call_abi(t)
    layout, word, vm = abi.layouts[CmsgHdr], abi.word_size, t.proc.vm
    room = header.controllen if header.control else 0
    used, truncated = 0, False
    if socket.pass_cred:
        data = abi.layouts[Ucred].encode(received.credentials or PeerCred())
        needed = layout.size + len(data)
        if room >= layout.size:
            kept = min(needed, room)
            vm.copyout(header.control, (layout.encode((kept, SOL_SOCKET, SCM_CREDENTIALS)) + data)[:kept])
            used = min((needed + word - 1) & -word, room)
            truncated = kept < needed
        else:
            truncated = True
    if received.files:
        try:
            t.needs("recvfd")
        except EPERM:
            _drop_files(received)
            raise
        fits = max((room - used - layout.size) // 4, 0)
        fds = _install_files(t, received.files[:fits], cloexec=cloexec)
        for file in received.files:
            file.release()
        truncated |= len(fds) < len(received.files)
        if fds:
            data = b"".join([fd.to_bytes(4, "little") for fd in fds])
            vm.copyout(header.control + used, layout.encode((layout.size + len(data), SOL_SOCKET, SCM_RIGHTS)) + data)
            used = min(used + ((layout.size + len(data) + word - 1) & -word), room)
    return used, truncated


def _install_files(t: Thread, files: Sequence[File], *, cloexec: bool) -> list[int]:
    """As many as there are descriptors for."""
    p = t.proc
    fds = []
    for file in files:
        try:
            fds.append(p.fds.install(file, cloexec=cloexec, limit=p.rlimit(Rlimit.NOFILE)))
        except EMFILE:
            break
    return fds


@syscall(pledge="stdio recvfd")
def sys_recvmsg(t: Thread, fd: Fd, message: Addr, flags: MsgFlag) -> Answer:
    """Receive into what a struct msghdr says, with files and credentials."""
    header: MsgHdr = fetch(t, MsgHdr, message)
    answer = receive_message(t, fd, header, flags)
    if isinstance(answer, tuple):
        return _put_header(t, message, *answer)
    return _recvmsg_later(t, message, answer)


async def _recvmsg_later(t: Thread, message: int, waiting: Any) -> int:
    return _put_header(t, message, *await waiting)


def _put_header(t: Thread, addr: int, nbytes: int, header: MsgHdr) -> int:
    t.proc.vm.copyout(addr, t.system.call_abi(t).layouts[MsgHdr].encode(header))
    return nbytes


@syscall(pledge="stdio recvfd")
def sys_recvmmsg(t: Thread, fd: Fd, messages: Addr, count: UInt, flags: MsgFlag, timeout: TimeoutLeft) -> Answer:
    """Several recvmsg; how many came.  The timeout is looked at between two, as on Linux (recvmmsg(2), BUGS)."""
    return receive_many(t, fd, messages, min(count, MMSG_MAX), flags, timeout)


async def receive_many(t: Thread, fd: int, messages: int, count: int, flags: int, left: InOut) -> int:
    """All the recvmmsg calls."""
    layout = t.system.call_abi(t).layouts[MMsgHdr]
    now_ns = t.system.now_ns
    deadline_ns = None if left.value is None else now_ns() + left.value
    index = 0
    while index < count:
        addr = messages + index * layout.size
        try:
            header: MMsgHdr = fetch(t, MMsgHdr, addr)
            answer = receive_message(t, fd, MsgHdr(*header[:7]), flags & ~MSG_WAITFORONE)
            got, changed = answer if isinstance(answer, tuple) else await answer
            t.proc.vm.copyout(addr, layout.encode((*changed, got)))
        except (Errno, Interrupted):
            if index:
                break
            raise
        index += 1
        if flags & MSG_WAITFORONE:
            flags |= MSG_DONTWAIT
        if deadline_ns is not None and now_ns() >= deadline_ns:
            break
    if deadline_ns is not None:
        left.put(max(deadline_ns - now_ns(), 0))
    return index
