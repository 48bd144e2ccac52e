"""The initial stack as bytes, the way System V systems lay it out and Linux fills it (fs/binfmt_elf.c:
create_elf_tables).

From high to low addresses:

    8 zero bytes                    (a word of the kernel's own; 8 on 32-bit images too)
    the program's name (AT_EXECFN), environment strings, argument strings, each list with its first string lowest
    ...                             gap: alignment, and some randomness
    the platform's name
    16 random bytes                 gap: alignment
    auxiliary vector, 0 | environment pointers, 0 | argument pointers, 0
    argc                            <- the stack pointer, a multiple of 16

What stands in the auxiliary vector is the personality's affair; entries that point into the stack are handed their
addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from ring3.exec.plan import Aux, StackImage

ABOVE: Final = 8            # bytes over the first string


class Pointers:
    """The addresses that auxv entries need."""

    __slots__ = ("execfn", "platform", "random")

    def __init__(self, execfn: int, platform: int, random: int) -> None:
        self.execfn = execfn
        self.platform = platform
        self.random = random


def string_bytes(execfn: bytes, argv: Sequence[bytes], envp: Sequence[bytes]) -> int:
    """How many bytes the strings take, zeros included."""
    return len(execfn) + 1 + sum(map(len, argv)) + len(argv) + sum(map(len, envp)) + len(envp)


def build(
    *,
    top: int,
    word_size: int,
    execfn: bytes,
    argv: Sequence[bytes],
    envp: Sequence[bytes],
    platform: bytes,
    random_bytes: bytes,
    shuffle: int,
    auxv: Callable[[Pointers], list[Aux]],
) -> StackImage:
    r"""The stack that ends at `top`.  `shuffle` bytes are skipped below the strings, as Linux does to spread cache
    lines.

    >>> image = build(top=0x10000, word_size=8, execfn=b"x", argv=[b"a"], envp=[], platform=b"p", random_bytes=bytes(16), shuffle=0,
    ...               auxv=lambda at: [Aux(31, at.execfn)])
    >>> image.sp % 16, image.data[:8], image.data[-12:]
    (0, b'\x01\x00\x00\x00\x00\x00\x00\x00', b'a\x00x\x00\x00\x00\x00\x00\x00\x00\x00\x00')
    """
    mask = (1 << 8 * word_size) - 1
    strings = b"\0".join((*argv, *envp, execfn)) + b"\0"
    arg_start = top - ABOVE - len(strings)
    pointers: list[int] = []
    at = arg_start
    for string in argv:
        pointers.append(at)
        at += len(string) + 1
    pointers.append(0)
    arg_end = at
    for string in envp:
        pointers.append(at)
        at += len(string) + 1
    pointers.append(0)
    platform_at = ((arg_start - shuffle) & ~15) - len(platform) - 1
    block = platform_at - len(random_bytes)
    entries = (*auxv(Pointers(at, platform_at, block)), Aux(0, 0))
    vector = [word & mask for entry in entries for word in entry]
    sp = (block - (1 + len(pointers) + len(vector)) * word_size) & ~15
    code = "Q" if word_size == 8 else "I"
    words = struct.pack(f"<{1 + len(pointers) + len(vector)}{code}", len(argv), *(p & mask for p in pointers), *vector)
    data = b"".join((
        words,
        bytes(block - sp - len(words)),
        random_bytes,
        platform, b"\0",
        bytes(arg_start - platform_at - len(platform) - 1),
        strings,
        bytes(ABOVE),
    ))
    return StackImage(
        sp=sp, data=data, arg_start=arg_start, arg_end=arg_end, env_start=arg_end, env_end=at, auxv=entries,
        auxv_bytes=struct.pack(f"<{len(vector)}{code}", *vector),
    )
