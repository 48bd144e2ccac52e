import os
import random
import select
import struct
from typing import Any

import pytest

from ring3.abi.flags import EpollFlags, OpenFlags, Poll
from ring3.errors import EINVAL, EPERM
from ring3.vfs.epoll import EpollFile
from ring3.vfs.eventfd import EventFile, TimerFile
from ring3.vfs.memory import MemoryFS
from ring3.vfs.pipe import AnonymousInodes, make_pipe
from tests.unit.vfs.twins import HostFile, OurFile, Woken, attempt

ET, ONESHOT = int(EpollFlags.ET), int(EpollFlags.ONESHOT)
INODES = AnonymousInodes


class HostEpoll:
    def __init__(self) -> None:
        self.epoll = select.epoll()

    def add(self, file: Any, events: int) -> None:
        self.epoll.register(file.fd, events)

    def modify(self, file: Any, events: int) -> None:
        self.epoll.modify(file.fd, events)

    def delete(self, file: Any) -> None:
        self.epoll.unregister(file.fd)

    def wait(self, count: int) -> list[int]:
        return sorted(events for _, events in self.epoll.poll(0, count))


class OurEpoll:
    def __init__(self) -> None:
        self.epoll = EpollFile(AnonymousInodes())

    def add(self, file: Any, events: int) -> None:
        self.epoll.add(1, file.file, events, 1)

    def modify(self, file: Any, events: int) -> None:
        self.epoll.modify(1, file.file, events, 1)

    def delete(self, file: Any) -> None:
        self.epoll.delete(1, file.file)

    def wait(self, count: int) -> list[int]:
        return sorted(events for events, _ in self.epoll.wait(count))


def story(epoll: Any, ends: list[Any], rng: random.Random) -> list[Any]:
    seen: list[Any] = []
    for _ in range(150):
        file = rng.choice(ends)
        events = rng.choice((1, 4, 5, 0x2001)) | rng.choice((0, 0, ET, ONESHOT))
        match rng.randrange(8):
            case 0:
                seen.append(attempt(epoll.add, file, events))
            case 1:
                seen.append(attempt(epoll.modify, file, events))
            case 2 if rng.random() < 0.3:
                seen.append(attempt(epoll.delete, file))
            case 3 | 4:
                size = rng.choice((1, 70000))
                seen.append(attempt(file.write, b"x" * size))
            case 5:
                size = rng.choice((1, 5000, 70000))
                seen.append(len(attempt(file.read, size)))
            case _:
                seen.append(epoll.wait(10))
    return seen


@pytest.mark.parametrize("seed", range(25))
def test_pipes_as_on_host(seed: int) -> None:
    inodes = AnonymousInodes()
    host_ends = [HostFile(fd) for pair in (os.pipe(), os.pipe()) for fd in pair]
    our_ends = [OurFile(file) for pair in (make_pipe(inodes, OpenFlags(0)), make_pipe(inodes, OpenFlags(0))) for file in pair]
    host = HostEpoll()
    expected = story(host, host_ends, random.Random(seed))
    found = story(OurEpoll(), our_ends, random.Random(seed))
    host.epoll.close()
    for end in host_ends:
        end.close()
    assert found == expected


def test_wakes_whoever_waits_and_forgets_the_closed() -> None:
    inodes = AnonymousInodes()
    reader, writer = make_pipe(inodes, OpenFlags(0))
    reader.acquire()
    epoll = EpollFile(inodes)
    epoll.add(7, reader, 1, 99)
    epoll.add(8, reader, 1, 98)
    woken = Woken()
    epoll.queue.add(woken)
    assert epoll.wait(9) == []
    writer.write(b"x")
    assert woken.times
    assert sorted(epoll.wait(9)) == [(1, 98), (1, 99)]
    reader.release()
    assert (epoll.wait(9), epoll.watches, len(reader.queue)) == ([], {}, 0)


def test_turns_are_fair() -> None:
    inodes = AnonymousInodes()
    epoll = EpollFile(inodes)
    for n in range(4):
        epoll.add(n, EventFile(inodes, 1, OpenFlags(0)), 1, n)
    assert [epoll.wait(1)[0][1] for _ in range(8)] == [0, 1, 2, 3] * 2


def test_what_cannot_be_watched() -> None:
    inodes = AnonymousInodes()
    epoll = EpollFile(inodes)
    with pytest.raises(EPERM):
        epoll.add(1, MemoryFS().root().create(b"f", 0o100644, 0, 0).open(OpenFlags(0)), 1, 0)
    with pytest.raises(EINVAL):
        epoll.add(1, epoll, 1, 0)
    for count in (0, -1, 1 << 31):
        with pytest.raises(EINVAL):
            epoll.wait(count)


def test_nesting_as_on_host() -> None:
    hosts = [select.epoll() for _ in range(7)]
    mine = [EpollFile(AnonymousInodes()) for _ in range(7)]
    rng = random.Random(3)
    for _ in range(60):
        a, b = rng.randrange(7), rng.randrange(7)
        expected = attempt(hosts[a].register, hosts[b].fileno(), 1)
        assert attempt(mine[a].add, b, mine[b], 1, 0) == expected
    for host in hosts:
        host.close()


def test_nested_readiness() -> None:
    inodes = AnonymousInodes()
    event = EventFile(inodes, 0, OpenFlags(0))
    inner, outer = EpollFile(inodes), EpollFile(inodes)
    inner.add(1, event, 1, 5)
    outer.add(2, inner, 1, 6)
    woken = Woken()
    outer.queue.add(woken)
    event.write(struct.pack("Q", 1))
    assert woken.times
    assert outer.wait(3) == [(1, 6)]
    event.read(8)
    assert (outer.wait(3), inner.poll()) == ([], Poll(0))


@pytest.mark.parametrize("semaphore", [False, True])
def test_eventfd_as_on_host(semaphore: bool) -> None:
    def words(file: Any) -> list[Any]:
        seen: list[Any] = []
        for step in ("r", 0, "r", 3, "r", "r", 2**64 - 2, 1, "r", 2**64 - 1, 2**64 - 3, "r", 5):
            tried = attempt(file.read, 8) if step == "r" else attempt(file.write, struct.pack("Q", step))
            seen += [tried, file.poll()]
        return [*seen, attempt(lambda: file.read(7)), attempt(lambda: file.write(b"1234567"))]

    host = HostFile(os.eventfd(1, os.EFD_SEMAPHORE if semaphore else 0))
    expected = words(host)
    host.close()
    assert words(OurFile(EventFile(AnonymousInodes(), 1, OpenFlags(0), semaphore=semaphore))) == expected


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000
        self.due: list[Any] = []

    def now_ns(self) -> int:
        return self.now

    def schedule(self, deadline_ns: int, callback: Any) -> "Clock":
        self.due.append((deadline_ns, callback))
        return self

    def cancel(self) -> None:
        self.due.clear()

    def move(self, to: int) -> None:
        self.now = to
        ripe, self.due = [c for d, c in self.due if d <= to], [(d, c) for d, c in self.due if d > to]
        for callback in ripe:
            callback()


def test_timerfd() -> None:
    clock = Clock()
    timer = TimerFile(AnonymousInodes(), clock, 1, OpenFlags(0))
    woken = Woken()
    timer.queue.add(woken)
    assert timer.settime(100, 30, absolute=False) == (0, 0)
    assert (timer.gettime(), timer.poll(), attempt(lambda: timer.read(8))) == ((100, 30), Poll(0), "EAGAIN")
    clock.move(1165)
    assert (woken.times, timer.poll(), timer.gettime()) == (1, Poll.IN, (25, 30))
    assert timer.read(8) == struct.pack("Q", 3)
    clock.move(1190)
    assert woken.times == 2
    assert timer.settime(5000, 0, absolute=True)[1] == 30
    clock.move(6000)
    assert (timer.read(8), timer.gettime(), attempt(lambda: timer.read(8))) == (struct.pack("Q", 1), (0, 0), "EAGAIN")
    timer.settime(0, 0, absolute=False)
    assert not clock.due
