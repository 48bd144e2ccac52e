"""kqueue and kevent: what each flag and filter does, and what a hostile list may not."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pytest

from ring3.abi.flags import CloneFlags
from ring3.abi.signals import SigInfo, Signal
from ring3.errors import EACCES, EBADF, EFAULT, EINTR, EINVAL, ENOENT, ENOMEM, EOPNOTSUPP, EPERM, ESRCH
from ring3.proc import signals
from ring3.proc.lifecycle import exit_process, fork_process
from ring3.vfs import kqueue as vfs_kqueue
from ring3.vfs.epoll import EpollFile
from tests.rows import row
from tests.unit.calls.netbsd.netguest import NetbsdGuest, netbsd_guest
from tests.unit.calls.stage import Stage, stage

__all__ = ["stage"]

READ, WRITE, VNODE, PROC, SIGNAL, TIMER, USER = 0, 1, 3, 4, 5, 6, 8
ADD, DELETE, ENABLE, DISABLE, ONESHOT, CLEAR, RECEIPT, DISPATCH, ERROR, EOF = (
    1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x4000, 0x8000)
NOTE_EXIT, NOTE_FORK, NOTE_EXEC, NOTE_TRACK, NOTE_CHILD = 1 << 31, 1 << 30, 1 << 29, 1, 4
NOTE_TRIGGER = 0x0100_0000
FORM = struct.Struct("<QIII4xqQ")

Event = tuple[int, int, int, int, int, int]


class Queue:
    """A kqueue of a guest's."""

    def __init__(self, g: NetbsdGuest) -> None:
        self.g = g
        self.fd = g.call("kqueue")
        self.now = g.words(0, 0)
        self.buffer = g.room(40 * 16)

    def change(self, *events: Event) -> int:
        """Changes without room for errors."""
        data = b"".join(FORM.pack(*event) for event in events)
        return self.g.call("__kevent50", self.fd, self.g.put(data), len(events), 0, 0, self.now)

    def add(self, ident: int, what: int, flags: int = 0, fflags: int = 0, data: int = 0, udata: int = 0) -> None:
        """One knote."""
        assert self.change((ident, what, ADD | flags, fflags, data, udata)) == 0

    def events(self, room: int = 16) -> list[Event]:
        """What there is now."""
        count = self.g.call("__kevent50", self.fd, 0, 0, self.buffer, room, self.now)
        return self.read(count)

    def read(self, count: int) -> list[Event]:
        """The list as it stands."""
        return list(FORM.iter_unpack(self.g.get(self.buffer, 40 * count)))


@pytest.fixture
def q(stage: Stage) -> Queue:
    """A kqueue in a process of its own."""
    return Queue(netbsd_guest(stage))


def pipe(g: NetbsdGuest) -> tuple[int, int]:
    """Both ends."""
    ends = g.start("pipe")
    return int(ends), ends.second


class TestFiles:
    def test_read_is_level_triggered(self, q: Queue) -> None:
        reader, writer = pipe(q.g)
        q.add(reader, READ, udata=7)
        assert q.events() == []
        q.g.call("write", writer, q.g.put(b"abc"), 3)
        assert [q.events() for _ in range(2)] == [[(reader, READ, ADD, 0, 3, 7)]] * 2

    def test_clear_makes_it_edge_triggered(self, q: Queue) -> None:
        reader, writer = pipe(q.g)
        q.add(reader, READ, CLEAR)
        for sent in (1, 2):
            q.g.call("write", writer, q.g.put(b"a"), 1)
            assert [event[4] for event in q.events()] == [sent]
            assert q.events() == []

    def test_what_is_always_ready_is_told_of_once(self, q: Queue) -> None:
        """Go's poller takes in every /dev/null: told of anew each time it would never sleep."""
        fd = q.g.call("open", q.g.put(b"/dev/null\0"), 2, 0)
        q.add(fd, READ, CLEAR)
        q.add(fd, WRITE, CLEAR)
        assert [event[:2] for event in q.events()] == [(fd, READ), (fd, WRITE)]
        assert [q.events() for _ in range(3)] == [[]] * 3
        q.add(fd, READ, CLEAR)                                       # asked for once more
        assert [event[:2] for event in q.events()] == [(fd, READ)]

    def test_a_file_that_grows_is_told_of_again(self, q: Queue) -> None:
        fd = q.g.call("open", q.g.put(b"/grows\0"), 0x602, 0o644)
        other = q.g.call("open", q.g.put(b"/grows\0"), 0, 0)
        q.g.call("write", fd, q.g.put(b"abc"), 3)
        q.add(other, READ, CLEAR)
        assert [event[4] for event in q.events()] == [3]
        assert q.events() == []
        q.g.call("read", other, q.buffer, 2)
        assert q.events() == []                                      # less is nothing new
        q.g.call("write", fd, q.g.put(b"d"), 1)
        assert [event[4] for event in q.events()] == [2]
        q.g.call("read", other, q.buffer, 2)
        assert q.events() == []
        q.g.call("write", fd, q.g.put(b"e"), 1)
        assert [event[4] for event in q.events()] == [1]

    def test_the_end_is_an_event(self, q: Queue) -> None:
        reader, writer = pipe(q.g)
        q.add(reader, READ)
        q.add(writer, WRITE)
        assert [event[:2] for event in q.events()] == [(writer, WRITE)]
        q.g.call("close", writer)
        assert [(event[0], event[2] & EOF) for event in q.events()] == [(reader, EOF)]

    def test_a_closed_descriptor_takes_its_knote_along(self, q: Queue) -> None:
        reader, writer = pipe(q.g)
        q.g.call("write", writer, q.g.put(b"a"), 1)
        copy = q.g.call("dup", reader)
        q.add(reader, READ)
        q.g.call("close", reader)
        assert q.events() == []                              # though the description lives on
        assert q.g.call("dup", copy) == reader
        with pytest.raises(ENOENT):
            q.change((reader, READ, DELETE, 0, 0, 0))

    def test_dispatch_disables(self, q: Queue) -> None:
        _, writer = pipe(q.g)
        q.add(writer, WRITE, DISPATCH)
        assert len(q.events()) == 1
        assert q.events() == []
        q.change((writer, WRITE, ENABLE, 0, 0, 0))
        assert len(q.events()) == 1

    def test_no_circle_of_kqueues(self, q: Queue) -> None:
        inner = q.g.call("kqueue")
        q.add(inner, READ)
        for circle in (inner, q.fd):
            change = q.g.put(FORM.pack(circle, READ, ADD, 0, 0, 0))
            with pytest.raises(EINVAL):
                q.g.call("__kevent50", inner, change, 1, 0, 0, q.now)

    def test_not_too_many_above_each_other(self, q: Queue) -> None:
        """Built from the top and from the bottom: neither way makes a tower."""
        tower = [q.fd] + [q.g.call("kqueue") for _ in range(12)]

        def build(places: Iterable[int]) -> None:
            for place in places:
                change = q.g.put(FORM.pack(tower[place + 1], READ, ADD, 0, 0, 0))
                q.g.call("__kevent50", tower[place], change, 1, 0, 0, q.now)

        with pytest.raises(EINVAL):
            build(range(12))
        tower = [q.g.call("kqueue") for _ in range(13)]
        with pytest.raises(EINVAL):
            build(reversed(range(12)))

    def test_a_wide_net_of_kqueues_costs_what_it_has_edges(self, q: Queue) -> None:
        reader, writer = pipe(q.g)
        levels = [[q.g.call("kqueue") for _ in range(12)] for _ in range(4)]
        for above, below in zip(levels, [*levels[1:], [reader]], strict=True):
            for upper in above:
                for lower in below:
                    q.g.call("__kevent50", upper, q.g.put(FORM.pack(lower, READ, ADD, 0, 0, 0)), 1, 0, 0, q.now)
        for _ in range(3):
            q.g.call("write", writer, q.g.put(b"a"), 1)
            assert q.g.call("__kevent50", levels[0][0], 0, 0, q.buffer, 16, q.now) == 12
            q.g.call("read", reader, q.buffer, 1)
            assert q.g.call("__kevent50", levels[0][0], 0, 0, q.buffer, 16, q.now) == 0

    def test_it_is_not_sent_and_no_epoll_is_watched(self, q: Queue) -> None:
        pair = q.g.room(8)
        q.g.call("socketpair", 1, 1, 0, pair)
        control = q.g.put(struct.pack("<Iii4xi4x", 20, 0xFFFF, 1, q.fd))
        vector = q.g.words(q.g.put(b"x"), 1)
        message = q.g.put(struct.pack("<QI4xQI4xQII", 0, 0, vector, 1, control, 24, 0))
        with pytest.raises(EOPNOTSUPP):
            q.g.call("sendmsg", q.g.int32(pair), message, 0)
        epoll = EpollFile(q.g.t.system.anonymous)
        fd = q.g.p.fds.install(epoll, limit=100)
        with pytest.raises(EINVAL):
            q.add(fd, READ)
        with pytest.raises(EPERM):
            epoll.add(q.fd, q.g.p.fds.get(q.fd), 1, 0)

    def test_a_child_does_not_get_it(self, q: Queue) -> None:
        child = fork_process(q.g.t, CloneFlags(0), Signal.SIGCHLD)
        assert q.fd not in child.proc.fds
        assert q.fd in q.g.p.fds


class TestChanges:
    def test_refusals_become_events_where_there_is_room(self, q: Queue) -> None:
        data = FORM.pack(99, READ, ADD, 0, 0, 3) + FORM.pack(1, USER, ADD | RECEIPT, 0, 0, 4)
        assert q.g.call("__kevent50", q.fd, q.g.put(data), 2, q.buffer, 16, 0) == 2
        assert [event[2:5:2] for event in q.read(2)] == [(ERROR, 9), (ERROR, 0)]

    @pytest.mark.parametrize(("event", "refusal"), [
        ((99, READ, ADD, 0, 0, 0), EBADF), ((1 << 40, READ, ADD, 0, 0, 0), EBADF), ((1, 99, ADD, 0, 0, 0), EINVAL),
        ((29999, PROC, ADD, NOTE_EXIT, 0, 0), ESRCH), ((1, USER, DELETE, 0, 0, 0), ENOENT), ((1, TIMER, ADD, 0, 0, 0), EINVAL),
        ((1, TIMER, ADD, 0, -5, 0), EINVAL), ((64, SIGNAL, ADD, 0, 0, 0), EINVAL), ((0, SIGNAL, ADD, 0, 0, 0), EINVAL),
        ((1 << 63, SIGNAL, ADD, 0, 0, 0), EINVAL),
    ])
    def test_and_else_the_calls_own(self, q: Queue, event: Event, refusal: type[Exception]) -> None:
        with pytest.raises(refusal):
            q.change(event)

    def test_what_a_program_may_not_say_is_dropped(self, q: Queue) -> None:
        q.change((1, USER, ADD | 0xF000, NOTE_TRIGGER, 0, 0))
        assert [event[2] for event in q.events()] == [ADD]

    def test_lists_are_bounded(self, q: Queue) -> None:
        with pytest.raises(EINVAL):
            q.g.call("__kevent50", q.fd, q.buffer, 1 << 40, 0, 0, q.now)
        with pytest.raises(EFAULT):
            q.g.call("__kevent50", q.fd, 8, 2, 0, 0, q.now)

    def test_knotes_are_bounded(self, q: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vfs_kqueue, "MAX_KNOTES", 2)
        q.add(1, USER)
        q.add(2, USER)
        with pytest.raises(ENOMEM):
            q.change((3, USER, ADD, 0, 0, 0))

    def test_events_go_where_they_may(self, q: Queue) -> None:
        q.change((1, USER, ADD, NOTE_TRIGGER, 0, 0))
        with pytest.raises(EFAULT):
            q.g.call("__kevent50", q.fd, 0, 0, 8, 16, q.now)

    def test_more_than_there_is_room_for_comes_in_turn(self, q: Queue) -> None:
        for number in range(5):
            q.change((number, USER, ADD, NOTE_TRIGGER, 0, 0))
        seen = [event[0] for _ in range(5) for event in q.events(2)]
        assert sorted(seen[:5]) == [0, 1, 2, 3, 4]


class TestProcesses:
    def child(self, q: Queue) -> NetbsdGuest:
        """A child of the guest's."""
        return NetbsdGuest(fork_process(q.g.t, CloneFlags(0), Signal.SIGCHLD))

    def test_the_end_is_told_once_with_the_status(self, q: Queue) -> None:
        child = self.child(q)
        q.add(child.p.pid, PROC, 0, NOTE_EXIT, udata=5)
        exit_process(child.p, 3 << 8)
        assert q.events() == [(child.p.pid, PROC, ADD | CLEAR | ONESHOT | EOF, NOTE_EXIT, 3 << 8, 5)]
        assert q.events() == []
        assert not q.g.p.fds.get(q.fd).knotes  # type: ignore[attr-defined]

    def test_a_status_has_netbsds_signal_numbers(self, q: Queue) -> None:
        child = self.child(q)
        q.add(child.p.pid, PROC, 0, NOTE_EXIT)
        exit_process(child.p, int(Signal.SIGUSR1))
        assert [event[4] for event in q.events()] == [30]

    def test_forks_are_followed(self, q: Queue) -> None:
        child = self.child(q)
        q.add(child.p.pid, PROC, 0, NOTE_FORK | NOTE_EXIT | NOTE_TRACK)
        grandchild = NetbsdGuest(fork_process(child.t, CloneFlags(0), Signal.SIGCHLD))
        found = {event[0]: event[3:5] for event in q.events()}
        assert found == {child.p.pid: (NOTE_FORK, 0), grandchild.p.pid: (NOTE_CHILD, child.p.pid)}
        exit_process(grandchild.p, 0)
        assert [event[0] for event in q.events()] == [grandchild.p.pid]

    @row("netbsd", "sys_execve, KNOTE", "those who wait for NOTE_EXEC of a process through kqueue hear of its exec")
    def test_an_exec_is_told(self, q: Queue) -> None:
        child = self.child(q)
        q.add(child.p.pid, PROC, 0, NOTE_EXEC)
        child.p.knotes.exec(child.p)
        assert [event[3] for event in q.events()] == [NOTE_EXEC]

    def test_anothers_process_is_not_for_everybody(self, q: Queue) -> None:
        child = self.child(q)
        q.g.p.cred = q.g.p.cred._replace(ruid=5, euid=5, suid=5)
        with pytest.raises(EACCES):
            q.change((child.p.pid, PROC, ADD, NOTE_EXIT, 0, 0))

    def test_nothing_is_left_of_a_closed_kqueue(self, q: Queue) -> None:
        child = self.child(q)
        q.add(child.p.pid, PROC, 0, NOTE_EXIT)
        q.add(30, SIGNAL)
        q.add(1, TIMER, 0, 0, 1000)
        q.g.call("close", q.fd)
        assert child.p.knotes is None
        assert q.g.p.knotes is None
        exit_process(child.p, 0)

    def test_signals_are_counted_by_netbsds_numbers(self, q: Queue) -> None:
        q.add(16, SIGNAL)                                    # SIGURG, which is ignored
        for _ in range(3):
            signals.send_to_process(q.g.p, SigInfo(Signal.SIGURG))
        signals.send_to_process(q.g.p, SigInfo(Signal.SIGWINCH))
        assert q.events() == [(16, SIGNAL, ADD | CLEAR, 0, 3, 0)]
        assert q.events() == []


class TestWaiting:
    def test_a_write_ends_the_wait(self, q: Queue) -> None:
        reader, writer = pipe(q.g)
        q.add(reader, READ)
        sleeper = q.g.sleep("__kevent50", q.fd, 0, 0, q.buffer, 16, 0)
        q.g.call("write", writer, q.g.put(b"abc"), 3)
        assert sleeper.resume() == 1
        assert q.read(1)[0][:2] == (reader, READ)

    def test_a_signal_ends_it_whatever_the_action_says(self, q: Queue) -> None:
        sleeper = q.g.sleep("__kevent50", q.fd, 0, 0, q.buffer, 16, 0)
        with pytest.raises(EINTR):
            sleeper.interrupt()

    def test_a_timer_ends_it(self, q: Queue, stage: Stage) -> None:
        q.add(1, TIMER, 0, 0, 500)
        sleeper = q.g.sleep("__kevent50", q.fd, 0, 0, q.buffer, 16, 0)
        stage.skip(1_600_000_000)
        assert sleeper.resume() == 1
        assert q.read(1) == [(1, TIMER, ADD | CLEAR, 0, 3, 0)]

    def test_a_timeout_is_looked_at_before_and_refused_after(self, q: Queue) -> None:
        with pytest.raises(EFAULT):
            q.g.call("__kevent50", q.fd, 0, 0, q.buffer, 16, 8)
        change = q.g.put(FORM.pack(1, USER, ADD, 0, 0, 0))
        with pytest.raises(EINVAL):
            q.g.call("__kevent50", q.fd, change, 1, q.buffer, 16, q.g.words(0, 1_000_000_000))
        assert q.change((1, USER, DELETE, 0, 0, 0)) == 0     # the change was made

    def test_files_are_looked_at_while_it_sleeps(self, q: Queue) -> None:
        fd = q.g.call("open", q.g.put(b"/watched\0"), 0x602, 0o644)
        q.add(fd, VNODE, CLEAR, 2 | 4)
        sleeper = q.g.sleep("__kevent50", q.fd, 0, 0, q.buffer, 16, 0)
        assert sleeper.sleep is not None
        assert sleeper.sleep.deadline_ns is not None
        q.g.call("write", fd, q.g.put(b"abc"), 3)
        assert sleeper.time_out() == 1
        assert q.read(1)[0][3] == 6
