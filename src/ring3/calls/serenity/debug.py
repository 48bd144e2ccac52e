"""SerenityOS's calls that write to the kernel's log: dbgputstr and dump_backtrace.

The log is `System.on_debug`: `ring3 run` prints it to standard error, with who wrote it; where nobody listens it goes nowhere.
What one call may write is bounded here, what a run may print by who prints it (`cli/policy.py`).
Source: Kernel/Syscalls/debug.cpp (reference, section 2.3).
"""

from __future__ import annotations

import struct
from typing import Final

from ring3.abi.x86 import RBP, RIP
from ring3.calls.serenity.argument import copy_text
from ring3.calls.sysarg import InBuf, Size
from ring3.calls.syscall import syscall
from ring3.errors import EFAULT, ENOMEM
from ring3.proc.proc import Thread

SHORT: Final = 1024                 # what is copied as it is; a longer text ends at its first zero
MOST_BYTES: Final = 1 << 20
FRAMES_MAX: Final = 64


@syscall(pledge="")
def sys_dbgputstr(t: Thread, characters: InBuf, size: Size) -> int:
    """Write to the kernel's log; how many bytes were written.  EFAULT, ENOMEM over 1 MiB."""
    if size > MOST_BYTES:
        raise ENOMEM
    text = t.proc.vm.copyin(characters, size) if 0 < size <= SHORT else copy_text(t, characters, size)
    if text and t.system.on_debug is not None:
        t.system.on_debug(t.proc, text)
    return len(text)


@syscall(pledge="")
def sys_dump_backtrace(t: Thread) -> int:
    """Write to the kernel's log where the caller is: return addresses, by its chain of frames, as far as that can be read."""
    if t.system.on_debug is not None:
        frames = " ".join(f"{addr:#x}" for addr in _frames(t))
        t.system.on_debug(t.proc, f"backtrace: {frames}\n".encode())
    return 0


def _frames(t: Thread) -> list[int]:
    """Addresses, the innermost first; a chain that does not go upwards ends there."""
    regs, vm = t.cpu.regs, t.proc.vm
    found, frame = [int(regs[RIP])], int(regs[RBP])
    while len(found) < FRAMES_MAX:
        try:
            above, back = struct.unpack("<QQ", vm.copyin(frame, 16))
        except EFAULT:
            break
        if not back:
            break
        found.append(back)
        if above <= frame:
            break
        frame = above
    return found
