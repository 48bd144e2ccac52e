"""The extended CPU state in a signal frame: Linux's additions to the XSAVE area, and what it makes of one that comes back.

The 48 bytes at 464 of the legacy area are the kernel's: a magic word, the sizes and components that follow, so that old programs,
which know 512 bytes, and new ones find what they look for; a second magic word stands behind everything.
Source: arch/x86/kernel/fpu/signal.c, arch/x86/include/uapi/asm/sigcontext.h (`struct _fpx_sw_bytes`).
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.errors import EFAULT
from ring3.proc.proc import Thread

FRAME_TAIL: Final = struct.Struct("<I")
_MAGIC1: Final = 0x46505853
_MAGIC2: Final = 0x46505845
_SW: Final = struct.Struct("<IIQI28x")           # magic1, extended_size, xfeatures, xstate_size
_SW_AT: Final = 464
_LEGACY: Final = 512
_HEADER_END: Final = 576
_FP_SSE: Final = 3


def xstate_frame(t: Thread, *, more: int = 0) -> bytes:
    """The area as a frame holds it; `more` bytes stand before it and count (i386's old format)."""
    facts = t.system.facts
    state = bytearray(t.cpu.read_xstate().ljust(facts.xstate_size, b"\0"))
    size = len(state)
    if size <= _HEADER_END - 64:
        return bytes(state)                      # a CPU without XSAVE: nothing to say
    _SW.pack_into(state, _SW_AT, _MAGIC1, size + FRAME_TAIL.size + more, facts.xfeatures, size)
    components = struct.unpack_from("<Q", state, _LEGACY)[0]
    struct.pack_into("<QQ", state, _LEGACY, components | _FP_SSE, 0)
    return bytes(state) + FRAME_TAIL.pack(_MAGIC2)


def legal_xstate(t: Thread, addr: int, legacy: bytes, size: int) -> bytes:
    """The state to load from a frame at `addr` whose first 512 bytes are `legacy`: all of it, or x87 and SSE only.

    The header is left for the machine to judge.  Raises EFAULT.
    """
    magic, extended, xfeatures, xstate_size = _SW.unpack_from(legacy, _SW_AT)
    vm = t.proc.vm
    whole = (
        magic == _MAGIC1
        and _HEADER_END <= xstate_size <= size
        and xstate_size <= extended
        and _word(vm.copyin(addr + xstate_size, 4)) == _MAGIC2
    )
    if not whole:
        state = bytearray(legacy.ljust(size, b"\0"))
        state[_SW_AT:_LEGACY] = bytes(_LEGACY - _SW_AT)
        struct.pack_into("<Q", state, _LEGACY, _FP_SSE)
        return bytes(state)
    state = bytearray(legacy + vm.copyin(addr + _LEGACY, xstate_size - _LEGACY))
    state.extend(bytes(size - len(state)))
    state[_SW_AT:_LEGACY] = bytes(_LEGACY - _SW_AT)
    components = struct.unpack_from("<Q", state, _LEGACY)[0]
    if not components & ~t.system.facts.xfeatures:
        struct.pack_into("<Q", state, _LEGACY, components & xfeatures)
    return bytes(state)


def _word(data: bytes) -> int:
    if len(data) != 4:
        raise EFAULT
    return int.from_bytes(data, "little")
