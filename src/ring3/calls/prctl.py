"""prctl: small things about a process or thread.

An option is a row of a table: its number, its name, what it does.  What is not there answers EINVAL, as on a kernel built
without it (seccomp among them).  Source: prctl(2), kernel/sys.c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from ring3.abi.procrecords import Int32, Word
from ring3.abi.signals import NSIG
from ring3.calls.guest import store
from ring3.calls.sysarg import Kind, Size
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, EPERM
from ring3.namedtuple import NamedTuple
from ring3.proc.proc import Thread

_CAP_LAST: Final = 40
_COMM: Final = 16

Act = Callable[[Thread, int, int, int, int], int]


class Option(NamedTuple):
    """One option of prctl."""

    name: str
    act: Act


class OptionKind(Kind):
    """prctl's first argument, by name."""

    def show(self, t: Thread, value: Any) -> str:
        option = _OPTIONS.get(value & 0xFFFF_FFFF)
        return f"PR_{option.name}" if option else hex(value)


def _none_left(*rest: int) -> None:
    """Raises EINVAL unless all unused arguments are zero."""
    if any(rest):
        raise EINVAL


def _set_pdeathsig(t: Thread, signo: int, _b: int, _c: int, _d: int) -> int:
    if not 0 <= signo <= NSIG:
        raise EINVAL
    t.proc.parent_death_signal = signo
    return 0


def _get_pdeathsig(t: Thread, addr: int, _b: int, _c: int, _d: int) -> int:
    store(t, Int32, addr, t.proc.parent_death_signal)
    return 0


def _get_dumpable(t: Thread, _a: int, _b: int, _c: int, _d: int) -> int:
    return t.proc.dumpable


def _set_dumpable(t: Thread, value: int, _b: int, _c: int, _d: int) -> int:
    if value not in (0, 1):
        raise EINVAL
    t.proc.dumpable = value
    return 0


def _get_keepcaps(t: Thread, _a: int, _b: int, _c: int, _d: int) -> int:
    return int(t.proc.keep_caps)


def _set_keepcaps(t: Thread, value: int, _b: int, _c: int, _d: int) -> int:
    if value > 1:
        raise EINVAL
    t.proc.keep_caps = bool(value)
    return 0


def _get_timing(_t: Thread, _a: int, _b: int, _c: int, _d: int) -> int:
    return 0


def _set_timing(_t: Thread, value: int, _b: int, _c: int, _d: int) -> int:
    if value:
        raise EINVAL
    return 0


def _set_name(t: Thread, addr: int, _b: int, _c: int, _d: int) -> int:
    """At most 15 bytes; what is beyond is cut."""
    name = b""
    while len(name) < _COMM - 1:
        byte = t.proc.vm.copyin(addr + len(name), 1)
        if byte == b"\0":
            break
        name += byte
    t.comm = name
    return 0


def _get_name(t: Thread, addr: int, _b: int, _c: int, _d: int) -> int:
    t.proc.vm.copyout(addr, t.comm[: _COMM - 1].ljust(_COMM, b"\0"))
    return 0


def _get_tsc(t: Thread, addr: int, _b: int, _c: int, _d: int) -> int:
    store(t, Int32, addr, 1)
    return 0


def _set_tsc(_t: Thread, value: int, _b: int, _c: int, _d: int) -> int:
    if value != 1:
        raise EINVAL
    return 0


def _get_seccomp(_t: Thread, _a: int, _b: int, _c: int, _d: int) -> int:
    """Nobody is ever in seccomp mode: setting one is EINVAL."""
    return 0


def _capbset_read(_t: Thread, cap: int, _b: int, _c: int, _d: int) -> int:
    if cap > _CAP_LAST:
        raise EINVAL
    return 1


def _capbset_drop(t: Thread, cap: int, _b: int, _c: int, _d: int) -> int:
    if not t.proc.cred.privileged:
        raise EPERM
    if cap > _CAP_LAST:
        raise EINVAL
    return 0


def _get_securebits(_t: Thread, _a: int, _b: int, _c: int, _d: int) -> int:
    return 0


def _set_securebits(t: Thread, _a: int, _b: int, _c: int, _d: int) -> int:
    raise EINVAL if t.proc.cred.privileged else EPERM


def _set_timerslack(t: Thread, value: int, _b: int, _c: int, _d: int) -> int:
    signed = value - (1 << 64) if value >> 63 else value
    t.timer_slack_ns = signed if signed > 0 else 50_000
    return 0


def _get_timerslack(t: Thread, _a: int, _b: int, _c: int, _d: int) -> int:
    return min(t.timer_slack_ns, (1 << 63) - 1)


def _mce_kill_get(_t: Thread, a: int, b: int, c: int, d: int) -> int:
    _none_left(a, b, c, d)
    return 2


def _set_mm(t: Thread, _a: int, _b: int, _c: int, _d: int) -> int:
    raise EINVAL if t.proc.cred.privileged else EPERM


def _set_subreaper(t: Thread, value: int, _b: int, _c: int, _d: int) -> int:
    t.proc.child_reaper = bool(value)
    return 0


def _get_subreaper(t: Thread, addr: int, _b: int, _c: int, _d: int) -> int:
    store(t, Int32, addr, int(t.proc.child_reaper))
    return 0


def _set_no_new_privs(t: Thread, a: int, b: int, c: int, d: int) -> int:
    if a != 1 or b or c or d:
        raise EINVAL
    t.proc.no_new_privs = True
    return 0


def _get_no_new_privs(t: Thread, a: int, b: int, c: int, d: int) -> int:
    _none_left(a, b, c, d)
    return int(t.proc.no_new_privs)


def _get_tid_address(t: Thread, addr: int, _b: int, _c: int, _d: int) -> int:
    store(t, Word, addr, t.clear_child_tid)
    return 0


def _thp_disable(_t: Thread, value: int, b: int, c: int, d: int) -> int:
    del value
    _none_left(b, c, d)
    return 0


def _get_thp_disable(_t: Thread, a: int, b: int, c: int, d: int) -> int:
    _none_left(a, b, c, d)
    return 0


def _cap_ambient(t: Thread, operation: int, cap: int, c: int, d: int) -> int:
    """No capability is ever ambient."""
    if c or d or not 1 <= operation <= 4 or (operation == 4 and cap) or (operation != 4 and cap > _CAP_LAST):
        raise EINVAL
    if operation == 2:
        raise EPERM
    del t
    return 0


def _set_vma(t: Thread, operation: int, addr: int, size: int, name: int) -> int:
    """Names of anonymous memory are looked at, and not kept."""
    if operation:
        raise EINVAL
    if addr & 0xFFF:
        raise EINVAL
    if size and addr + size > t.proc.vm.user_top:
        raise EINVAL
    if name:
        t.proc.vm.copyinstr(name, 80)
    return 0


_OPTIONS: Mapping[int, Option] = MappingProxyType({
    1: Option("SET_PDEATHSIG", _set_pdeathsig),
    2: Option("GET_PDEATHSIG", _get_pdeathsig),
    3: Option("GET_DUMPABLE", _get_dumpable),
    4: Option("SET_DUMPABLE", _set_dumpable),
    7: Option("GET_KEEPCAPS", _get_keepcaps),
    8: Option("SET_KEEPCAPS", _set_keepcaps),
    13: Option("GET_TIMING", _get_timing),
    14: Option("SET_TIMING", _set_timing),
    15: Option("SET_NAME", _set_name),
    16: Option("GET_NAME", _get_name),
    21: Option("GET_SECCOMP", _get_seccomp),
    23: Option("CAPBSET_READ", _capbset_read),
    24: Option("CAPBSET_DROP", _capbset_drop),
    25: Option("GET_TSC", _get_tsc),
    26: Option("SET_TSC", _set_tsc),
    27: Option("GET_SECUREBITS", _get_securebits),
    28: Option("SET_SECUREBITS", _set_securebits),
    29: Option("SET_TIMERSLACK", _set_timerslack),
    30: Option("GET_TIMERSLACK", _get_timerslack),
    34: Option("MCE_KILL_GET", _mce_kill_get),
    35: Option("SET_MM", _set_mm),
    36: Option("SET_CHILD_SUBREAPER", _set_subreaper),
    37: Option("GET_CHILD_SUBREAPER", _get_subreaper),
    38: Option("SET_NO_NEW_PRIVS", _set_no_new_privs),
    39: Option("GET_NO_NEW_PRIVS", _get_no_new_privs),
    40: Option("GET_TID_ADDRESS", _get_tid_address),
    41: Option("SET_THP_DISABLE", _thp_disable),
    42: Option("GET_THP_DISABLE", _get_thp_disable),
    47: Option("CAP_AMBIENT", _cap_ambient),
    0x53564D41: Option("SET_VMA", _set_vma),
})


@syscall(pledge="stdio proc")
def sys_prctl(t: Thread, option: Annotated[int, OptionKind()], arg2: Size, arg3: Size, arg4: Size, arg5: Size) -> int:
    """Read or change a small thing about the process or thread."""
    found = _OPTIONS.get(option & 0xFFFF_FFFF)
    if found is None:
        raise EINVAL
    return found.act(t, arg2, arg3, arg4, arg5)

