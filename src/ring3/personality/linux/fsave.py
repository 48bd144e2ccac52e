"""The x87 state in the two formats of x86: FXSAVE, as the CPU keeps it, and FSAVE, as i386 frames show it.

    >>> hex(full_tags(bytes(512)) & 0xFFFF)
    '0xffff'

Source: arch/x86/kernel/fpu/regset.c (convert_from_fxsr, convert_to_fxsr), Intel SDM 1 chapter 8.
"""

from __future__ import annotations

import struct
from typing import Final

FSAVE_SIZE: Final = 112
_ENV: Final = struct.Struct("<7I")          # control, status, tag, ip, cs, operand, ds: all as 32-bit words
_STACK_AT: Final = 28
_FX_STACK_AT: Final = 32
_EMPTY, _SPECIAL, _ZERO, _VALID = 3, 2, 1, 0
_HIGH: Final = 0xFFFF_0000


def full_tags(fx: bytes) -> int:
    """The 16-bit tag word that FXSAVE only keeps as "empty or not", with its upper half set as FSAVE has it."""
    top = fx[3] >> 3 & 7
    present = fx[4]
    tags = _HIGH
    for register in range(8):
        tag = _EMPTY
        if present >> register & 1:
            at = _FX_STACK_AT + 16 * ((register - top) & 7)
            tag = _tag(int.from_bytes(fx[at : at + 8], "little"), int.from_bytes(fx[at + 8 : at + 10], "little") & 0x7FFF)
        tags |= tag << 2 * register
    return tags


def _tag(significand: int, exponent: int) -> int:
    if exponent == 0x7FFF:
        return _SPECIAL
    if exponent == 0:
        return _SPECIAL if significand else _ZERO
    return _VALID if significand >> 63 else _SPECIAL


def short_tags(tags: int) -> int:
    """One bit for each register that is not empty."""
    return sum(1 << register for register in range(8) if tags >> 2 * register & 3 != _EMPTY)


def fsave_of(fx: bytes, cs: int, ds: int) -> bytes:
    """struct _fpstate_32's first 112 bytes, from an FXSAVE area."""
    control, status = struct.unpack_from("<HH", fx)
    ip, operand = (int.from_bytes(fx[at : at + 4], "little") for at in (8, 16))
    env = _ENV.pack(control | _HIGH, status | _HIGH, full_tags(fx), ip, cs, operand, ds | _HIGH)
    stack = b"".join(fx[at : at + 10] for at in range(_FX_STACK_AT, _FX_STACK_AT + 128, 16))
    return env + stack + struct.pack("<HH", status, 0)


def fxsave_with(state: bytes, fsave: bytes) -> bytes:
    """An XSAVE area whose x87 part is what an FSAVE area says."""
    control, status, tags, ip, cs, operand, _ds = _ENV.unpack_from(fsave)
    fx = bytearray(state)
    struct.pack_into("<HHBxHQQ", fx, 0, control & 0xFFFF, status & 0xFFFF, short_tags(tags), cs >> 16, ip, operand)
    for register in range(8):
        at = _FX_STACK_AT + 16 * register
        fx[at : at + 10] = fsave[_STACK_AT + 10 * register : _STACK_AT + 10 * register + 10]
    return bytes(fx)
