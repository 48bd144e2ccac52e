"""Why a thread of execution stopped: what machines tell and traps serve."""

from __future__ import annotations

import enum

from ring3.namedtuple import NamedTuple


class StopKind(enum.Enum):
    """Why a `Cpu` stopped."""

    SYSCALL = "syscall"        # about to enter a system call; `cpu.arch` tells by which instruction set
    FAULT = "fault"            # the CPU raised an exception: `cpu.fault`
    INTERRUPT = "interrupt"    # `interrupt` was asked for
    SIGNAL = "signal"          # somebody outside sent the host task a signal: `cpu.fault.signal`; not the guest's doing
    KILLED = "killed"          # the host task is gone (killed from outside): `cpu.fault.signal` tells by what


class Fault(NamedTuple):
    """A CPU exception as the host's kernel described it.  Linux signal number and `si_code` (host facts of x86 Linux)."""

    signal: int
    code: int
    addr: int
