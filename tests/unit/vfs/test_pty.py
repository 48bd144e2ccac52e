import fcntl
import os
import random
import struct
import termios
import time
from typing import Any

import pytest

from ring3.abi.flags import OpenFlags
from ring3.abi.signals import Signal
from ring3.errors import EIO, ENOTTY, EPERM, ESRCH
from ring3.vfs import tty
from ring3.vfs.pipe import AnonymousInodes
from ring3.vfs.pty import PtyTable
from tests.unit.vfs.twins import HostFile, Memory, OurFile, Processes, attempt


class HostTty(HostFile):
    pause = 0.003

    def settle(self) -> None:
        time.sleep(self.pause)       # the host's line discipline runs in a worker

    def modes(self) -> bytes:
        return fcntl.ioctl(self.fd, tty.TCGETS, bytes(36))

    def set_modes(self, data: bytes) -> None:
        fcntl.ioctl(self.fd, tty.TCSETS, data)


class OurTty(OurFile):
    def settle(self) -> None:
        pass

    def modes(self) -> bytes:
        memory = Memory()
        self.file.ioctl(tty.TCGETS, 0, memory)
        return bytes(memory.data[:36])

    def set_modes(self, data: bytes) -> None:
        self.file.ioctl(tty.TCSETS, 0, Memory(data))


def host_pair() -> tuple[Any, Any]:
    master, slave = os.openpty()
    return HostTty(master), HostTty(slave)


def our_pair(host: Processes | None = None) -> tuple[Any, Any]:
    table = PtyTable(host or Processes(), AnonymousInodes())
    master = table.open_master(None, OpenFlags.RDWR | OpenFlags.NONBLOCK)
    master.ioctl(tty.TIOCSPTLCK, 0, Memory(bytes(4)))
    flags = OpenFlags.RDWR | OpenFlags.NONBLOCK
    return OurTty(master), OurTty(table.open_slave(0, None, flags if host else flags | OpenFlags.NOCTTY))


def change(modes: bytes, *, iflag: int = 0, oflag: int = 0, lflag: int = 0, cc: dict[int, int] | None = None) -> bytes:
    """Flip bits."""
    i, o, c, l, line, chars = struct.unpack("<4IB19s", modes)
    chars = bytearray(chars)
    for index, value in (cc or {}).items():
        chars[index] = value
    return struct.pack("<4IB19s", i ^ iflag, o ^ oflag, c, l ^ lflag, line, bytes(chars))


TYPED = (
    b"line\n", b"a\rb\n", b"abc\x7f\x7fd\n", b"one two  \x17three\n", b"\x15kill me\x15ok\n", b"\x01\x02\x7f\n", b"x\x16\x03y\n",
    b"a\tbc\t\x7f\x7f\x7f\n", b"part", b"\x04", b"\n", b"\xc3\xa9\x7f\n", b"re\x12do\n", b"\x00z\n",
    b"\x1b[A\n", b"\x04\x04", b"x\x03y\n",
)


def typing(master: Any, slave: Any, seed: int, flips: dict[str, Any]) -> list[Any]:
    rng = random.Random(seed)
    slave.set_modes(change(slave.modes(), **flips))
    seen: list[Any] = [slave.modes()]
    for _ in range(25):
        match rng.randrange(4):
            case 0 | 1:
                data = rng.choice(TYPED)
                seen.append(attempt(master.write, data))
            case 2:
                size = rng.choice((1, 3, 100))
                seen.append(("read", attempt(slave.read, size)))
            case _:
                data = rng.choice((b"out\n", b"col\tumn\r", b"x" * 90, b"\b\n"))
                seen.append(attempt(slave.write, data))
        slave.settle()
        seen.append(("screen", attempt(lambda: master.read(4096)), slave.poll(), slave.ioctl_int(tty.FIONREAD)))
    return seen


FLIPS: tuple[dict[str, Any], ...] = (
    {},
    {"iflag": tty.ICRNL | tty.INLCR},
    {"iflag": tty.IGNCR | tty.ISTRIP},
    {"iflag": tty.IUTF8},
    {"oflag": tty.ONLCR},
    {"oflag": tty.OPOST},
    {"oflag": tty.XTABS},
    {"oflag": tty.OCRNL | tty.ONOCR},
    {"lflag": tty.ECHO},
    {"lflag": tty.ECHOE},
    {"lflag": tty.ECHOKE},
    {"lflag": tty.ECHOCTL},
    {"lflag": tty.ISIG},
    {"lflag": tty.IEXTEN},
    {"lflag": tty.ICANON},
    {"lflag": tty.ICANON | tty.ECHO | tty.ISIG, "iflag": tty.ICRNL | tty.IXON},
    {"lflag": tty.ICANON | tty.ECHO | tty.ISIG, "cc": {tty.VMIN: 0}},
    {"lflag": tty.ICANON | tty.ECHO | tty.ISIG, "cc": {tty.VMIN: 4}},
    {"cc": {tty.VEOL: ord("e")}},
    {"lflag": tty.NOFLSH},
)


@pytest.mark.parametrize("flips", FLIPS, ids=range(len(FLIPS)))
def test_typing_as_on_host(flips: dict[str, Any]) -> None:
    for seed in (1, 2):
        found = typing(*our_pair(), seed, flips)
        for pause in (0.003, 0.03, 0.1):        # a busy host may need longer to answer
            master, slave = host_pair()
            master.pause = slave.pause = pause
            expected = typing(master, slave, seed, flips)
            slave.close()
            master.close()
            if found == expected:
                break
        assert found == expected


def test_ends_as_on_host() -> None:
    def story(master: Any, slave: Any) -> list[Any]:
        seen = [master.poll(), slave.poll()]
        slave.write(b"bye\n")
        slave.close()
        slave_gone = [master.poll(), attempt(master.read, 99), attempt(master.read, 9), attempt(master.write, b"x")]
        time.sleep(0.05)
        return [*seen, *slave_gone, master.poll()]

    def hang_up(master: Any, slave: Any) -> list[Any]:
        master.write(b"typed\n")
        time.sleep(0.05)
        master.close()
        return [slave.poll(), attempt(lambda: slave.read(9)), attempt(lambda: slave.write(b"x")), attempt(slave.modes)]

    for what in (story, hang_up):
        assert what(*our_pair()) == what(*host_pair())


def test_size_and_settings() -> None:
    master, slave = our_pair()
    memory = Memory(struct.pack("4H", 24, 80, 0, 0))
    master.file.ioctl(tty.TIOCSWINSZ, 0, memory)
    slave.file.ioctl(tty.TIOCGWINSZ, 100, memory)
    assert memory.data[100:108] == struct.pack("4H", 24, 80, 0, 0)
    slave.file.ioctl(tty.TCGETS2, 0, memory)
    host_master, host_slave = host_pair()
    assert memory.data[:44] == fcntl.ioctl(host_slave.fd, tty.TCGETS2, bytes(44))
    assert host_slave.modes() == slave.modes()
    assert termios.tcgetattr(host_slave.fd)[4] == termios.B38400
    host_master.close()
    host_slave.close()
    with pytest.raises(ENOTTY):
        slave.file.ioctl(0x1234, 0, memory)


def test_keyboard_signals_and_job_control() -> None:
    host = Processes()
    master, slave = our_pair(host)
    terminal = slave.file.tty
    assert (terminal.session, terminal.foreground, host.who.tty) == (10, 10, terminal)
    master.write(b"ab\x03")
    assert host.signals == [("group", 10, Signal.SIGINT)]
    assert master.read(99) == b"^C"
    memory = Memory(struct.pack("i", 11))
    slave.file.ioctl(tty.TIOCSPGRP, 0, memory)
    assert terminal.job_control_check(10, write=False) == Signal.SIGTTIN
    assert terminal.job_control_check(10, write=True) is None
    assert terminal.job_control_check(10, write=True, forced=True) == Signal.SIGTTOU
    assert terminal.job_control_check(11, write=False) is None
    slave.set_modes(change(slave.modes(), lflag=tty.TOSTOP))
    assert terminal.job_control_check(10, write=True) == Signal.SIGTTOU
    for pgrp, refusal in ((99, ESRCH), (20, EPERM)):
        with pytest.raises(refusal):
            slave.file.ioctl(tty.TIOCSPGRP, 0, Memory(struct.pack("i", pgrp)))
    master.file.ioctl(tty.TIOCSWINSZ, 0, Memory(struct.pack("4H", 1, 2, 3, 4)))
    assert host.signals[-1] == ("group", 11, Signal.SIGWINCH)
    master.close()
    assert ("leader", 10, Signal.SIGHUP) in host.signals
    assert (host.who.tty, terminal.session) == (None, 0)


def test_locked_and_numbered() -> None:
    table = PtyTable(Processes(), AnonymousInodes())
    first = table.open_master(None, OpenFlags.RDWR).acquire()
    table.open_master(None, OpenFlags.RDWR)
    with pytest.raises(EIO):
        table.open_slave(0, None, OpenFlags.RDWR)
    assert list(table.numbers()) == [0, 1]
    first.release()
    assert list(table.numbers()) == [1]


def test_output_is_held_and_bounded() -> None:
    master, slave = our_pair()
    master.write(b"\x13")
    assert attempt(lambda: slave.write(b"x")) == "EAGAIN"
    master.write(b"\x11")
    assert slave.write(b"x") == 1
    sent = 0
    while (count := attempt(lambda: slave.write(b"\n" * 1000))) != "EAGAIN":
        sent += count
    assert 4096 < sent < 16384
    typed = 0
    while (count := attempt(lambda: master.write(b"y" * 10000))) != "EAGAIN":
        typed += count
        assert typed < 1 << 22 or count < 10000
        if typed > 200_000:
            break
    assert slave.file.pty.pending <= 4096


def test_timed_reads() -> None:
    master, slave = our_pair()
    slave.set_modes(change(slave.modes(), lflag=tty.ICANON, cc={tty.VMIN: 0, tty.VTIME: 2}))
    assert attempt(lambda: slave.read(9)) == "EAGAIN"
    assert slave.file.read_timeout_ns() == 200_000_000
    assert slave.file.read_expired(9) == b""
    master.write(b"q")
    assert slave.read(9) == b"q"
