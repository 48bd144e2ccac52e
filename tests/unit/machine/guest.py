"""Guest programs of a few bytes, and how to start them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ring3.abi.stop import StopKind
from ring3.abi.x86 import RIP, RSP, Arch

if TYPE_CHECKING:
    from ring3.machine.native import NativeMachine
    from ring3.machine.native.cpu import NativeCpu
    from ring3.machine.native.space import NativeSpace

TEXT = 0x40_0000
DATA = 0x50_0000
STACK = 0x60_0000
PAGE = 4096

SYSCALL = b"\x0f\x05"
INT80 = b"\xcd\x80"
SYSENTER = b"\x0f\x34"
INT3 = b"\xcc"
UD2 = b"\x0f\x0b"
SPIN = b"\xeb\xfe"


def mov_eax(value: int) -> bytes:
    return b"\xb8" + struct.pack("<I", value & 0xFFFF_FFFF)


def mov_edi(value: int) -> bytes:
    return b"\xbf" + struct.pack("<I", value & 0xFFFF_FFFF)


def mov_esi(value: int) -> bytes:
    return b"\xbe" + struct.pack("<I", value & 0xFFFF_FFFF)


def movabs(register: int, value: int) -> bytes:
    """`movabs reg, value`; rax 0, rcx 1, rdx 2, rbx 3, rsi 6, rdi 7."""
    return bytes((0x48, 0xB8 + register)) + struct.pack("<Q", value & (1 << 64) - 1)


JMP_RAX = b"\xff\xe0"
CALL_RAX = b"\xff\xd0"


def load(machine: NativeMachine, program: bytes, space: NativeSpace | None = None) -> NativeCpu:
    """A stopped thread at the beginning of `program`, with a page of data and one of stack."""
    if space is None:
        space = machine.new_space()
        with space.batch():
            space.map_anonymous(TEXT, PAGE, 7)
            space.map_anonymous(DATA, PAGE, 3)
            space.map_anonymous(STACK, PAGE, 3)
    assert space.write(TEXT, program) == len(program)
    cpu = machine.new_thread(space)
    cpu.regs[RIP] = TEXT
    cpu.regs[RSP] = STACK + PAGE - 64
    return cpu


def run(machine: NativeMachine, cpu: NativeCpu) -> StopKind:
    """Resume, and the kind of the stop that follows."""
    cpu.resume()
    assert machine.wait() is cpu
    return cpu.kind


def at_call(cpu: NativeCpu, number: int, arch: Arch = Arch.X86_64) -> bool:
    return cpu.kind is StopKind.SYSCALL and cpu.regs[15] == number and cpu.arch is arch
