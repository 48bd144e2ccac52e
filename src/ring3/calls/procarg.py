"""The kinds of arguments that the calls about processes, signals, memory and clocks take beside the general ones of `sysarg.py`.

Most structs come as addresses (`At`): such a call looks at them in its own order, so that its errors come in Linux's order;
printing reads them once more, when somebody watches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from ring3.abi.filerecords import TimerSpec, TimerSpec64
from ring3.abi.flags import CloneFlags
from ring3.abi.procrecords import (
    Int32,
    ITimerVal,
    OldRlimits,
    OldSigAction,
    OldSigSet,
    Rlimits,
    Rusage,
    SigSet,
    Timex,
    Tms,
    UInt32,
    UserDesc,
    WaitStatus,
    Word,
)
from ring3.abi.records import Timespec, Timespec64, Timeval
from ring3.abi.signals import AltStack, SigAction, SigInfo, SignalDefaults, signal_name
from ring3.calls import shown
from ring3.calls.guest import fetch
from ring3.calls.sysarg import Address, Decoder, Flags, Kind, Number, Unsigned32, show_flags, show_record
from ring3.errors import Errno
from ring3.proc.proc import Rlimit, Thread
from ring3.protocols import Abi


class At(Kind):
    """The address of a struct that the call reads itself; with `out`, one it fills in."""

    def __init__(self, record: type, show: Callable[..., str], *, out: bool = False) -> None:
        self.record = record
        self.text = show
        self.out = out

    def _look(self, t: Thread, addr: int) -> str:
        if not addr:
            return "NULL"
        try:
            return self._text(t, fetch(t, self.record, addr))
        except (Errno, NotImplementedError):
            return hex(addr)

    def _text(self, t: Thread, value: Any) -> str:
        del t
        return self.text(value)

    def show(self, t: Thread, value: Any) -> str:
        if self.out or not value:
            return hex(value) if value else "NULL"
        return self._look(t, value)

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return self._look(t, value) if self.out and result >= 0 else None


class OfSignals(At):
    """As `At`, where the struct speaks of signals: by the names of the system whose program it is."""

    def __init__(self, record: type, show: Callable[[Any, SignalDefaults], str], *, out: bool = False) -> None:
        super().__init__(record, show, out=out)

    def _text(self, t: Thread, value: Any) -> str:
        return self.text(value, t.proc.personality.signal_defaults)


class Listed(At):
    """As `At`, shown in brackets: a pointer to one integer."""

    def __init__(self, record: type, *, out: bool = False) -> None:
        super().__init__(record, lambda value: f"[{value}]", out=out)


class CloneWord(Kind):
    """clone's flags with the exit signal in the low byte."""

    def compile(self, abi: Abi) -> Decoder:
        return lambda _t, word: word & 0xFFFF_FFFF

    def show(self, t: Thread, value: Any) -> str:
        signo = value & 0xFF
        text = show_flags(CloneFlags, value & ~0xFF, "", "CLONE_")
        name = signal_name(signo) if 1 <= signo <= 64 else str(signo) if signo else ""
        return "|".join(part for part in (text, name) if part) or "0"


class Bits(Unsigned32):
    """Flags of one call, from a table of values and names."""

    def __init__(self, names: Mapping[int, str], zero: str = "0") -> None:
        self.names = names
        self.zero = zero

    def show(self, t: Thread, value: Any) -> str:
        found = []
        for bits, name in self.names.items():
            if bits and value & bits == bits:
                found.append(name)
                value &= ~bits
        if value:
            found.append(hex(value))
        return "|".join(found) or self.zero


_FUTEX = (
    "WAIT", "WAKE", "FD", "REQUEUE", "CMP_REQUEUE", "WAKE_OP", "LOCK_PI", "UNLOCK_PI", "TRYLOCK_PI", "WAIT_BITSET", "WAKE_BITSET",
    "WAIT_REQUEUE_PI", "CMP_REQUEUE_PI", "LOCK_PI2",
)


class FutexOperation(Unsigned32):
    """futex's operation: `FUTEX_WAIT_PRIVATE`."""

    def show(self, t: Thread, value: Any) -> str:
        operation = value & 0x7F
        if operation >= len(_FUTEX):
            return hex(value)
        name = f"FUTEX_{_FUTEX[operation]}"
        return name + ("_PRIVATE" if value & 128 else "") + ("|FUTEX_CLOCK_REALTIME" if value & 256 else "")


_CLOCKS = (
    "REALTIME", "MONOTONIC", "PROCESS_CPUTIME_ID", "THREAD_CPUTIME_ID", "MONOTONIC_RAW", "REALTIME_COARSE", "MONOTONIC_COARSE",
    "BOOTTIME", "REALTIME_ALARM", "BOOTTIME_ALARM", "SGI_CYCLE", "TAI",
)

ClockId = Annotated[int, Number({number: f"CLOCK_{name}" for number, name in enumerate(_CLOCKS)})]
FutexOp = Annotated[int, FutexOperation()]
CloneFlagWord = Annotated[int, CloneWord()]
ResourceArg = Annotated[int, Number({int(which): f"RLIMIT_{which.name}" for which in Rlimit})]
HowArg = Annotated[int, Number({0: "SIG_BLOCK", 1: "SIG_UNBLOCK", 2: "SIG_SETMASK"})]
ITimerArg = Annotated[int, Number({0: "ITIMER_REAL", 1: "ITIMER_VIRTUAL", 2: "ITIMER_PROF"})]
UsageWho = Annotated[int, Number({0: "RUSAGE_SELF", -1: "RUSAGE_CHILDREN", 1: "RUSAGE_THREAD"})]
WaitKind = Annotated[int, Number({0: "P_ALL", 1: "P_PID", 2: "P_PGID", 3: "P_PIDFD"})]
PriorityWhich = Annotated[int, Number({0: "PRIO_PROCESS", 1: "PRIO_PGRP", 2: "PRIO_USER"})]
PolicyArg = Annotated[int, Number({0: "SCHED_OTHER", 1: "SCHED_FIFO", 2: "SCHED_RR", 3: "SCHED_BATCH", 5: "SCHED_IDLE"})]
AdviceArg = Annotated[int, Number({
    0: "MADV_NORMAL", 1: "MADV_RANDOM", 2: "MADV_SEQUENTIAL", 3: "MADV_WILLNEED", 4: "MADV_DONTNEED", 8: "MADV_FREE",
    9: "MADV_REMOVE", 10: "MADV_DONTFORK", 11: "MADV_DOFORK", 12: "MADV_MERGEABLE", 13: "MADV_UNMERGEABLE",
    14: "MADV_HUGEPAGE", 15: "MADV_NOHUGEPAGE", 16: "MADV_DONTDUMP", 17: "MADV_DODUMP", 18: "MADV_WIPEONFORK",
    19: "MADV_KEEPONFORK", 20: "MADV_COLD", 21: "MADV_PAGEOUT", 22: "MADV_POPULATE_READ", 23: "MADV_POPULATE_WRITE",
    24: "MADV_DONTNEED_LOCKED", 25: "MADV_COLLAPSE",
})]
SyncFlags = Annotated[int, Bits({1: "MS_ASYNC", 2: "MS_INVALIDATE", 4: "MS_SYNC"})]
RandomFlags = Annotated[int, Bits({1: "GRND_NONBLOCK", 2: "GRND_RANDOM", 4: "GRND_INSECURE"})]
TimerFlags = Annotated[int, Bits({1: "TIMER_ABSTIME"})]
CloneSet = Annotated[CloneFlags, Flags(CloneFlags, prefix="CLONE_")]

TimespecAt = Annotated[int, At(Timespec, shown.time_spec)]
TimespecOut = Annotated[int, At(Timespec, shown.time_spec, out=True)]
Timespec64At = Annotated[int, At(Timespec64, shown.time_spec)]
Timespec64Out = Annotated[int, At(Timespec64, shown.time_spec, out=True)]
TimevalOut = Annotated[int, At(Timeval, shown.time_val, out=True)]
ITimerValAt = Annotated[int, At(ITimerVal, shown.itimer_val)]
ITimerValOut = Annotated[int, At(ITimerVal, shown.itimer_val, out=True)]
TimerSpecAt = Annotated[int, At(TimerSpec, shown.itimer_spec)]
TimerSpecOut = Annotated[int, At(TimerSpec, shown.itimer_spec, out=True)]
TimerSpec64At = Annotated[int, At(TimerSpec64, shown.itimer_spec)]
TimerSpec64Out = Annotated[int, At(TimerSpec64, shown.itimer_spec, out=True)]
SigSetAt = Annotated[int, OfSignals(SigSet, shown.signal_set)]
SigSetOut = Annotated[int, OfSignals(SigSet, shown.signal_set, out=True)]
OldSigSetAt = Annotated[int, OfSignals(OldSigSet, shown.signal_set)]
OldSigSetOut = Annotated[int, OfSignals(OldSigSet, shown.signal_set, out=True)]
ActionAt = Annotated[int, OfSignals(SigAction, shown.action)]
ActionOut = Annotated[int, OfSignals(SigAction, shown.action, out=True)]
OldActionAt = Annotated[int, OfSignals(OldSigAction, shown.action)]
OldActionOut = Annotated[int, OfSignals(OldSigAction, shown.action, out=True)]
AltStackAt = Annotated[int, At(AltStack, shown.alt_stack)]
AltStackOut = Annotated[int, At(AltStack, shown.alt_stack, out=True)]
SigInfoAt = Annotated[int, OfSignals(SigInfo, shown.sig_info)]
SigInfoOut = Annotated[int, OfSignals(SigInfo, shown.sig_info, out=True)]
StatusOut = Annotated[int, OfSignals(WaitStatus, shown.wait_status, out=True)]
IntOut = Annotated[int, Listed(Int32, out=True)]
IdOut = Annotated[int, Listed(UInt32, out=True)]
WordOut = Annotated[int, Listed(Word, out=True)]
RlimitsAt = Annotated[int, At(Rlimits, shown.rlimits)]
RlimitsOut = Annotated[int, At(Rlimits, shown.rlimits, out=True)]
OldRlimitsOut = Annotated[int, At(OldRlimits, shown.rlimits, out=True)]
RusageOut = Annotated[int, At(Rusage, shown.rusage, out=True)]
TmsOut = Annotated[int, At(Tms, shown.tms, out=True)]
TimexAt = Annotated[int, At(Timex, shown.timex)]
UserDescAt = Annotated[int, At(UserDesc, show_record)]
Pointer = Annotated[int, Address()]
