"""The registers of an x86 thread, in the order of Linux's `struct user_regs_struct` (sys/user.h).

Every machine shows a thread's registers as 27 unsigned 64-bit words in this order, whatever CPU it runs on.
Source: sys/user.h, System V ABI AMD64 3.2.
"""

from __future__ import annotations

import enum
from typing import Final

R15: Final = 0
R14: Final = 1
R13: Final = 2
R12: Final = 3
RBP: Final = 4
RBX: Final = 5
R11: Final = 6
R10: Final = 7
R9: Final = 8
R8: Final = 9
RAX: Final = 10
RCX: Final = 11
RDX: Final = 12
RSI: Final = 13
RDI: Final = 14
ORIG_RAX: Final = 15
RIP: Final = 16
CS: Final = 17
EFLAGS: Final = 18
RSP: Final = 19
SS: Final = 20
FS_BASE: Final = 21
GS_BASE: Final = 22
DS: Final = 23
ES: Final = 24
FS: Final = 25
GS: Final = 26
NREGS: Final = 27

CS_64: Final = 0x33        # __USER_CS
CS_32: Final = 0x23        # __USER32_CS
SS_USER: Final = 0x2B      # __USER_DS

EFLAGS_CF: Final = 1 << 0
EFLAGS_PF: Final = 1 << 2
EFLAGS_AF: Final = 1 << 4
EFLAGS_ZF: Final = 1 << 6
EFLAGS_SF: Final = 1 << 7
EFLAGS_TF: Final = 1 << 8
EFLAGS_IF: Final = 1 << 9
EFLAGS_DF: Final = 1 << 10
EFLAGS_OF: Final = 1 << 11
EFLAGS_NT: Final = 1 << 14
EFLAGS_RF: Final = 1 << 16
EFLAGS_AC: Final = 1 << 18

MASK64: Final = 0xFFFF_FFFF_FFFF_FFFF
MASK32: Final = 0xFFFF_FFFF


class Arch(enum.Enum):
    """An instruction set as a system call sees it: 64-bit `syscall`, or 32-bit `int 0x80`."""

    X86_64 = "x86_64"
    I386 = "i386"

    __hash__ = object.__hash__      # by identity, as members compare: a table is asked by `Arch` at every call

    @property
    def word_size(self) -> int:
        """Bytes of a pointer."""
        return 8 if self is Arch.X86_64 else 4
