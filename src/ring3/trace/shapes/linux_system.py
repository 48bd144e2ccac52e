"""Shapes of the calls about credentials, limits, schedulers, clocks and the system, as Linux numbers them.

Source: strace(1); capabilities(7), getrlimit(2), sched(7), wait(2), mount(2), timer_create(2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.signals import SigInfo, signal_name
from ring3.calls.shown import rlimits, sig_info, ticks
from ring3.calls.sysarg import SHOWN_BYTES, Kind, quote
from ring3.proc.proc import Rlimit
from ring3.trace.shapes.linux_files import CLOCK, SIGNAL, dated
from ring3.trace.shapes.linux_processes import ALL_BITS, CAPS, TIME, time_of
from ring3.trace.shapes.shape import (
    FD,
    INT,
    Address,
    Bits,
    Chooser,
    Filled,
    Hex,
    Id,
    Late,
    Named,
    Read,
    Shape,
    by,
    field,
    items,
    looked,
    memory,
    number,
    shape,
    where,
)

if TYPE_CHECKING:
    from ring3.proc.proc import Thread


_WAITS: Final = Bits({
    1: "WNOHANG", 2: "WUNTRACED", 4: "WEXITED", 8: "WCONTINUED", 0x1000000: "WNOWAIT", 0x80000000: "__WCLONE", 0x40000000: "__WALL",
    0x20000000: "__WNOTHREAD",
}, "W???")
_WAITS4: Final = Bits({**_WAITS.names, 2: "WSTOPPED"}, "W???")


# --- credentials
def _cap_header(t: Thread, addr: int) -> str:
    data = memory(t, addr, 8)
    versions = {0x19980330: "_LINUX_CAPABILITY_VERSION_1", 0x20071026: "_LINUX_CAPABILITY_VERSION_2",
                0x20080522: "_LINUX_CAPABILITY_VERSION_3"}
    version = field(data, 0, 4)
    name = versions.get(version) or number(version, "_LINUX_CAPABILITY_VERSION_???")
    return f"{{version={name}, pid={field(data, 4, 4, signed=True)}}}"


def _capabilities(t: Thread, addr: int) -> str:
    data = memory(t, addr, 24)
    sets = [field(data, at, 4) | field(data, at + 12, 4) << 32 for at in (0, 4, 8)]
    names = ("effective", "permitted", "inheritable")
    return f"{{{', '.join(f'{name}={_cap_set(bits)}' for name, bits in zip(names, sets, strict=True))}}}"


def _cap_set(bits: int) -> str:
    known = [f"1<<{name}" for index, name in enumerate(CAPS) if bits >> index & 1]
    rest = bits >> len(CAPS) << len(CAPS)
    return "|".join([*known, *([hex(rest)] if rest else [])]) or "0"


class _GroupsOut(Kind):
    """getgroups' array: as many as it gave."""

    out = True

    def show(self, t: Thread, value: Any) -> str:
        return hex(value) if value else "NULL"

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return looked(lambda t, addr: items(t, addr, result, 4, lambda _t, data: str(field(data, 0, 4))), t, value)


class _GroupsIn(Kind):
    """setgroups' array: as many as the argument before it says."""

    def __init__(self, count: int) -> None:
        self.count = count

    def show(self, t: Thread, value: Any) -> str:
        return looked(lambda t, addr: items(t, addr, self.count, 4, lambda _t, data: str(field(data, 0, 4))), t, value)


_FEW: Final = tuple(shape(None, _GroupsIn(count)) for count in range(34))


# --- limits, schedulers
def _rlimits(t: Thread, addr: int) -> str:
    from ring3.abi.procrecords import Rlimits

    data = memory(t, addr, 16)
    return rlimits(Rlimits(field(data, 0, 8), field(data, 8, 8)))


_RESOURCE: Final = Named({int(which): f"RLIMIT_{which.name}" for which in Rlimit}, "RLIMIT_???")
_POLICIES: Final = {
    0: "SCHED_OTHER", 1: "SCHED_FIFO", 2: "SCHED_RR", 3: "SCHED_BATCH", 4: "SCHED_ISO", 5: "SCHED_IDLE", 6: "SCHED_DEADLINE",
}
_POLICY: Final = Named(_POLICIES, "SCHED_???")

_PRIORITY: Final = Named({0: "PRIO_PROCESS", 1: "PRIO_PGRP", 2: "PRIO_USER"}, "PRIO_???")


class _CpuSet(Kind):
    """sched_setaffinity's mask: the CPUs in it."""

    def __init__(self, *, filled: bool) -> None:
        self.out = filled

    def show(self, t: Thread, value: Any) -> str:
        return looked(lambda t, addr: _cpus(memory(t, addr, 8)), t, value) if not self.out else hex(value) if value else "NULL"

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return looked(lambda t, addr: _cpus(memory(t, addr, min(result, 128))), t, value) if self.out else None


def _cpus(data: bytes) -> str:
    bits = int.from_bytes(data, "little")
    return f"[{' '.join(str(cpu) for cpu in range(len(data) * 8) if bits >> cpu & 1)}]"


# --- clocks
class _Remaining(Late):
    """What is left of a sleep, where a signal interrupted it."""

    def show(self, t: Thread, value: Any) -> str:
        interrupted = t.restart is not None and t.restart.resume is not None
        return looked(time_of, t, where(value)) if interrupted else super().show(t, value)


_SLEEP: Final = shape(CLOCK, Bits({1: "TIMER_ABSTIME"}, "TIMER_???"), TIME, _Remaining())


def _time_val(t: Thread, addr: int) -> str:
    return _seconds(memory(t, addr, 16), 0)


def _zone(t: Thread, addr: int) -> str:
    data = memory(t, addr, 8)
    return f"{{tz_minuteswest={field(data, 0, 4, signed=True)}, tz_dsttime={field(data, 4, 4, signed=True)}}}"


def _event(t: Thread, addr: int) -> str:
    data = memory(t, addr, 64)
    value, signo, kind = field(data, 0, 8), field(data, 8, 4), field(data, 12, 4)
    names = {0: "SIGEV_SIGNAL", 1: "SIGEV_NONE", 2: "SIGEV_THREAD", 4: "SIGEV_THREAD_ID"}
    head = f"sigev_value={{sival_int={(value & 0x7FFF_FFFF) - (value & 0x8000_0000)}, sival_ptr={value:#x}}}, "
    tail = f", sigev_notify_thread_id={field(data, 16, 4)}" if kind == 4 else ""
    how = names.get(kind) or number(kind, "SIGEV_???")
    return f"{{{head if value else ''}sigev_signo={SIGNAL.show(t, signo)}, sigev_notify={how}{tail}}}"


def _seconds(data: bytes, at: int) -> str:
    return f"{{tv_sec={field(data, at, 8, signed=True)}, tv_usec={field(data, at + 8, 8)}}}"


def _usage(t: Thread, addr: int) -> str:
    data = memory(t, addr, 32)
    return f"{{ru_utime={_seconds(data, 0)}, ru_stime={_seconds(data, 16)}, ...}}"


def _ticks(t: Thread, addr: int) -> str:
    data = memory(t, addr, 32)
    names = ("tms_utime", "tms_stime", "tms_cutime", "tms_cstime")
    return f"{{{', '.join(f'{name}={ticks(field(data, at * 8, 8))}' for at, name in enumerate(names))}}}"


def _child(t: Thread, addr: int) -> str:
    """The siginfo_t that waitid(2) fills in: of a child, or of none."""
    data = memory(t, addr, 48)
    signo, code, pid, uid, status = (field(data, at, 4, signed=True) for at in (0, 8, 16, 20, 24))
    utime, stime = (field(data, at, 8) for at in (32, 40))
    return sig_info(SigInfo(signo, code, pid=pid, uid=uid, status=status, utime=utime, stime=stime)) if signo else "{}"


def _names(t: Thread, addr: int) -> str:
    """struct utsname, the fields one looks for."""
    system, node = (quote(memory(t, addr + at, 65).split(b"\0")[0], None) for at in (0, 65))
    return f"{{sysname={system}, nodename={node}, ...}}"


def _system(t: Thread, addr: int) -> str:
    """struct sysinfo."""
    data = memory(t, addr, 112)
    memories = ("totalram", "freeram", "sharedram", "bufferram", "totalswap", "freeswap")
    parts = [f"uptime={field(data, 0, 8)}", f"loads=[{', '.join(str(field(data, at, 8)) for at in (8, 16, 24))}]"]
    parts += [f"{name}={field(data, 32 + 8 * at, 8)}" for at, name in enumerate(memories)]
    parts += [
        f"procs={field(data, 80, 2)}", f"totalhigh={field(data, 88, 8)}", f"freehigh={field(data, 96, 8)}",
        f"mem_unit={field(data, 104, 4)}",
    ]
    return f"{{{', '.join(parts)}}}"


class _Random(Address):
    """Bytes nobody can read: each as a number."""

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        def look(t: Thread, addr: int) -> str:
            text = "".join(f"\\x{byte:02x}" for byte in memory(t, addr, min(result, SHOWN_BYTES)))
            return f'"{text}"' + ("..." if result > SHOWN_BYTES else "")

        return looked(look, t, where(value))


_GRND: Final = Bits({1: "GRND_NONBLOCK", 2: "GRND_RANDOM", 4: "GRND_INSECURE"}, "GRND_???")


class _Persona(Kind):
    """A personality; all ones asks for the one there is."""

    def show(self, t: Thread, value: Any) -> str:
        value = int(value) & ALL_BITS
        return hex(value) if value == ALL_BITS else _PERSONALITY.show(t, value)


_CLOCK_AND: Final = shape(CLOCK, None)
_PERSONALITY: Final = Named({0: "PER_LINUX", 8: "PER_LINUX32"})


def _time_result(_t: Thread, _args: Sequence[Any], result: int) -> str:
    return f"{result}{dated(result).replace('/* ', '(').replace(' */', ')')}"


def _policy_result(_t: Thread, _args: Sequence[Any], result: int) -> str:
    return f"{number(result) if result > 1 else result} ({_POLICIES.get(result & 0xF, 'SCHED_???')})"


def _signal_result(_t: Thread, _args: Sequence[Any], result: int) -> str:
    return f"{result} ({signal_name(result)})" if 1 <= result <= 64 else str(result)


SHAPES: Final[dict[str, Shape | Chooser]] = {
    "wait4": shape(None, None, _WAITS4, Filled(_usage)), "waitid": shape(None, None, Filled(_child), _WAITS, Filled(_usage)),
    "times": shape(Filled(_ticks)), "uname": shape(Filled(_names)), "sysinfo": shape(Filled(_system)),
    "getrandom": shape(_Random(), None, _GRND),
    **dict.fromkeys(("setuid", "setgid", "setfsuid", "setfsgid"), shape(Id())),
    **dict.fromkeys(("setreuid", "setregid"), shape(Id(), Id())),
    **dict.fromkeys(("setresuid", "setresgid"), shape(Id(), Id(), Id())),
    "getgroups": shape(None, _GroupsOut()), "setgroups": lambda args: _FEW[min(int(args[0]) & ALL_BITS, 33)],
    "capget": shape(Read(_cap_header), Filled(_capabilities)), "capset": shape(Read(_cap_header), Read(_capabilities)),
    "prlimit64": shape(None, _RESOURCE, Read(_rlimits), Filled(_rlimits)), "getrlimit": shape(_RESOURCE, None),
    "setrlimit": shape(_RESOURCE, None),
    "getrusage": shape(Named({0: "RUSAGE_SELF", ALL_BITS: "RUSAGE_CHILDREN", 1: "RUSAGE_THREAD"}, "RUSAGE_???"), Filled(_usage)),
    "sched_setscheduler": shape(None, _POLICY, Read(INT)), "sched_setparam": shape(None, Read(INT)),
    "sched_get_priority_max": shape(_POLICY), "sched_get_priority_min": shape(_POLICY),
    "sched_setaffinity": shape(None, None, _CpuSet(filled=False)), "sched_getaffinity": shape(None, None, _CpuSet(filled=True)),
    "personality": shape(_Persona()), "getpriority": shape(_PRIORITY, None), "setpriority": shape(_PRIORITY, None, None),
    "gettimeofday": shape(None, Filled(_zone)), "settimeofday": shape(Read(_time_val), Read(_zone)),
    "clock_gettime": _CLOCK_AND, "clock_getres": _CLOCK_AND,
    "clock_settime": shape(CLOCK, TIME),
    "nanosleep": shape(TIME, _Remaining()), "clock_nanosleep": _SLEEP,
    "timer_create": shape(CLOCK, Read(_event), None),
    "kcmp": by(2, {0: shape(None, None, Named({0: "KCMP_FILE"}), None, None)}, shape(None, None, Named({
        1: "KCMP_VM", 2: "KCMP_FILES", 3: "KCMP_FS", 4: "KCMP_SIGHAND", 5: "KCMP_IO", 6: "KCMP_SYSVSEM", 7: "KCMP_EPOLL_TFD",
    }, "KCMP_???"))),
    "pidfd_send_signal": shape(FD, None, None, Hex()), "ioprio_get": shape(Named({
        1: "IOPRIO_WHO_PROCESS", 2: "IOPRIO_WHO_PGRP", 3: "IOPRIO_WHO_USER",
    }, "IOPRIO_WHO_???"), None),
}
RESULTS: Final = {
    "time": _time_result, "sched_getscheduler": _policy_result, "rt_sigtimedwait": _signal_result,
    "personality": lambda t, _args, result: f"{number(result)} ({_PERSONALITY.show(t, result)})",
}
