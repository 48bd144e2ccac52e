"""poll, select, epoll, timers."""

from __future__ import annotations

import signal
import struct
from typing import Any

import pytest

from ring3.errors import EBADF, EEXIST, EFAULT, EINTR, EINVAL, ELOOP, ENOENT, EPERM
from ring3.proc.proc import Restart
from ring3.proc.signals import kernel_signal, send_to_thread
from tests.unit.calls.conftest import Guest

IN, OUT, HUP, NVAL = 1, 4, 0x10, 0x20
ET, ONESHOT = 1 << 31, 1 << 30


def pipe(g: Guest) -> tuple[int, int]:
    fds = g.room(8)
    g.call("pipe2", fds, 0)
    return g.word(fds), g.word(fds + 4)


def pollfds(g: Guest, *pairs: tuple[int, int]) -> int:
    return g.put(b"".join(struct.pack("<ihH", fd, events, 0xFFFF) for fd, events in pairs))


def revents(g: Guest, addr: int, count: int) -> list[int]:
    return [struct.unpack_from("<H", g.get(addr + 8 * i, 8), 6)[0] for i in range(count)]


def test_poll_answers_at_once(g: Guest) -> None:
    reading, writing = pipe(g)
    fds = pollfds(g, (reading, IN), (writing, OUT), (-1, IN), (99, IN))
    assert g.call("poll", fds, 4, -1) == 2
    assert revents(g, fds, 4) == [0, OUT, 0, NVAL]
    assert g.call("poll", pollfds(g, (reading, IN)), 1, 0) == 0
    g.p.rlimits[7] = (3, 3)
    with pytest.raises(EINVAL):
        g.call("poll", fds, 4, 0)
    with pytest.raises(EFAULT):
        g.call("poll", 8, 1, 0)


def test_poll_waits(g: Guest) -> None:
    reading, writing = pipe(g)
    fds = pollfds(g, (reading, IN))
    sleeper = g.sleep("poll", fds, 1, -1)
    g.call("write", writing, g.put(b"x"), 1)
    assert sleeper.resume() == 1
    assert revents(g, fds, 1) == [IN]
    g.call("close", writing)
    assert g.call("poll", fds, 1, -1) == 1
    assert revents(g, fds, 1) == [IN | HUP]


def test_poll_gives_up(g: Guest) -> None:
    reading, _ = pipe(g)
    fds = pollfds(g, (reading, IN))
    sleeper = g.sleep("poll", fds, 1, 50)
    assert sleeper.sleep is not None
    assert sleeper.sleep.deadline_ns is not None
    assert abs(sleeper.sleep.deadline_ns - g.system.now_ns() - 50_000_000) < 40_000_000
    assert sleeper.time_out() == 0
    assert revents(g, fds, 1) == [0]


def test_an_interrupted_poll_resumes_with_its_deadline(g: Guest) -> None:
    reading, writing = pipe(g)
    sleeper = g.sleep("poll", pollfds(g, (reading, IN)), 1, 1000)
    assert sleeper.sleep is not None
    deadline = sleeper.sleep.deadline_ns
    with pytest.raises(Restart) as caught:
        sleeper.interrupt()
    assert caught.value.no_handler_only
    resume = caught.value.resume
    assert resume is not None
    again = resume(g.t)
    sleep: Any = again.send(None)
    assert sleep.deadline_ns == deadline
    again.close()
    g.call("write", writing, g.put(b"x"), 1)
    with pytest.raises(StopIteration) as end:
        resume(g.t).send(None)
    assert end.value.value == 1


def test_ppoll_puts_a_mask_and_takes_it_back(g: Guest) -> None:
    reading, _ = pipe(g)
    fds = pollfds(g, (reading, IN))
    g.t.sigmask = 1 << (signal.SIGUSR1 - 1)
    empty = g.put(bytes(8))
    left = g.put(struct.pack("<qq", 10, 0))
    sleeper = g.sleep("ppoll", fds, 1, left, empty, 8)
    assert g.t.sigmask == 0
    assert sleeper.time_out() == 0
    assert g.t.sigmask == 1 << (signal.SIGUSR1 - 1)
    seconds, _ = struct.unpack("<qq", g.get(left, 16))
    assert 5 <= seconds < 10
    send_to_thread(g.t, kernel_signal(signal.SIGUSR1))
    g.t.work = 0
    with pytest.raises(Restart):
        g.call("ppoll", fds, 1, g.put(bytes(16)), empty, 8)
    assert g.t.saved_sigmask == 1 << (signal.SIGUSR1 - 1)
    g.t.saved_sigmask = None
    with pytest.raises(EINVAL):
        g.call("ppoll", fds, 1, 0, empty, 4)
    with pytest.raises(EINVAL):
        g.call("ppoll", fds, 1, g.put(struct.pack("<qq", -1, 0)), 0, 0)


def test_select(g: Guest) -> None:
    reading, writing = pipe(g)
    sets = g.put(struct.pack("<QQ", 1 << reading, 1 << writing))
    assert g.call("select", 64, sets, sets + 8, 0, 0) == 1
    assert struct.unpack("<QQ", g.get(sets, 16)) == (0, 1 << writing)
    wanted = g.put(struct.pack("<Q", 1 << reading))
    left = g.put(struct.pack("<qq", 5, 500_000))
    sleeper = g.sleep("select", 64, wanted, 0, 0, left)
    g.call("write", writing, g.put(b"x"), 1)
    assert sleeper.resume() == 1
    seconds, micro = struct.unpack("<qq", g.get(left, 16))
    assert (seconds, micro < 500_000) == (5, True)
    with pytest.raises(EBADF):
        g.call("select", 64, g.put(struct.pack("<Q", 1 << 50)), 0, 0, 0)
    with pytest.raises(EINVAL):
        g.call("select", -1, 0, 0, 0, 0)
    with pytest.raises(EINVAL):
        g.call("select", 1, 0, 0, 0, g.put(struct.pack("<qq", -1, 0)))
    assert g.call("pselect6", 0, 0, 0, 0, g.put(bytes(16)), 0) == 0


def test_old_select_of_i386(g: Guest) -> None:
    reading, writing = pipe(g)
    sets = g.put(struct.pack("<II", 1 << reading, 1 << writing))
    args = g.put(struct.pack("<iIIII", 32, sets, sets + 4, 0, 0))
    assert g.call32("select", args) == 1
    assert struct.unpack("<II", g.get(sets, 8)) == (0, 1 << writing)
    assert g.call32("_newselect", 32, sets, sets + 4, 0, 0) == 1


def event(g: Guest, events: int, data: int) -> int:
    return g.put(struct.pack("<IQ", events, data))


def test_epoll(g: Guest) -> None:
    reading, writing = pipe(g)
    ep = g.call("epoll_create1", 0o2000000)
    assert g.p.fds.cloexec == {ep}
    assert g.call("epoll_ctl", ep, 1, reading, event(g, IN, 77)) == 0
    out = g.room(48)
    assert g.call("epoll_wait", ep, out, 4, 0) == 0
    sleeper = g.sleep("epoll_wait", ep, out, 4, -1)
    g.call("write", writing, g.put(b"x"), 1)
    assert sleeper.resume() == 1
    assert struct.unpack("<IQ", g.get(out, 12)) == (IN, 77)
    assert g.call("epoll_wait", ep, out, 4, 0) == 1
    assert g.call("epoll_ctl", ep, 3, reading, event(g, IN | ET, 78)) == 0
    assert g.call("epoll_wait", ep, out, 4, 0) == 1
    assert g.call("epoll_wait", ep, out, 4, 0) == 0
    assert g.call("epoll_ctl", ep, 2, reading, 0) == 0
    for words, refusal in (
        ((ep, 2, reading, 0), ENOENT), ((ep, 1, g.open("/f"), event(g, IN, 0)), EPERM), ((ep, 1, ep, event(g, IN, 0)), EINVAL),
        ((reading, 1, writing, event(g, IN, 0)), EINVAL), ((ep, 1, 99, event(g, IN, 0)), EBADF), ((ep, 1, reading, 0), EFAULT),
        ((ep, 9, reading, event(g, IN, 0)), EINVAL),
    ):
        with pytest.raises(refusal):
            g.call("epoll_ctl", *words)
    g.call("epoll_ctl", ep, 1, reading, event(g, IN, 0))
    with pytest.raises(EEXIST):
        g.call("epoll_ctl", ep, 1, reading, event(g, IN, 0))
    outer = g.call("epoll_create", 1)
    g.call("epoll_ctl", outer, 1, ep, event(g, IN, 0))
    with pytest.raises(ELOOP):
        g.call("epoll_ctl", ep, 1, outer, event(g, IN, 0))
    for words in ((ep, out, 0, 0), (reading, out, 1, 0)):
        with pytest.raises(EINVAL):
            g.call("epoll_wait", *words)


def test_epoll_wait_is_never_restarted(g: Guest) -> None:
    ep = g.call("epoll_create1", 0)
    out = g.room(12)
    sleeper = g.sleep("epoll_wait", ep, out, 1, -1)
    with pytest.raises(EINTR):
        sleeper.interrupt()
    g.t.sigmask = 2
    sleeper = g.sleep("epoll_pwait", ep, out, 1, 10, g.put(bytes(8)), 8)
    with pytest.raises(EINTR):
        sleeper.interrupt()
    assert g.t.saved_sigmask == 2
    g.t.saved_sigmask = None
    sleeper = g.sleep("epoll_pwait2", ep, out, 1, g.put(struct.pack("<qq", 1, 0)), 0, 0)
    assert sleeper.time_out() == 0


def test_timerfd(g: Guest) -> None:
    fd = g.call("timerfd_create", 1, 0o4000)
    spec = g.put(struct.pack("<4q", 1, 0, 100, 0))
    old = g.room(32)
    assert g.call("timerfd_settime", fd, 0, spec, old) == 0
    assert struct.unpack("<4q", g.get(old, 32)) == (0, 0, 0, 0)
    assert g.call("timerfd_gettime", fd, old) == 0
    interval, _, left, _ = struct.unpack("<4q", g.get(old, 32))
    assert (interval, 98 <= left <= 100) == (1, True)
    assert g.call32("timerfd_gettime64", fd, old) == 0
    assert g.call32("timerfd_gettime", fd, old) == 0
    assert struct.unpack("<4i", g.get(old, 16))[0] == 1
    with pytest.raises(EINVAL):
        g.call("timerfd_create", 3, 0)
    with pytest.raises(EINVAL):
        g.call("timerfd_settime", g.open("/f"), 0, spec, 0)
    for bad in (struct.pack("<4q", 0, 0, 0, 2_000_000_000), struct.pack("<4q", 0, 0, -1, 0)):
        with pytest.raises(EINVAL):
            g.call("timerfd_settime", fd, 0, g.put(bad), 0)
    with pytest.raises(EFAULT):
        g.call("timerfd_settime", fd, 0, 0, 0)


def test_printing(g: Guest) -> None:
    reading, writing = pipe(g)
    fds = pollfds(g, (reading, IN), (writing, IN | OUT))
    assert g.show("poll", fds, 2, 5) == (
        f"poll([{{fd={reading}, events=POLLIN}}, {{fd={writing}, events=POLLIN|POLLOUT}}] => "
        f"[{{fd={writing}, revents=POLLOUT}}], 2, 5) = 1"
    )
    ep = g.call("epoll_create1", 0)
    assert g.show("epoll_ctl", ep, 1, writing, event(g, OUT | ET, 5)) == (
        f"epoll_ctl({ep}, EPOLL_CTL_ADD, {writing}, {{events=EPOLLOUT|EPOLLET, data=0x5}}) = 0"
    )
    assert g.show("epoll_wait", ep, g.room(24), 2, 0) == f"epoll_wait({ep}, [{{events=EPOLLOUT, data=0x5}}], 2, 0) = 1"
    sets = g.put(struct.pack("<Q", 1 << writing))
    assert g.show("select", 8, 0, sets, 0, 0) == f"select(8, NULL, [{writing}], NULL, NULL) = 1"
