import fcntl
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ring3.abi.flags import OpenFlags, Poll, Whence
from ring3.errors import EAGAIN, ENODEV, EPIPE, ESPIPE
from ring3.vfs import tty
from ring3.vfs.hoststream import HostStream, HostTerminal, new_stream
from ring3.vfs.tty import JobControl
from tests.unit.vfs.twins import Memory, Processes, Woken, attempt


class Doorbell:
    """What the machine does: watch, and call while ready."""

    def __init__(self) -> None:
        self.watched: dict[int, int] = {}

    def watch(self, fd: int, events: int) -> None:
        self.watched[fd] = events
        if not events:
            del self.watched[fd]

    def ring(self, stream: HostStream) -> int:
        poller = select.poll()
        if stream.fd not in self.watched:
            return 0
        poller.register(stream.fd, self.watched[stream.fd])
        found = poller.poll(0)
        if found:
            stream.host_ready(found[0][1])
        return found[0][1] if found else 0


@pytest.fixture
def bell() -> Doorbell:
    return Doorbell()


def stream(fd: int, bell: Doorbell) -> HostStream:
    return new_stream(fd, bell.watch, lambda: JobControl(Processes()))


@pytest.fixture(params=["pipe", "socket", "pipe-without-nowait"])
def pair(request: pytest.FixtureRequest, bell: Doorbell) -> Iterator[tuple[HostStream, int, HostStream, int]]:
    """Our reader with its host writer, our writer with its host reader."""
    if request.param == "socket":
        a, b = socket.socketpair()
        reader, feeding, writer, draining = a.detach(), b.detach(), -1, -1
        c, d = socket.socketpair()
        writer, draining = c.detach(), d.detach()
    else:
        reader, feeding = os.pipe()
        draining, writer = os.pipe()
    streams = stream(reader, bell), stream(writer, bell)
    if request.param == "pipe-without-nowait":
        for s in streams:
            s._nowait = False
    yield streams[0], feeding, streams[1], draining
    for s in streams:
        s.close()
    for fd in (feeding, draining):
        if fd >= 0:
            os.close(fd)


def test_never_reads_ahead_nor_blocks(pair: tuple[HostStream, int, HostStream, int]) -> None:
    reader, feeding, _, _ = pair
    assert attempt(lambda: reader.read(5)) == "EAGAIN"
    os.write(feeding, b"hello world")
    assert reader.read(5) == b"hello"
    assert os.read(reader.fd, 99) == b" world", "the rest is still the host's"
    assert not fcntl.fcntl(reader.fd, fcntl.F_GETFL) & os.O_NONBLOCK


def test_writes_what_fits(pair: tuple[HostStream, int, HostStream, int]) -> None:
    _, _, writer, draining = pair
    sent = 0
    while (count := attempt(writer.write, b"x" * 50000)) != "EAGAIN":
        sent += count
        assert sent < 10_000_000
    got = 0
    while got < sent:
        got += len(os.read(draining, 1 << 20))
    assert writer.write(b"y") == 1
    assert not fcntl.fcntl(writer.fd, fcntl.F_GETFL) & os.O_NONBLOCK


def test_watched_only_while_somebody_waits(pair: tuple[HostStream, int, HostStream, int], bell: Doorbell) -> None:
    reader, feeding, _, _ = pair
    with pytest.raises(EAGAIN):
        reader.read(1)
    woken = Woken()
    assert reader.queue is not None
    assert not bell.watched
    reader.queue.add(woken)
    assert bell.watched[reader.fd] & Poll.IN
    os.write(feeding, b"ab")
    assert bell.ring(reader)
    assert woken.times == 1
    assert not bell.ring(reader), "asked once: an epoll that stays does not make the kernel spin"
    assert reader.read(1) == b"a"
    assert bell.ring(reader), "what is left, or comes, is an edge again"
    assert reader.read(9) == b"b"
    reader.queue.remove(woken)
    assert not bell.watched


def test_a_waiting_reader_is_not_rung_for_output(bell: Doorbell) -> None:
    a, b = socket.socketpair()
    both = stream(a.detach(), bell)
    with pytest.raises(EAGAIN):
        both.read(1)
    both.poll()
    assert both.queue is not None
    both.queue.add(Woken())
    assert bell.watched[both.fd] == Poll.IN
    assert not bell.ring(both)
    both.close()
    assert not bell.watched
    b.close()


def test_ends(pair: tuple[HostStream, int, HostStream, int]) -> None:
    reader, feeding, writer, draining = pair
    os.close(os.dup(feeding))
    quiet = os.open("/dev/null", os.O_RDWR)
    os.dup2(quiet, feeding)
    os.dup2(quiet, draining)
    os.close(quiet)
    assert reader.read(1) == b""
    assert reader.poll() & Poll.HUP
    with pytest.raises(EPIPE):
        writer.write(b"x")


def test_regular_file_shares_the_hosts_offset(tmp_path: Path, bell: Doorbell) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    fd = os.open(path, os.O_RDWR)
    file = stream(os.dup(fd), bell)
    assert file.queue is None
    assert (file.read(3), os.read(fd, 2)) == (b"012", b"34")
    assert file.seek(-1, Whence.END) == 9
    assert file.write(b"XY") == 2
    assert (file.pread(8, 9), file.getattr().size, file.label) == (b"8XY", 11, os.fsencode(path))
    assert file.host_fd() == file.fd
    file.truncate(4)
    assert path.read_bytes() == b"0123"
    file.close()
    os.close(fd)


def test_what_a_pipe_cannot(bell: Doorbell) -> None:
    reader, writer = os.pipe()
    file = stream(reader, bell)
    for act, refusal in ((lambda: file.seek(0, Whence.SET), ESPIPE), (lambda: file.pread(0, 1), ESPIPE), (file.host_fd, ENODEV)):
        with pytest.raises(refusal):
            act()
    assert attempt(lambda: file.write(b"x")) == "EBADF"
    os.write(writer, b"abc")
    memory = Memory()
    file.ioctl(tty.FIONREAD, 0, memory)
    assert memory.data[0] == 3
    assert attempt(lambda: file.ioctl(tty.TCGETS, 0, memory)) == "ENOTTY"
    file.close()
    os.close(writer)


def test_terminal(bell: Doorbell) -> None:
    master, slave = os.openpty()
    terminal = stream(os.dup(slave), bell)
    assert isinstance(terminal, HostTerminal)
    assert not fcntl.fcntl(slave, fcntl.F_GETFL) & os.O_NONBLOCK, "the shell's description is untouched"
    terminal.save_terminal()
    assert attempt(lambda: terminal.read(9)) == "EAGAIN"
    memory = Memory()
    terminal.ioctl(tty.TCGETS, 0, memory)
    modes = bytes(memory.data[:36])
    assert modes == fcntl.ioctl(slave, tty.TCGETS, bytes(36))
    changed = bytearray(modes)
    changed[12] ^= tty.ECHO
    terminal.ioctl(tty.TCSETS, 0, Memory(bytes(changed)))
    assert fcntl.ioctl(slave, tty.TCGETS, bytes(36)) == bytes(changed)
    terminal.restore_terminal()
    assert fcntl.ioctl(slave, tty.TCGETS, bytes(36)) == modes
    os.write(master, b"line\n")
    time.sleep(0.01)
    assert terminal.read(2) + terminal.read(9) == b"line\n"
    assert attempt(lambda: terminal.ioctl(tty.TIOCGPGRP, 0, memory)) == "ENOTTY", "job control is the guest's own"
    while attempt(terminal.write, b"x" * 4000) != "EAGAIN":
        pass
    assert terminal.flags & OpenFlags.RDWR
    terminal.close()
    os.close(master)
    os.close(slave)
