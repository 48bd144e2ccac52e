"""copyargs: the words of a NetBSD stack, where they stand, and where the strings they point to are (kern_exec.c)."""

from __future__ import annotations

import struct

import pytest

from ring3.errors import ENOMEM
from ring3.exec.plan import Aux, StackImage
from ring3.personality.netbsd import stack
from ring3.personality.netbsd.stack import GAP, UPWARD_ROOM, argument_words, build, length, ps_strings_size, spots
from tests.rows import row

TOP = 0x7F7F_FFFF_F000


def made(
    *, word_size: int = 8, argv: tuple[bytes, ...] = (b"prog", b"", b"two"), envp: tuple[bytes, ...] = (b"A=1",), aux: bool = True,
    sigcode: int = 0, path: bytes = b"/bin/prog", limit: int = 1 << 20,
) -> StackImage:
    return build(
        top=TOP if word_size == 8 else 0xFFFF_F000, limit=limit, word_size=word_size, argv=argv, envp=envp, sigcode=sigcode,
        path=path,
        auxv=(lambda at: [Aux(6, 4096), *([Aux(2014, at)] if at else [])]) if aux else None,
    )


def words(image: StackImage, word_size: int, count: int) -> list[int]:
    return list(struct.unpack_from(f"<{count}{'Q' if word_size == 8 else 'I'}", image.data))


def text(image: StackImage, at: int) -> bytes:
    return image.data[at - image.sp :].split(b"\0", 1)[0]


@row("netbsd", "copyargs", "argc, argument pointers and zero, environment pointers and zero stand on the stack in this order")
@row("netbsd", "copyargs", "the strings follow each other behind the room for the format's words, arguments first")
@pytest.mark.parametrize("word_size", [8, 4])
@pytest.mark.parametrize("aux", [True, False])
def test_words(word_size: int, aux: bool) -> None:
    image = made(word_size=word_size, aux=aux)
    found = words(image, word_size, 7)
    assert found[0] == 3
    assert [text(image, at) for at in found[1:4]] == [b"prog", b"", b"two"]
    assert found[4] == 0
    assert text(image, found[5]) == b"A=1"
    assert found[6] == 0
    first = image.sp + (1 + 3 + 1 + 1 + 1) * word_size + argument_words(word_size, has_aux=aux) * word_size
    assert found[1] == image.arg_start == first
    assert found[2] == found[1] + 5
    assert (image.arg_end, image.env_start, image.env_end) == (found[5], found[5], found[5] + 4)
    assert image.data[image.arg_start - image.sp : image.env_end - image.sp] == b"prog\0\0two\0A=1\0"


@row("netbsd", "copyargs, ps_strings", "ps_strings is the last thing on the stack and says where both lists are and how long")
@pytest.mark.parametrize(("word_size", "form"), [(8, "<QixxxxQixxxx"), (4, "<IiIi")])
def test_ps_strings(word_size: int, form: str) -> None:
    image = made(word_size=word_size)
    size = ps_strings_size(word_size)
    assert size == struct.calcsize(form)
    assert image.ps_strings + size == image.sp + len(image.data)
    assert struct.unpack(form, image.data[-size:]) == (image.sp + word_size, 3, image.sp + 5 * word_size, 1)


@row("netbsd", "sys_execve, STACKGAPLEN",
     "between strings and ps_strings at least the gap stays free, and the trampoline's room with it")
@pytest.mark.parametrize("sigcode", [0, 7, 160])
def test_gap(sigcode: int) -> None:
    image = made(sigcode=sigcode)
    assert image.ps_strings - image.env_end >= GAP + sigcode
    assert not any(image.data[image.env_end - image.sp : image.ps_strings - image.sp])


@row("netbsd", "sys_execve, ALIGN", "the stack pointer is a multiple of 16, whatever stands on the stack")
def test_alignment() -> None:
    for count in range(5):
        for size in range(20):
            assert made(argv=(b"x" * size,) * count).sp % 16 == 0


@row("netbsd", "copyargs, elf_copyargs",
     "the auxiliary vector begins right behind the environment, and the program's path right behind its end")
@pytest.mark.parametrize("word_size", [8, 4])
def test_vector(word_size: int) -> None:
    image = made(word_size=word_size)
    at = 7 * word_size
    code = "Q" if word_size == 8 else "I"
    vector = struct.unpack_from(f"<6{code}", image.data, at)
    assert vector == (6, 4096, 2014, image.sp + at + 6 * word_size, 0, 0)
    assert text(image, vector[3]) == b"/bin/prog"
    assert image.auxv == (Aux(6, 4096), Aux(2014, vector[3]), Aux(0, 0))
    assert image.auxv_bytes == image.data[at : at + 6 * word_size]


def test_a_path_too_long_is_left_out() -> None:
    assert made(path=b"/" * 1024).auxv == (Aux(6, 4096), Aux(0, 0))
    assert len(made(path=b"/" * 1023).auxv) == 3


@row("netbsd", "sys_execve",
     "the sum that decides whether there is room: words of the image's size, strings, gap, trampoline, ps_strings")
def test_length() -> None:
    for word_size in (8, 4):
        plain = (2 + 3 + 2 + 5) * word_size + 4 + 16 + GAP + 9 + ps_strings_size(word_size)
        assert length(word_size, 2, 3, 5, 10, 9) == -(-plain // 16) * 16
    assert len(made().data) == length(8, 3, 1, argument_words(8, has_aux=True), 14, 0)


def test_no_room() -> None:
    nbytes = len(made().data)
    made(limit=nbytes)
    with pytest.raises(ENOMEM):
        made(limit=nbytes - 1)


@row("netbsd", "sys_execve, STACK_GROW, STACK_ALLOC",
     "a stack that grows down has argc at its pointer and ps_strings at its fixed end")
def test_down() -> None:
    at = spots(TOP, 0x400, 0, 8)
    assert at.arguments == at.sp == TOP - 0x400
    assert at.ps_strings == TOP - 32


@row("netbsd", "sys_execve, __MACHINE_STACK_GROWS_UP",
     "one that grows up has ps_strings first, then the trampoline's room, 32 bytes, argc, and the pointer behind it all")
def test_up() -> None:
    at = spots(0x10000, 0x400, 24, 8, grows_up=True)
    assert at.ps_strings == 0x10000
    assert at.arguments == 0x10000 + 32 + 24 + UPWARD_ROOM
    assert at.sp == 0x10400


def test_sizes_of_the_vectors_room() -> None:
    assert argument_words(8, has_aux=True) * 8 == 1272
    assert argument_words(4, has_aux=True) * 4 == 1152
    assert stack.AUX_ENTRIES == 15
