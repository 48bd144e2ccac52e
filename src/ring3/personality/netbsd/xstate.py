"""The floating-point state in a ucontext: 512 bytes as FXSAVE has them, and where the rest of it waits.

NetBSD's mcontext has room for x87 and SSE alone.  What a CPU has beyond (AVX) must survive a handler that uses it, so a signal
frame keeps it on the guest's stack, above NetBSD's part, and the bytes FXSAVE leaves to software say where.  A context without
that word (getcontext's) changes x87 and SSE only.  It is the guest's memory: what comes back is judged by the machine.
Source: Intel SDM 1 13.4 (XSAVE area), 10.5 (FXSAVE area, bytes 464 to 511).
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.errors import EFAULT
from ring3.proc.proc import Thread

LEGACY: Final = 512
_SOFTWARE: Final = 464
_MAGIC: Final = 0x72336672_6E673373
_WORD: Final = struct.Struct("<QQ")          # magic, where the rest of the state is
_FP_SSE: Final = 3


def state_of(t: Thread) -> bytes:
    """The whole extended state; at least 512 bytes."""
    return t.cpu.read_xstate().ljust(LEGACY, b"\0")


def legacy_of(state: bytes, rest_at: int = 0) -> bytes:
    """The first 512 bytes as a context shows them; `rest_at` is where a frame keeps the others."""
    return state[:_SOFTWARE] + (_WORD.pack(_MAGIC, rest_at) if rest_at else bytes(16)) + bytes(LEGACY - _SOFTWARE - 16)


def load(t: Thread, legacy: bytes) -> bool:
    """Make a context's floating-point state the thread's.  False where the CPU would refuse it.

    Raises EFAULT when the frame's other part cannot be read.
    """
    size = t.system.facts.xstate_size
    magic, rest_at = _WORD.unpack_from(legacy, _SOFTWARE)
    in_frame = magic == _MAGIC and size > LEGACY
    rest = t.proc.vm.copyin(rest_at, size - LEGACY) if in_frame else state_of(t)[LEGACY:size]
    state = bytearray(legacy[:_SOFTWARE] + bytes(LEGACY - _SOFTWARE) + rest)
    if size > LEGACY:
        if len(state) != size:
            raise EFAULT
        components = struct.unpack_from("<Q", state, LEGACY)[0]
        struct.pack_into("<Q", state, LEGACY, (components | _FP_SSE) & t.system.facts.xfeatures)
    try:
        t.cpu.write_xstate(bytes(state[:size]))
    except ValueError:
        return False
    return True
