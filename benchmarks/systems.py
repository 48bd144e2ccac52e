"""What a NetBSD program's call costs beside a Linux one's, in Python instructions: counted, not timed, on the scripted machine.

    python -m benchmarks.systems

Each row is one call from its trap to its answer, made by a Linux process and by a NetBSD one; where a call does more on one of the
two, the row says what.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence

from benchmarks.gate import instructions
from ring3.abi import x86
from ring3.calls.trap import trap
from tests.unit.calls.netbsd.netguest import NUMBERS, netbsd_guest
from tests.unit.calls.stage import NUMBERS64, Guest, Stage

ROUNDS = 200
LIMIT = 32                      # instructions, under half a microsecond: the carry flag and a second register are NetBSD's own
Arg = int | bytes
PATH, ROOM = b"/dev/null\0", bytes(256)

# Linux's name and arguments, NetBSD's, and why the second does more if it does.  A descriptor 0 is open.
CALLS: tuple[tuple[str, tuple[Arg, ...], str, tuple[Arg, ...], str], ...] = (
    ("getppid", (), "getppid", (), ""),
    ("read", (0, ROOM, 64), "read", (0, ROOM, 64), ""),
    ("write", (0, ROOM, 64), "write", (0, ROOM, 64), ""),
    ("fstat", (0, ROOM), "__fstat50", (0, ROOM), "a fourth time"),
    ("stat", (PATH, ROOM), "__stat50", (PATH, ROOM), "a fourth time"),
    ("access", (PATH, 4), "access", (PATH, 4), ""),
    ("kill", (4_000_000, 0), "kill", (4_000_000, 0), ""),
    ("clock_gettime", (1, ROOM), "__clock_gettime50", (3, ROOM), ""),
    ("getuid", (), "getuid", (), "the effective id too"),
    ("rt_sigprocmask", (2, ROOM, 0, 8), "__sigprocmask14", (3, ROOM, 0), ""),
    ("lseek", (0, 0, 0), "lseek", (0, 0, 0, 0), "two words on i386"),
    ("sched_yield", (), "sched_yield", (), ""),
    ("getcwd", (ROOM, 256), "__getcwd", (ROOM, 256), ""),
    ("mprotect", (0x10_0000, 4096, 3), "mprotect", (0x10_0000, 4096, 3), ""),
)


def again(guest: Guest, number: int, args: Sequence[Arg]) -> Callable[[], None]:
    """One call made over and over; bytes are put into the guest's memory."""
    t = guest.t
    words = [guest.put(arg) if isinstance(arg, bytes) else arg for arg in args]
    registers = [(x86.ORIG_RAX, number), (x86.RAX, number), *zip(t.abi.argument_registers, words, strict=False)]

    def make() -> None:
        for _ in range(ROUNDS):
            for index, value in registers:
                t.cpu.regs[index] = value & x86.MASK64
            trap(t)

    return make


def count(system: str, name: str, args: Sequence[Arg]) -> int:
    """How many instructions one call of a process of that system takes."""
    stage = Stage()
    try:
        guest = stage.guest() if system == "linux" else netbsd_guest(stage)
        number = NUMBERS64[name] if system == "linux" else NUMBERS[name]
        guest.call("open", guest.put(PATH), 2, 0)
        action = again(guest, number, args)
        action()
        gc.collect()
        gc.disable()                            # what ends meanwhile would be counted too
        return instructions(action) // ROUNDS
    finally:
        gc.enable()
        stage.close()


def main() -> int:
    """Print the table; status 1 when a call that does no more costs more than it may."""
    print(f"{'call':20} {'Linux':>6} {'NetBSD':>7} {'ratio':>6}")
    worst = 0
    for linux, linux_args, netbsd, netbsd_args, more in CALLS:
        ours, theirs = count("linux", linux, linux_args), count("netbsd", netbsd, netbsd_args)
        print(f"{netbsd:20} {ours:6} {theirs:7} {theirs / ours:6.2f}  {more}")
        if not more:
            worst = max(worst, theirs - ours)
    print(f"\nat most {worst} more where both do the same (limit {LIMIT})")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
