"""What a policy costs a call, in Python instructions: counted, not timed, on the scripted machine, where no noise hides it.

    python -m benchmarks.gate

Each row is one system call from its trap to its answer, many times over, for a process without a policy, one that is held to
promises, and one that has a veil too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from ring3.abi import x86
from ring3.calls.gate import gate
from ring3.calls.trap import trap
from ring3.policy import promises
from ring3.policy.confinement import Confinement, new_veil
from ring3.policy.veil import parse_permissions
from tests.unit.calls.stage import NUMBERS64, Guest, Stage

ROUNDS = 200
CALLS: tuple[tuple[str, tuple[int | bytes, ...]], ...] = (("getppid", ()), ("stat", (b"/dev/null", bytes(200))))
LIMIT = 1.05


def instructions(action: Callable[[], object]) -> int:
    """How many bytecode instructions `action` executes."""
    count = 0

    def local(frame: FrameType, event: str, _arg: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return local

    before = sys.gettrace()
    sys.settrace(local)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


def one(guest: Guest, name: str, *args: int | bytes) -> Callable[[], None]:
    """A call made again and again, from its trap to its answer; bytes are put into the guest's memory."""
    t = guest.t
    words = [guest.put(arg + b"\0") if isinstance(arg, bytes) else arg for arg in args]
    registers = [(x86.ORIG_RAX, NUMBERS64[name]), *zip((x86.RDI, x86.RSI, x86.RDX, x86.R10), words, strict=False)]

    def again() -> None:
        for _ in range(ROUNDS):
            for index, value in registers:
                t.cpu.regs[index] = value & x86.MASK64
            trap(t)

    return again


def main() -> int:
    """Print the table; status 1 when a policy costs more than it may."""
    worst = 0.0
    print(f"{'call':10} {'policy':22} {'instructions':>12} {'ratio':>7}")
    for name, args in CALLS:
        plain = 0
        for policy in ("none", "pledge", "pledge and unveil"):
            stage = Stage()
            guest = stage.guest()
            if policy != "none":
                veil = new_veil(stage.system, {b"/dev": parse_permissions("rw")}) if "unveil" in policy else None
                guest.t.proc.confine(Confinement(gate, promises.parse("stdio rpath"), veil=veil))
            action = one(guest, name, *args)
            action()
            count = instructions(action) // ROUNDS
            plain = plain or count
            ratio = count / plain
            worst = max(worst, ratio)
            print(f"{name:10} {policy:22} {count:12} {ratio:7.3f}")
            stage.close()
    print(f"worst of getppid and stat: {worst:.3f} (at most {LIMIT})")
    return int(worst > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
