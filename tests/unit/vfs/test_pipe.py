import fcntl
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ring3.abi.flags import FileType, OpenFlags, Poll
from ring3.errors import EAGAIN, EINVAL, ENXIO, EPERM, EPIPE
from ring3.vfs.memory import MemoryFS
from ring3.vfs.pipe import FIONREAD, AnonymousInodes, make_pipe, open_fifo
from ring3.vfs.vnode import Vnode
from tests.unit.vfs.twins import HostFile, OurFile, Woken, attempt


def both(flags: OpenFlags = OpenFlags.RDONLY) -> Iterator[tuple[Any, Any]]:
    reader, writer = os.pipe2(int(flags))
    yield HostFile(reader), HostFile(writer)
    ours = make_pipe(AnonymousInodes(), flags)
    yield OurFile(ours[0]), OurFile(ours[1])


def script(reader: Any, writer: Any, rng: random.Random, steps: int) -> list[Any]:
    seen: list[Any] = [reader.poll(), writer.poll(), attempt(lambda: reader.read(1))]
    for _ in range(steps):
        size = rng.choice((0, 1, 3, 100, 4095, 4096, 4097, 5000, 30000, 70000))
        if rng.random() < 0.55:
            data = rng.randbytes(size)
            seen.append(("w", size, attempt(writer.write, data)))
        else:
            seen.append(("r", attempt(reader.read, size)))
        seen.append((reader.poll(), writer.poll(), reader.ioctl_int(FIONREAD)))
    return seen


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("flags", [OpenFlags(0), OpenFlags.DIRECT])
def test_same_as_host(seed: int, flags: OpenFlags) -> None:
    host, ours = [script(r, w, random.Random(seed), 120) for r, w in both(flags)]
    assert ours == host


def test_ends_as_on_host() -> None:
    def ends(reader: Any, writer: Any) -> list[Any]:
        writer.write(b"left")
        writer.close()
        seen = [reader.poll(), reader.read(2), reader.read(9), reader.read(1), reader.poll()]
        reader.close()
        return seen

    def broken(reader: Any, writer: Any) -> list[Any]:
        reader.close()
        seen = [writer.poll(), attempt(writer.write, b"x"), attempt(writer.write, b""), attempt(writer.read, 1)]
        writer.close()
        return seen

    for story in (ends, broken):
        host, ours = [story(r, w) for r, w in both()]
        assert ours == host


def test_capacity() -> None:
    reader, writer = make_pipe(AnonymousInodes(), OpenFlags(0))
    host_reader, host_writer = os.pipe()
    for size in (1, 4096, 4097, 65536, 70000, 1 << 20):
        assert writer.set_capacity(size) == fcntl.fcntl(host_writer, fcntl.F_SETPIPE_SZ, size)
    os.close(host_reader)
    os.close(host_writer)
    with pytest.raises(EPERM):
        reader.set_capacity((1 << 20) + 1)
    with pytest.raises(EINVAL):
        reader.set_capacity(-1)
    assert writer.write(b"x" * (2 << 20)) == 1 << 20
    assert attempt(lambda: writer.set_capacity(4096)) == "EBUSY"
    assert reader.peek(3) == b"xxx"
    assert reader.get_capacity() == 1 << 20


def test_names_and_waking() -> None:
    inodes = AnonymousInodes()
    reader, writer = make_pipe(inodes, OpenFlags.NONBLOCK, uid=7)
    assert reader.label == writer.label == b"pipe:[%d]" % reader.getattr().ino
    assert reader.getattr().mode == FileType.FIFO | 0o600
    assert reader.getattr().uid == 7
    assert make_pipe(inodes, OpenFlags(0))[0].label != reader.label
    waiting, room = Woken(), Woken()
    reader.queue.add(waiting)
    writer.queue.add(room)
    writer.write(b"x" * 65536)
    assert (waiting.times, room.times) == (1, 0)
    reader.read(4095)
    assert room.times == 0, "no page is free yet"
    reader.read(1)
    assert room.times == 1
    reader.read(1 << 17)
    before = waiting.times
    writer.acquire().release()
    assert waiting.times == before + 1


@pytest.fixture
def fifo() -> Vnode:
    return MemoryFS().root().create(b"f", FileType.FIFO | 0o666, 0, 0)


def test_fifo_waits_for_its_other_side(fifo: Vnode) -> None:
    reader = open_fifo(fifo, OpenFlags.RDONLY)
    with pytest.raises(EAGAIN):
        reader.finish_open()
    woken = Woken()
    reader.queue.add(woken)
    writer = open_fifo(fifo, OpenFlags.WRONLY)
    assert woken.times
    writer.finish_open()
    assert writer.write(b"gone at once") == 12
    writer.close()
    reader.finish_open()        # the writer was there, if only for a moment
    assert (reader.read(99), reader.read(1)) == (b"gone at once", b"")
    assert reader.poll() == Poll.HUP


def test_fifo_forgotten_opening_does_not_count(fifo: Vnode) -> None:
    reader = open_fifo(fifo, OpenFlags.RDONLY)
    reader.close()              # a signal came
    with pytest.raises(ENXIO):
        open_fifo(fifo, OpenFlags.WRONLY | OpenFlags.NONBLOCK)


def test_fifo_for_both_never_waits_and_data_dies_with_the_last(fifo: Vnode) -> None:
    file = open_fifo(fifo, OpenFlags.RDWR)
    file.finish_open()
    file.write(b"abc")
    assert attempt(lambda: file.read(1)) == b"a"
    file.close()
    again = open_fifo(fifo, OpenFlags.RDWR)
    assert attempt(lambda: again.read(9)) == "EAGAIN"
    with pytest.raises(EINVAL):
        open_fifo(fifo, OpenFlags(3))


def test_fifo_nonblocking_as_on_host(fifo: Vnode, tmp_path: Path) -> None:
    path = tmp_path / "f"
    os.mkfifo(path)

    def story(opened: Any) -> list[Any]:
        seen: list[Any] = [attempt(lambda: opened(OpenFlags.WRONLY | OpenFlags.NONBLOCK) and "open")]
        reader = opened(OpenFlags.RDONLY | OpenFlags.NONBLOCK)
        seen += [reader.poll(), attempt(lambda: reader.read(1))]
        writer = opened(OpenFlags.WRONLY | OpenFlags.NONBLOCK)
        seen += [reader.poll(), attempt(lambda: reader.read(1)), writer.poll()]
        writer.close()
        seen += [reader.poll(), attempt(lambda: reader.read(1))]
        return seen

    host = story(lambda flags: HostFile(os.open(path, int(flags))))
    assert story(lambda flags: OurFile(open_fifo(fifo, flags))) == host


def test_writers_without_readers(fifo: Vnode) -> None:
    both_sides = open_fifo(fifo, OpenFlags.RDWR)
    writer = open_fifo(fifo, OpenFlags.WRONLY)
    both_sides.close()
    with pytest.raises(EPIPE):
        writer.write(b"x")
    assert writer.poll() == Poll.OUT | Poll.WRNORM | Poll.ERR


def test_a_host_process_blocked_in_a_fifo_sees_the_same(tmp_path: Path) -> None:
    path = tmp_path / "f"
    os.mkfifo(path)
    got: list[bytes] = []

    def read() -> None:
        fd = os.open(path, os.O_RDONLY)
        got.append(os.read(fd, 10))
        os.close(fd)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.02)
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, b"moment")
    os.close(fd)
    thread.join()
    assert got == [b"moment"]
