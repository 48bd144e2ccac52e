"""The same small script, run on the host's descriptors and on ours: what both answered, to be compared."""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Callable
from typing import Any

from ring3.errors import Errno
from ring3.vfs.file import File
from ring3.vfs.tty import Caller, JobControl

ALL_EVENTS = 0x001 | 0x002 | 0x004 | 0x040 | 0x080 | 0x100 | 0x200 | 0x2000


def attempt(act: Callable[..., Any], *args: Any) -> Any:
    """What `act(*args)` gives, or the name of the errno it fails with."""
    try:
        return act(*args)
    except Errno as refusal:
        return refusal.name
    except OSError as error:
        import errno

        return {"ENOTSUP": "EOPNOTSUPP"}.get(name := errno.errorcode[error.errno or 0], name)


class HostFile:
    """A host descriptor, nonblocking, with the words of our `File`."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_blocking(fd, False)

    def read(self, nbytes: int) -> bytes:
        return os.read(self.fd, nbytes)

    def write(self, data: bytes) -> int:
        return os.write(self.fd, data)

    def poll(self) -> int:
        poller = select.poll()
        poller.register(self.fd, ALL_EVENTS)
        found = poller.poll(0)
        return found[0][1] if found else 0

    def ioctl_int(self, request: int) -> int:
        return int.from_bytes(fcntl.ioctl(self.fd, request, bytes(4)), "little", signed=True)

    def close(self) -> None:
        os.close(self.fd)


class OurFile:
    """One of our files with the same words."""

    def __init__(self, file: File) -> None:
        self.file = file.acquire()

    def read(self, nbytes: int) -> bytes:
        return self.file.read(nbytes)

    def write(self, data: bytes) -> int:
        return self.file.write(data)

    def poll(self) -> int:
        return int(self.file.poll())

    def ioctl_int(self, request: int) -> int:
        memory = Memory(bytes(64))
        self.file.ioctl(request, 0, memory)
        return int.from_bytes(memory.data[:4], "little", signed=True)

    def close(self) -> None:
        self.file.release()


class Memory:
    """A little guest memory from address 0 on."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data.ljust(256, b"\0"))

    def copyin(self, addr: int, nbytes: int) -> bytes:
        return bytes(self.data[addr : addr + nbytes])

    def copyout(self, addr: int, data: bytes) -> None:
        self.data[addr : addr + len(data)] = data


class Processes:
    """A `TtyHost` that writes down the signals."""

    def __init__(self) -> None:
        self.who = Caller(pgrp=10, sid=10, is_leader=True, tty=None, privileged=False)
        self.signals: list[tuple[str, int, int]] = []
        self.groups = {10: 10, 11: 10, 20: 20}

    def caller(self) -> Caller:
        return self.who

    def signal_group(self, pgrp: int, signo: int) -> None:
        self.signals.append(("group", pgrp, signo))

    def signal_leader(self, sid: int, signo: int) -> None:
        self.signals.append(("leader", sid, signo))

    def group_session(self, pgrp: int) -> int | None:
        return self.groups.get(pgrp)

    def set_terminal(self, sid: int, tty: JobControl | None) -> None:
        if sid == self.who.sid:
            self.who = self.who._replace(tty=tty)


class Woken:
    """A waiter that counts."""

    def __init__(self) -> None:
        self.times = 0

    def notify(self) -> None:
        self.times += 1
