"""The tables of shapes: whole, reachable, and never an error of ours whatever a guest's numbers are."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ring3.abi.x86 import NREGS, Arch
from ring3.calls.syscall import NOSYS, Bound
from ring3.errors import EFAULT
from ring3.personality.linux import linux_personality
from ring3.proc.proc import Restart
from ring3.trace.form import Form, Forms
from ring3.trace.shapes import linux_processes
from ring3.trace.shapes.linux import SUBJECTS, find
from ring3.trace.shapes.linux_files import FileMode, Permissions, open_flags
from ring3.trace.shapes.shape import Bits, Named, SignalMask, by, number, shape

LINUX = linux_personality()
ABI = LINUX.abis[Arch.X86_64]
NUMBERS = {name: value for value, name in ABI.names.items()}
# Their arguments are records that the declaration decodes.
RECORDS = {"utimensat", "utimes", "futimesat", "utime", "epoll_ctl", "statx", "statfs", "fstatfs", "sendfile"}
NAMES = sorted(name for names in SUBJECTS.values() for name in names if name not in RECORDS)
WORDS = st.one_of(st.integers(0, 40), st.integers(0, (1 << 64) - 1), st.sampled_from((0x5401, 0x5413, 1 << 31, (1 << 64) - 1)))


class Memory:
    """Memory with nothing but one byte in it, or nothing at all."""

    def __init__(self, byte: int | None) -> None:
        self.byte = byte

    def copyin(self, addr: int, nbytes: int) -> bytes:
        assert 0 <= nbytes <= 1 << 20
        if self.byte is None or addr < 0x1000:
            raise EFAULT
        return bytes([self.byte]) * nbytes

    def copyinstr(self, addr: int, limit: int) -> bytes:
        return self.copyin(addr, min(limit, 9))


def thread(byte: int | None) -> Any:
    vm = Memory(byte)
    proc = SimpleNamespace(vm=vm, personality=LINUX, abis=LINUX.abis)
    system = SimpleNamespace(shown_bytes=32, call_abi=lambda _t: ABI)
    regs = memoryview(bytearray(NREGS * 8)).cast("Q")
    return SimpleNamespace(proc=proc, system=system, cpu=SimpleNamespace(regs=regs, arch=Arch.X86_64), restart=None)


@pytest.mark.parametrize("module", SUBJECTS)
def test_the_index_names_all_there_are(module: str) -> None:
    tables = import_module(f"ring3.trace.shapes.{module}")
    assert set(SUBJECTS[module]) == {*tables.SHAPES, *getattr(tables, "RESULTS", {})}
    assert set(SUBJECTS[module]) <= set(NUMBERS)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(words=st.lists(WORDS, min_size=6, max_size=6), byte=st.sampled_from((None, 0, 1, 0xFF)), result=st.integers(0, 1 << 20))
def test_numbers_of_a_guest_print_whatever_they_are(name: str, words: list[int], byte: int | None, result: int) -> None:
    t = thread(byte)
    call = Bound(NOSYS, ABI, name)
    form = Forms().of(call, words)
    texts = form.begin(t, words) + form.end(t, words, result)
    assert len(texts) == len(form.kinds)
    assert all(text.isprintable() for text in texts)
    if form.answer is not None and name not in {"ppoll", "select", "pselect6"}:
        assert form.answer(t, words, result).isprintable()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("byte", [None, 1])
def test_a_call_with_an_argument_that_cannot_be_read_prints(name: str, byte: int | None) -> None:
    """Nobody says then what stands behind an argument."""
    t, words = thread(byte), [16, 3, 0x4000, 1, 0, 0x8000]
    form = Forms().of(Bound(NOSYS, ABI, name), words)
    for bad in (set(), {0}, {2, 3}):
        texts = form.partly(t, words, bad)
        assert len(texts) == len(form.kinds)
        assert "?" not in "".join(texts).replace("???", "")


def test_one_form_for_one_shape() -> None:
    """Numbers of a guest do not make the tables grow."""
    forms, call = Forms(), Bound(NOSYS, ABI, "futex")
    found = {id(forms.of(call, [0x1000, operation, 0, 0, 0, 0])) for operation in range(5000)}
    assert len(found) < 20


def test_kinds() -> None:
    assert Named({1: "A_ONE"}, "A_???").show(thread(None), 2) == "0x2 /* A_??? */"
    assert Bits({1: "A_ONE", 4: "A_FOUR"}, "A_???").show(None, 0x15) == "A_ONE|A_FOUR|0x10"
    assert number(0, "A_???") == "0 /* A_??? */"
    chosen = by(0, {1: shape(None)}, shape(None, None))
    assert [len(chosen([word])) for word in (1, 2, 1 | 1 << 32)] == [1, 2, 1]


def test_open_flags() -> None:
    assert open_flags(0o100 | 0o1000 | 1) == "O_WRONLY|O_CREAT|O_TRUNC"
    assert open_flags(0o20200000 | 2) == "O_RDWR|O_TMPFILE"
    assert open_flags(3) == "O_ACCMODE"


@pytest.mark.parametrize(("flags", "text"), [
    (0o20000, "O_RDONLY|FASYNC"), (0o4000000, "O_RDONLY|0x100000"), (1 << 31, "O_RDONLY|0x80000000"),
    (0o4050000 | 2, "O_RDWR|O_SYNC|O_DIRECT"), (0o220000 | 0o10000, "O_RDONLY|O_DSYNC|O_DIRECTORY|FASYNC"),
])
def test_open_flags_in_order(flags: int, text: str) -> None:
    assert open_flags(flags) == text


@pytest.mark.parametrize(("mode", "text"), [
    (0, "000"), (0o600, "0600"), (0o6000, "S_ISUID|S_ISGID|000"), (0o100644, "S_IFREG|0644"), (0o130600, "0130600"),
    (0o777777, "0177777"), (0o10123456, "S_IFLNK|S_ISGID|S_ISVTX|0456"),
])
def test_modes_have_sixteen_bits(mode: int, text: str) -> None:
    assert FileMode().show(thread(None), mode) == text
    assert Permissions().show(thread(None), mode) == f"0{mode & 0xFFFF:02o}"


def test_what_is_left_of_a_sleep_stands_where_it_was_interrupted() -> None:
    async def again(_t: Any) -> int:
        return 0

    t = thread(0)
    form = Forms().of(Bound(NOSYS, ABI, "nanosleep"), [0x1000, 0x2000])
    assert form.known == 1
    assert form.end(t, [0x1000, 0x2000], 0) == form.end(t, [0x1000, 0x2000], None) == ["0x2000"]
    t.restart = Restart(resume=again)
    assert form.end(t, [0x1000, 0x2000], None) == ["{tv_sec=0, tv_nsec=0}"]
    assert form.end(t, [0x1000, 0], None) == ["NULL"]
    t.restart = Restart(no_handler_only=True)
    assert form.end(t, [0x1000, 0x2000], None) == ["0x2000"]


def test_a_mask_is_read_where_its_size_is_right() -> None:
    t = thread(1)
    assert SignalMask().show_beside(t, 0x2000, 8) == "[HUP KILL CHLD XFSZ RT_1 RT_9 RT_17 RT_25]"
    others = ((0x2000, 4), (0x10, 8), (0, 8))
    assert [SignalMask().show_beside(t, addr, size) for addr, size in others] == ["0x2000", "0x10", "NULL"]


def test_a_call_without_a_shape_is_as_declared() -> None:
    assert find("getppid") == (None, None)
    assert isinstance(Forms().of(ABI.sysent[NUMBERS["getppid"]], ()), Form)


class Pages(Memory):
    """Pointers, then a zero; nothing behind the page that it is on."""

    def __init__(self, addr: int, count: int) -> None:
        super().__init__(None)
        self.start = addr
        self.data = b"\xff" * 8 * count + bytes(8)
        self.end = -(-(addr + len(self.data)) // 4096) * 4096

    def copyin(self, addr: int, nbytes: int) -> bytes:
        if not self.start <= addr <= addr + nbytes <= self.end:
            raise EFAULT
        return self.data.ljust(self.end - self.start, b"\xff")[addr - self.start : addr - self.start + nbytes]


@pytest.mark.parametrize("addr", [0x10000, 0x10ff8, 0x10ffc, 0x10001, 0x10e08])
@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 511, 512, 700])
def test_the_environment_is_counted_to_its_end_and_not_beyond(addr: int, count: int) -> None:
    t = thread(None)
    t.proc.vm = Pages(addr, count)
    shapes: Any = linux_processes.SHAPES
    assert shapes["execve"][2].kind.show(t, addr) == f"{addr:#x} /* {count} var{'' if count == 1 else 's'} */"
