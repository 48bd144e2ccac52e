"""Shapes of the calls about processes and threads, as Linux numbers them.

Source: strace(1); futex(2), prctl(2), clone(2).
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.flags import CloneFlags
from ring3.abi.signals import signal_name
from ring3.calls.procarg import FutexOperation
from ring3.calls.sysarg import Kind, quote, show_flags
from ring3.errors import Errno
from ring3.trace.shapes.linux_files import SIGNAL
from ring3.trace.shapes.shape import (
    INT,
    Address,
    At,
    Bits,
    Chooser,
    Filled,
    Hex,
    Named,
    Plain,
    Read,
    Shape,
    by,
    c_string,
    field,
    looked,
    memory,
    number,
    shape,
    word,
)
from ring3.vm.region import PAGE

if TYPE_CHECKING:
    from ring3.proc.proc import Thread

_POINTER: Final = Struct("<Q")
_MOST_VARIABLES: Final = 4096

_SECOND: Final = 1_000_000_000


def time_of(t: Thread, addr: int) -> str:
    """A struct timespec, as it stands there.  Raises EFAULT."""
    data = memory(t, addr, 16)
    return f"{{tv_sec={field(data, 0, 8, signed=True)}, tv_nsec={field(data, 8, 8)}}}"


TIME: Final = Read(time_of)


# --- futex
ALL_BITS: Final = 0xFFFF_FFFF
_WAKE_OPS: Final = ("FUTEX_OP_SET", "FUTEX_OP_ADD", "FUTEX_OP_OR", "FUTEX_OP_ANDN", "FUTEX_OP_XOR")
_WAKE_TESTS: Final = tuple(f"FUTEX_OP_CMP_{name}" for name in ("EQ", "NE", "LT", "LE", "GT", "GE"))


class _Operation(FutexOperation):
    def show(self, t: Thread, value: Any) -> str:
        text = super().show(t, value)
        return f"{text} /* FUTEX_??? */" if text.startswith("0x") else text


class _BitSet(Kind):
    def show(self, t: Thread, value: Any) -> str:
        value = int(value) & ALL_BITS
        return "FUTEX_BITSET_MATCH_ANY" if value == ALL_BITS else number(value)


class _WakeOp(Kind):
    def show(self, t: Thread, value: Any) -> str:
        value = int(value) & ALL_BITS
        act, test, operand, against = value >> 28 & 7, value >> 24 & 0xF, value >> 12 & 0xFFF, value & 0xFFF
        shift = "FUTEX_OP_OPARG_SHIFT<<28|" if value >> 31 else ""
        act_text = _WAKE_OPS[act] if act < len(_WAKE_OPS) else hex(act)
        test_text = _WAKE_TESTS[test] if test < len(_WAKE_TESTS) else hex(test)
        return f"{shift}{act_text}<<28|{number(operand)}<<12|{test_text}<<24|{number(against)}"


_OP, _WORD2 = _Operation(), Address()
_REQUEUE: Final = shape(None, _OP, None, Plain(), _WORD2)
_FUTEX: Final = by(1, {
    0: shape(None, _OP, None, TIME), 9: (*shape(None, _OP, None, TIME), At(5, _BitSet())),
    1: shape(None, _OP, None), 10: (*shape(None, _OP, None), At(5, _BitSet())),
    2: shape(None, _OP, None), 3: _REQUEUE, 4: (*_REQUEUE, At(5)), 12: (*_REQUEUE, At(5)), 5: (*_REQUEUE, At(5, _WakeOp())),
    6: (*shape(None, _OP), At(3, TIME)), 13: (*shape(None, _OP), At(3, TIME)),
    7: shape(None, _OP), 8: shape(None, _OP), 11: (*shape(None, _OP, None, TIME), At(4, _WORD2)),
}, shape(None, _OP, None, Address(), Address(), Hex()), mask=0x7F)


# --- prctl
def _task_name(t: Thread, addr: int) -> str:
    return quote(memory(t, addr, 16).split(b"\0")[0], None)


CAPS: Final = tuple(f"CAP_{name}" for name in (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
    "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
    "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
    "PERFMON", "BPF", "CHECKPOINT_RESTORE",
))
_OPTION_NAMES: Final = {
    1: "SET_PDEATHSIG", 2: "GET_PDEATHSIG", 3: "GET_DUMPABLE", 4: "SET_DUMPABLE", 5: "GET_UNALIGN", 6: "SET_UNALIGN",
    7: "GET_KEEPCAPS", 8: "SET_KEEPCAPS", 9: "GET_FPEMU", 10: "SET_FPEMU", 11: "GET_FPEXC", 12: "SET_FPEXC", 13: "GET_TIMING",
    14: "SET_TIMING", 15: "SET_NAME", 16: "GET_NAME", 19: "GET_ENDIAN", 20: "SET_ENDIAN", 21: "GET_SECCOMP", 22: "SET_SECCOMP",
    23: "CAPBSET_READ", 24: "CAPBSET_DROP", 25: "GET_TSC", 26: "SET_TSC", 27: "GET_SECUREBITS", 28: "SET_SECUREBITS",
    29: "SET_TIMERSLACK", 30: "GET_TIMERSLACK", 31: "TASK_PERF_EVENTS_DISABLE", 32: "TASK_PERF_EVENTS_ENABLE", 33: "MCE_KILL",
    34: "MCE_KILL_GET", 35: "SET_MM", 36: "SET_CHILD_SUBREAPER", 37: "GET_CHILD_SUBREAPER", 38: "SET_NO_NEW_PRIVS",
    39: "GET_NO_NEW_PRIVS", 40: "GET_TID_ADDRESS", 41: "SET_THP_DISABLE", 42: "GET_THP_DISABLE", 45: "SET_FP_MODE",
    46: "GET_FP_MODE",
    47: "CAP_AMBIENT", 50: "SVE_SET_VL", 51: "SVE_GET_VL", 52: "GET_SPECULATION_CTRL", 53: "SET_SPECULATION_CTRL",
    57: "SET_IO_FLUSHER", 58: "GET_IO_FLUSHER", 59: "SET_SYSCALL_USER_DISPATCH", 62: "SCHED_CORE", 0x53564D41: "SET_VMA",
}
_DUMPABLE: Final = {0: "SUID_DUMP_DISABLE", 1: "SUID_DUMP_USER", 2: "SUID_DUMP_ROOT"}
_TSC: Final = {1: "PR_TSC_ENABLE", 2: "PR_TSC_SIGSEGV"}
_SECURE: Final = {
    1: "SECBIT_NOROOT", 2: "SECBIT_NOROOT_LOCKED", 4: "SECBIT_NO_SETUID_FIXUP", 8: "SECBIT_NO_SETUID_FIXUP_LOCKED",
    0x10: "SECBIT_KEEPCAPS",
    0x20: "SECBIT_KEEPCAPS_LOCKED", 0x40: "SECBIT_NO_CAP_AMBIENT_RAISE", 0x80: "SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED",
}
_PR: Final = Named({value: f"PR_{name}" for value, name in _OPTION_NAMES.items()}, "PR_???")
_CAP: Final = Named(dict(enumerate(CAPS)), "CAP_???")
_ALONE: Final = shape(_PR)
_ONE: Final = shape(_PR, Plain())
_PRCTL: Final = by(0, {
    **dict.fromkeys((3, 7, 13, 21, 27, 30, 31, 32, 34, 46, 51), _ALONE),
    **dict.fromkeys((8, 10, 12, 14, 29, 36), _ONE),
    **dict.fromkeys((38, 41), shape(_PR, Plain(), Hex(), Hex(), Hex())),
    **dict.fromkeys((39, 42), shape(_PR, Hex(), Hex(), Hex(), Hex())),
    **dict.fromkeys((2,), shape(_PR, Filled(lambda t, addr: f"[{SIGNAL.show(t, word(t, addr))}]"))),
    **dict.fromkeys((37,), shape(_PR, Filled(INT))), **dict.fromkeys((23, 24), shape(_PR, _CAP)),
    1: shape(_PR, SIGNAL), 4: shape(_PR, Named(_DUMPABLE, "SUID_DUMP_???")), 15: shape(_PR, Read(_task_name)),
    16: shape(_PR, Filled(_task_name)), 25: shape(_PR, Filled(lambda t, addr: f"[{_TSC.get(word(t, addr), hex(word(t, addr)))}]")),
    26: shape(_PR, Named(_TSC, "PR_TSC_???")), 28: shape(_PR, Bits(_SECURE, "SECBIT_???")),
    40: shape(_PR, Filled(lambda t, addr: f"[{looked(lambda _t, at: hex(at), t, word(t, addr, 8))}]")),
    0x53564D41: shape(_PR, Named({0: "PR_SET_VMA_ANON_NAME"}, "PR_SET_VMA_???"), Address(), Plain(), Read(c_string)),
}, shape(_PR, Hex(), Hex(), Hex(), Hex()))


def _prctl_result(t: Thread, args: Sequence[Any], result: int) -> str:
    option = int(args[0]) & ALL_BITS
    if option == 3 and result in _DUMPABLE:
        return f"{number(result) if result > 1 else result} ({_DUMPABLE[result]})"
    if option == 27 and result:
        return f"{result:#x} ({Bits(_SECURE).show(t, result)})"
    return str(result)


_ARCH: Final = Named({
    0x1001: "ARCH_SET_GS", 0x1002: "ARCH_SET_FS", 0x1003: "ARCH_GET_FS", 0x1004: "ARCH_GET_GS", 0x1011: "ARCH_GET_CPUID",
    0x1012: "ARCH_SET_CPUID", 0x2001: "ARCH_MAP_VDSO_X32", 0x2002: "ARCH_MAP_VDSO_32", 0x2003: "ARCH_MAP_VDSO_64",
}, "ARCH_???")
_ARCH_PRCTL: Final = by(0, {
    **dict.fromkeys((0x1003, 0x1004), shape(_ARCH, Filled(lambda t, addr: f"[{number(word(t, addr, 8))}]"))),
}, shape(_ARCH, Hex()))


# --- making processes
_CLONE3_MIN: Final = 64


class _CloneFlags(Kind):
    """clone's flags with the signal of its end."""

    def show(self, t: Thread, value: Any) -> str:
        value = int(value)
        signo, rest = value & 0xFF, value & ~0xFF
        known = show_flags(CloneFlags, rest & ~0x400000, "", "CLONE_")
        parts = [known] if known else []
        if rest & 0x400000:
            parts.append("0x400000")
        if signo:
            parts.append(signal_name(signo) if signo <= 64 else str(signo))
        return "|".join(parts) or "0"


class _ParentTid(Address):
    """Where the number of a new thread goes."""

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return looked(INT, t, value) if value else None


_CLONES: Final[dict[tuple[bool, bool, bool], Shape]] = {
    (parent, tls, child): (
        At(1, Address(), "child_stack="), At(0, _CloneFlags(), "flags="),
        *((At(2, _ParentTid(), "parent_tid="),) if parent else ()),
        *((At(4, Address(), "tls="),) if tls else ()), *((At(3, Address(), "child_tidptr="),) if child else ()),
    )
    for parent in (False, True) for tls in (False, True) for child in (False, True)
}


def _clone(args: Sequence[Any]) -> Shape:
    flags = int(args[0])
    return _CLONES[
        bool(flags & (CloneFlags.PARENT_SETTID | CloneFlags.PIDFD)), bool(flags & CloneFlags.SETTLS),
        bool(flags & (CloneFlags.CHILD_SETTID | CloneFlags.CHILD_CLEARTID)),
    ]


class _CloneArgs(Kind):
    """clone3's struct: `{flags=…, exit_signal=…, stack=…}`."""

    out = True

    def show(self, t: Thread, value: Any) -> str:
        return hex(value) if value else "NULL"

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        if not isinstance(behind, int) or behind < _CLONE3_MIN:
            return self.show(t, value)
        return looked(_clone_args, t, value)

    def show_result_beside(self, t: Thread, value: Any, behind: Any, result: int) -> str | None:
        text = self.show_beside(t, value, behind)
        if not text.startswith("{"):
            return text
        try:
            parent = word(t, value + 24, 8) if word(t, value, 8) & CloneFlags.PARENT_SETTID else 0
            return f"{text} => {{parent_tid=[{word(t, parent, signed=True)}]}}" if parent else text
        except Errno:
            return text


def _clone_args(t: Thread, addr: int) -> str:
    data = memory(t, addr, _CLONE3_MIN)
    flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls = (field(data, at, 8) for at in range(0, 64, 8))
    pointer = Address()
    parts = [f"flags={show_flags(CloneFlags, flags, '0', 'CLONE_')}"]
    if flags & CloneFlags.PIDFD:
        parts.append(f"pidfd={pointer.show(t, pidfd)}")
    if flags & (CloneFlags.CHILD_SETTID | CloneFlags.CHILD_CLEARTID):
        parts.append(f"child_tid={pointer.show(t, child_tid)}")
    if flags & CloneFlags.PARENT_SETTID:
        parts.append(f"parent_tid={pointer.show(t, parent_tid)}")
    parts += [f"exit_signal={SIGNAL.show(t, exit_signal)}", f"stack={pointer.show(t, stack)}", f"stack_size={number(stack_size)}"]
    if flags & CloneFlags.SETTLS:
        parts.append(f"tls={pointer.show(t, tls)}")
    return f"{{{', '.join(parts)}}}"


class _Variables(Kind):
    """envp: its address, and how many there are."""

    def show(self, t: Thread, value: Any) -> str:
        if not value:
            return "NULL"
        try:
            count = _pointers(t, value)
        except Errno:
            return hex(value)
        return f"{value:#x} /* {count} var{'' if count == 1 else 's'} */"


def _pointers(t: Thread, addr: int) -> int:
    """How many there are before the zero, or the most; read in pieces that end with a page.  Raises EFAULT."""
    count = 0
    while count < _MOST_VARIABLES:
        room = PAGE - addr % PAGE
        for (pointer,) in _POINTER.iter_unpack(memory(t, addr, min(room // 8 * 8, 512) or 8)):
            if not pointer or count == _MOST_VARIABLES:
                return count
            count += 1
            addr += 8
    return count


_NAMESPACES: Final = {
    0x20000: "CLONE_NEWNS", 0x2000000: "CLONE_NEWCGROUP", 0x4000000: "CLONE_NEWUTS", 0x8000000: "CLONE_NEWIPC",
    0x10000000: "CLONE_NEWUSER", 0x20000000: "CLONE_NEWPID", 0x40000000: "CLONE_NEWNET",
}
_NEWTIME: Final = {0x80: "CLONE_NEWTIME"}
_UNSHARED: Final = {
    **_NEWTIME, 0x100: "CLONE_VM", 0x200: "CLONE_FS", 0x400: "CLONE_FILES", 0x800: "CLONE_SIGHAND", 0x10000: "CLONE_THREAD",
    0x20000: "CLONE_NEWNS", 0x40000: "CLONE_SYSVSEM", **_NAMESPACES,
}


SHAPES: Final[dict[str, Shape | Chooser]] = {
    "futex": _FUTEX, "prctl": _PRCTL, "arch_prctl": _ARCH_PRCTL, "clone": _clone, "clone3": shape(_CloneArgs(), None),
    "setns": shape(None, Bits({**_NEWTIME, **_NAMESPACES}, "CLONE_NEW???")), "unshare": shape(Bits(_UNSHARED, "CLONE_???")),
    "execve": shape(None, None, _Variables()),
    "execveat": shape(None, None, None, _Variables(), None),
    "rseq": shape(None, Hex(), Bits({1: "RSEQ_FLAG_UNREGISTER"}, "RSEQ_FLAG_???"), Hex()),
    "rt_sigprocmask": shape(Named({0: "SIG_BLOCK", 1: "SIG_UNBLOCK", 2: "SIG_SETMASK"}, "SIG_???"), None, None, None),
    "set_robust_list": shape(None, None), "get_robust_list": shape(
        None, *(Filled(lambda t, addr: f"[{number(word(t, addr, 8)) if word(t, addr, 8) else 'NULL'}]"),
                Filled(lambda t, addr: f"[{word(t, addr, 8)}]"))),
}
RESULTS: Final = {"prctl": _prctl_result}
