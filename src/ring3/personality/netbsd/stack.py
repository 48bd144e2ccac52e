"""The initial stack of a NetBSD image (kern_exec.c: sys_execve, copyargs; exec_elf.c: elf_copyargs).

From high to low addresses, the stack growing down:

    ps_strings                      where the lists below are, and how long; a program may point it elsewhere
    room for a signal trampoline    of emulations that have one
    spare bytes (STACKGAPLEN), and what alignment takes
    strings of the arguments, strings of the environment
    auxiliary vector, 0, the program's path, spare      (es_arglen words: always the same room)
    environment pointers, 0
    argument pointers, 0
    argc                            <- the stack pointer, a multiple of 16

Where the stack grows up, ps_strings and the trampoline come first, then (32 bytes on) the rest in the same order.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from ring3.errors import ENOMEM
from ring3.exec.plan import Aux, StackImage
from ring3.namedtuple import NamedTuple

GAP: Final = 512                    # STACKGAPLEN
UPWARD_ROOM: Final = 32             # what an interpreter may use before argc where stacks grow up
EXEC_NAME: Final = 1024             # the path's room
AUX_ENTRIES: Final = 15
_INT: Final = 4
_PS_STRINGS: Final = {8: struct.Struct("<Qi4xQi4x"), 4: struct.Struct("<IiIi")}


class Spots(NamedTuple):
    """Where things go in a stack: argc, the stack pointer, ps_strings."""

    arguments: int
    sp: int
    ps_strings: int


def ps_strings_size(word_size: int) -> int:
    """Bytes of struct ps_strings."""
    return _PS_STRINGS[word_size].size


def argument_words(word_size: int, *, has_aux: bool) -> int:
    """es_arglen: the words between the environment's end and the strings."""
    return 2 * AUX_ENTRIES + (EXEC_NAME + 8) // word_size if has_aux else 0


def length(word_size: int, argc: int, envc: int, words: int, strings: int, sigcode: int) -> int:
    """What a new stack takes, by the seed's sum: `words` is es_arglen, `strings` their bytes, zeros included.

    >>> length(8, 1, 0, 0, 2, 0) - length(4, 1, 0, 0, 2, 0)
    32
    """
    total = (argc + envc + 2 + words) * word_size + _INT + _align(strings, 8) + GAP + sigcode + ps_strings_size(word_size)
    return _align(total, 16)


def spots(fixed_end: int, nbytes: int, sigcode: int, word_size: int, *, grows_up: bool = False) -> Spots:
    """Where things go in a stack of `nbytes` at its fixed end (STACK_ALLOC, STACK_GROW of sys/param.h).

    >>> [hex(at) for at in spots(0x10000, 0x400, 0, 8)]
    ['0xfc00', '0xfc00', '0xffe0']
    """
    if grows_up:
        kept = ps_strings_size(word_size) + sigcode
        return Spots(fixed_end + kept + UPWARD_ROOM, fixed_end + nbytes, fixed_end)
    return Spots(fixed_end - nbytes, fixed_end - nbytes, fixed_end - ps_strings_size(word_size))


def build(
    *,
    top: int,
    limit: int,
    word_size: int,
    argv: Sequence[bytes],
    envp: Sequence[bytes],
    sigcode: int,
    path: bytes,
    auxv: Callable[[int], list[Aux]] | None,
) -> StackImage:
    """The stack that ends at `top`.  `auxv` is called with the address of the program's path, 0 when that is too long;
    None: an image without a vector.  `sigcode`: bytes kept for a trampoline.

    Raises ENOMEM when it takes more than `limit` bytes.
    """
    words = argument_words(word_size, has_aux=auxv is not None)
    strings = b"".join(string + b"\0" for string in (*argv, *envp))
    nbytes = length(word_size, len(argv), len(envp), words, len(strings), sigcode)
    if nbytes > limit:
        raise ENOMEM("arguments and environment do not fit into the stack")
    at = spots(top, nbytes, sigcode, word_size)
    argv_at = at.arguments + word_size
    envp_at = argv_at + (len(argv) + 1) * word_size
    vector_at = envp_at + (len(envp) + 1) * word_size
    strings_at = vector_at + words * word_size
    pointers, end = _pointers(strings_at, argv)
    arg_end = end
    env_pointers, end = _pointers(end, envp)
    entries, vector, tail = _vector(vector_at, word_size, path, auxv)
    code, mask = ("Q", (1 << 64) - 1) if word_size == 8 else ("I", (1 << 32) - 1)
    block = struct.pack(
        f"<{3 + len(argv) + len(envp)}{code}", len(argv), *(p & mask for p in (*pointers, 0, *env_pointers, 0)),
    ) + (vector + tail).ljust(words * word_size, b"\0") + strings
    told = _PS_STRINGS[word_size].pack(argv_at & mask, len(argv), envp_at & mask, len(envp))
    data = block.ljust(at.ps_strings - at.arguments, b"\0") + told
    return StackImage(
        sp=at.sp, data=data, arg_start=strings_at, arg_end=arg_end, env_start=arg_end, env_end=end, auxv=entries,
        auxv_bytes=vector, ps_strings=at.ps_strings,
    )


def _pointers(at: int, strings: Sequence[bytes]) -> tuple[list[int], int]:
    found = []
    for string in strings:
        found.append(at)
        at += len(string) + 1
    return found, at


def _vector(
    at: int, word_size: int, path: bytes, auxv: Callable[[int], list[Aux]] | None
) -> tuple[tuple[Aux, ...], bytes, bytes]:
    """The entries, their bytes, and the path that follows them."""
    if auxv is None:
        return (), b"", b""
    name = path + b"\0" if len(path) < EXEC_NAME else b""
    count = len(auxv(1 if name else 0)) + 1
    entries = (*auxv(at + count * 2 * word_size if name else 0), Aux(0, 0))
    mask = (1 << 8 * word_size) - 1
    code = "Q" if word_size == 8 else "I"
    return entries, struct.pack(f"<{2 * count}{code}", *(word & mask for entry in entries for word in entry)), name


def _align(nbytes: int, unit: int) -> int:
    return -(-nbytes // unit) * unit
