"""SerenityOS's structs of processes, threads, signals and memory: neutral record (or marker) to layout.

Signals are translated in them.  Not here: ucontext and frames (`sigframe.py`).
Source: Kernel/API/POSIX of the tree of 2022-12-30 (reference, section 4.7).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ring3.abi.layout import Custom
from ring3.abi.procrecords import Int32, SigSet, UInt32, Word
from ring3.abi.signals import AltStack, SigAction, SigInfo
from ring3.personality.serenity.signals import (
    SignalNumbers,
    action_flags_outward,
    action_inward,
    mask_inward,
    mask_outward,
)

SIGINFO: Final = struct.Struct("<iiiiI4xQiiQ")
_ACTION: Final = struct.Struct("<QIi")
_STACK: Final = struct.Struct("<Qi4xQ")


def _no_decoding(_data: bytes) -> Any:
    raise NotImplementedError("the kernel only writes this struct")


def encode_siginfo(info: SigInfo) -> bytes:
    """siginfo_t; the code is SerenityOS's already, the signal the kernel's."""
    return SIGINFO.pack(
        SignalNumbers.outward(info.signo), info.code, info.errno, info.pid, info.uid & 0xFFFF_FFFF, info.addr, info.status,
        info.band & 0x7FFF_FFFF, info.value & (1 << 64) - 1,
    )


def _encode_action(action: SigAction) -> bytes:
    flags = action_flags_outward(action)
    return _ACTION.pack(action.handler, mask_outward(action.mask), flags - ((flags & 1 << 31) << 1))


def _integer(codes: str) -> Custom:
    """One integer; what is too wide is cut."""
    form = struct.Struct(codes)
    mask = (1 << (8 * form.size)) - 1
    sign = 1 << (8 * form.size - 1) if codes[-1].islower() else 0

    def encode(value: int) -> bytes:
        value &= mask
        return form.pack(value - ((value & sign) << 1))

    return Custom(form.size, lambda data: form.unpack(data)[0], encode)


def _decode_stack(data: bytes) -> AltStack:
    return AltStack(*_STACK.unpack(data))


LAYOUTS: Final[Mapping[type, Any]] = MappingProxyType({
    SigSet: Custom(
        4, lambda data: mask_inward(int.from_bytes(data, "little")), lambda mask: mask_outward(mask).to_bytes(4, "little")
    ),
    SigInfo: Custom(SIGINFO.size, _no_decoding, encode_siginfo),
    SigAction: Custom(_ACTION.size, lambda data: action_inward(*_ACTION.unpack(data)), _encode_action),
    AltStack: Custom(_STACK.size, _decode_stack, lambda stack: _STACK.pack(*stack)),
    Int32: _integer("<i"),
    UInt32: _integer("<I"),
    Word: _integer("<Q"),
})
