"""How strace(1) prints what the calls about processes, signals and clocks speak of: functions from a value to text.

Not here: the kinds of arguments that use them (`procarg.py`), the general ones (`sysarg.py`).
"""

from __future__ import annotations

from typing import Final

from ring3.abi.procrecords import ITimerVal, Rlimits, Rusage, Timex, Tms
from ring3.abi.signals import (
    CLD_CONTINUED,
    CLD_DUMPED,
    CLD_EXITED,
    CLD_KILLED,
    CLD_STOPPED,
    CLD_TRAPPED,
    LINUX_DEFAULTS,
    NSIG,
    SI_KERNEL,
    SI_QUEUE,
    SI_TIMER,
    SI_TKILL,
    SI_USER,
    SIG_DFL,
    SIG_IGN,
    SS_AUTODISARM,
    SS_DISABLE,
    SS_ONSTACK,
    AltStack,
    SaFlags,
    SigAction,
    SigInfo,
    Signal,
    SignalDefaults,
    signal_name,
)

_SECOND = 1_000_000_000
_TICKS: Final = 100             # of a second: USER_HZ
_ALL = (1 << NSIG) - 1
RLIM_INFINITY = (1 << 64) - 1


def time_spec(ns: int) -> str:
    """A struct timespec.

    >>> time_spec(1_500_000_000)
    '{tv_sec=1, tv_nsec=500000000}'
    """
    seconds, rest = divmod(ns, _SECOND)
    return f"{{tv_sec={seconds}, tv_nsec={rest}}}"


def time_val(ns: int) -> str:
    """A struct timeval."""
    seconds, rest = divmod(ns, _SECOND)
    return f"{{tv_sec={seconds}, tv_usec={rest // 1000}}}"


def ticks(value: int) -> str:
    """A clock_t, with what it is in seconds.

    >>> ticks(15), ticks(0), ticks(300)
    ('15 /* 0.15 s */', '0', '300 /* 3.00 s */')
    """
    seconds, rest = divmod(value, _TICKS)
    return f"{value} /* {seconds}.{rest:02} s */" if value else "0"


def itimer_val(value: ITimerVal) -> str:
    """A struct itimerval."""
    return f"{{it_interval={time_val(value.interval)}, it_value={time_val(value.value)}}}"


def itimer_spec(value: ITimerVal) -> str:
    """A struct itimerspec."""
    return f"{{it_interval={time_spec(value.interval)}, it_value={time_spec(value.value)}}}"


def signal_set(mask: int, system: SignalDefaults = LINUX_DEFAULTS) -> str:
    """A sigset_t; the complement where that is shorter.

    >>> signal_set(0b10), signal_set((1 << 64) - 1), signal_set(0)
    ('[INT]', '~[]', '[]')
    """
    prefix = ""
    if mask.bit_count() >= NSIG * 2 // 3:
        prefix, mask = "~", ~mask & _ALL
    names, left = [], mask & _ALL
    while left:
        lowest = left & -left
        names.append(signal_name(lowest.bit_length(), system.names).removeprefix("SIG"))
        left ^= lowest
    return f"{prefix}[{' '.join(names)}]"


def _flag_names(flags: int, names: tuple[tuple[int, str], ...]) -> str:
    found = []
    for value, name in names:
        if flags & value:
            found.append(name)
            flags &= ~value
    if flags:
        found.append(hex(flags))
    return "|".join(found) or "0"


_ACTION_FLAGS = tuple((int(flag), f"SA_{flag.name}") for flag in sorted(SaFlags, key=lambda flag: (
    ("RESTORER", "ONSTACK", "RESTART", "NODEFER", "RESETHAND", "SIGINFO", "NOCLDSTOP", "NOCLDWAIT").index(flag.name or "")
    if flag.name in ("RESTORER", "ONSTACK", "RESTART", "NODEFER", "RESETHAND", "SIGINFO", "NOCLDSTOP", "NOCLDWAIT") else 99
)))


_RESTORER: Final = int(SaFlags.RESTORER)


def action(value: SigAction, system: SignalDefaults = LINUX_DEFAULTS) -> str:
    """A struct sigaction as the kernel has it."""
    handler = "SIG_DFL" if value.handler == SIG_DFL else "SIG_IGN" if value.handler == SIG_IGN else hex(value.handler)
    flags = _flag_names(value.flags, _ACTION_FLAGS)
    text = f"{{sa_handler={handler}, sa_mask={signal_set(value.mask, system)}, sa_flags={flags}"
    if value.flags & _RESTORER:
        text += f", sa_restorer={value.restorer:#x}"
    return text + "}"


def alt_stack(value: AltStack) -> str:
    """A stack_t."""
    names = ((SS_ONSTACK, "SS_ONSTACK"), (SS_DISABLE, "SS_DISABLE"), (SS_AUTODISARM, "SS_AUTODISARM"))
    sp = hex(value.base) if value.base else "NULL"
    return f"{{ss_sp={sp}, ss_flags={_flag_names(value.flags & 0xFFFFFFFF, names)}, ss_size={value.size}}}"


_CODES = {SI_USER: "SI_USER", SI_KERNEL: "SI_KERNEL", SI_QUEUE: "SI_QUEUE", SI_TIMER: "SI_TIMER", SI_TKILL: "SI_TKILL"}
_CHILD_CODES = {
    CLD_EXITED: "CLD_EXITED", CLD_KILLED: "CLD_KILLED", CLD_DUMPED: "CLD_DUMPED", CLD_TRAPPED: "CLD_TRAPPED",
    CLD_STOPPED: "CLD_STOPPED", CLD_CONTINUED: "CLD_CONTINUED",
}
_FAULT_CODES: dict[int, tuple[str, ...]] = {       # from 1 on
    Signal.SIGSEGV: ("SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR"),
    Signal.SIGBUS: ("BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR"),
    Signal.SIGFPE: (
        "FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV", "FPE_FLTOVF", "FPE_FLTUND", "FPE_FLTRES", "FPE_FLTINV", "FPE_FLTSUB",
    ),
    Signal.SIGILL: (
        "ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR", "ILL_ILLTRP", "ILL_PRVOPC", "ILL_PRVREG", "ILL_COPROC", "ILL_BADSTK",
    ),
    Signal.SIGTRAP: ("TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT"),
}


def _signed32(value: int) -> int:
    return (value & 0x7FFF_FFFF) - (value & 0x8000_0000)


def sig_info(info: SigInfo, system: SignalDefaults = LINUX_DEFAULTS) -> str:
    """A siginfo_t, the members that go with its code.

    >>> sig_info(SigInfo(10, SI_USER, pid=7, uid=0))
    '{si_signo=SIGUSR1, si_code=SI_USER, si_pid=7, si_uid=0}'
    """
    names = system.names
    head = f"{{si_signo={signal_name(info.signo, names) if 0 < info.signo <= NSIG else info.signo}, si_code="
    if info.signo == Signal.SIGCHLD and (info.code in _CHILD_CODES or info.code == SI_KERNEL):
        status = str(info.status) if info.code == CLD_EXITED else signal_name(info.status, names) if info.status else "0"
        return (
            f"{head}{_CHILD_CODES.get(info.code, 'SI_KERNEL')}, si_pid={info.pid}, si_uid={info.uid}, si_status={status}, "
            f"si_utime={ticks(info.utime)}, si_stime={ticks(info.stime)}}}"
        )
    code = _CODES.get(info.code, str(info.code))
    if info.code == SI_TIMER:
        value = f", si_int={_signed32(info.value)}, si_ptr={info.value:#x}" if info.value else ", si_int=0, si_ptr=NULL"
        return f"{head}{code}, si_timerid={info.timer_id}, si_overrun={info.overrun}{value}}}"
    if 0 < info.code < SI_KERNEL:
        codes = _FAULT_CODES.get(info.signo, ())
        code = codes[info.code - 1] if info.code <= len(codes) else code
        addr = hex(info.addr) if info.addr else "NULL"
        return f"{head}{code}, si_addr={addr}}}"
    if info.code == SI_KERNEL:
        addr = (f", si_addr={info.addr:#x}" if info.addr else ", si_addr=NULL") if info.signo in _FAULT_CODES else ""
        return f"{head}{code}{addr}}}"
    tail = f", si_int={_signed32(info.value)}, si_ptr={info.value:#x}" if info.value else ""
    return f"{head}{code}, si_pid={info.pid}, si_uid={info.uid}{tail}}}"


def wait_status(status: int, system: SignalDefaults = LINUX_DEFAULTS) -> str:
    """What wait4(2) stores.

    >>> wait_status(0x100), wait_status(9)
    ('[{WIFEXITED(s) && WEXITSTATUS(s) == 1}]', '[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}]')
    """
    low = status & 0x7F
    if status == 0xFFFF:
        return "[{WIFCONTINUED(s)}]"
    if low == 0x7F:
        return f"[{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(status >> 8 & 0xFF, system.names)}}}]"
    if low:
        dumped = " && WCOREDUMP(s)" if status & 0x80 else ""
        return f"[{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(low, system.names)}{dumped}}}]"
    return f"[{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8 & 0xFF}}}]"


def rlimits(value: Rlimits) -> str:
    """A struct rlimit64.

    >>> rlimits(Rlimits(8192, RLIM_INFINITY))
    '{rlim_cur=8*1024, rlim_max=RLIM64_INFINITY}'
    """
    def one(limit: int) -> str:
        if limit == RLIM_INFINITY:
            return "RLIM64_INFINITY"
        return f"{limit // 1024}*1024" if limit > 1024 and limit % 1024 == 0 else str(limit)

    return f"{{rlim_cur={one(value.cur)}, rlim_max={one(value.max)}}}"


def rusage(value: Rusage) -> str:
    """A struct rusage, shortened as strace does."""
    return f"{{ru_utime={time_val(value.utime)}, ru_stime={time_val(value.stime)}, ...}}"


def tms(value: Tms) -> str:
    """A struct tms."""
    own, children = (ticks(value.utime), ticks(value.stime)), (ticks(value.cutime), ticks(value.cstime))
    return f"{{tms_utime={own[0]}, tms_stime={own[1]}, tms_cutime={children[0]}, tms_cstime={children[1]}}}"


def timex(value: Timex) -> str:
    """A struct timex, shortened."""
    return f"{{modes={value.modes:#x}, ...}}" if value.modes else "{modes=0, ...}"
