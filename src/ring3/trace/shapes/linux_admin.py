"""Shapes of the calls that watch processes and rule the machine, as Linux numbers them: ptrace, seccomp, mount, reboot, syslog.

Source: strace(1); the constants are those of ptrace(2), seccomp(2), mount(2), reboot(2), syslog(2).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ring3.calls.sysarg import Kind, show_memory
from ring3.trace.shapes.linux_files import SIGNAL
from ring3.trace.shapes.shape import (
    Address,
    At,
    Bits,
    Chooser,
    Filled,
    Hex,
    Named,
    Plain,
    Raw,
    Read,
    Shape,
    Signed,
    by,
    c_string,
    field,
    listed,
    memory,
    shape,
    signals,
    where,
    word,
)

if TYPE_CHECKING:
    from ring3.proc.proc import Thread

_ADDRESS: Final = Address()


# --- mount
_MOUNT_FLAGS: Final = Bits({
    1: "MS_RDONLY", 2: "MS_NOSUID", 4: "MS_NODEV", 8: "MS_NOEXEC", 0x10: "MS_SYNCHRONOUS", 0x20: "MS_REMOUNT", 0x40: "MS_MANDLOCK",
    0x80: "MS_DIRSYNC", 0x100: "MS_NOSYMFOLLOW", 0x400: "MS_NOATIME", 0x800: "MS_NODIRATIME", 0x1000: "MS_BIND", 0x2000: "MS_MOVE",
    0x4000: "MS_REC", 0x8000: "MS_SILENT", 0x10000: "MS_POSIXACL", 0x20000: "MS_UNBINDABLE", 0x40000: "MS_PRIVATE",
    0x80000: "MS_SLAVE", 0x100000: "MS_SHARED", 0x200000: "MS_RELATIME", 0x400000: "MS_KERNMOUNT", 0x800000: "MS_I_VERSION",
    0x1000000: "MS_STRICTATIME", 0x2000000: "MS_LAZYTIME", 0x4000000: "MS_SUBMOUNT", 0x8000000: "MS_NOREMOTELOCK",
    0x10000000: "MS_NOSEC", 0x20000000: "MS_BORN", 0x40000000: "MS_ACTIVE", 0x80000000: "MS_NOUSER",
}, "MS_???")
_MAGIC: Final = 0xC0ED_0000
_MAGIC_MASK: Final = 0xFFFF_0000
_REMOUNT: Final = 0x20
_WITHOUT_DATA: Final = 0x1000 | 0x2000 | 0x20000 | 0x40000 | 0x80000 | 0x100000     # MS_BIND, MOVE, and how changes propagate


def _mount_flags(value: int) -> tuple[int, bool]:
    """Without the magic number of old times, and whether it was there."""
    is_old = value & _MAGIC_MASK == _MAGIC
    return value & ~_MAGIC_MASK if is_old else value, is_old


class _MountFlags(Kind):
    def show(self, t: Thread, value: Any) -> str:
        flags, is_old = _mount_flags(int(value))
        if not is_old:
            return _MOUNT_FLAGS.show(t, flags)
        return f"MS_MGC_VAL|{_MOUNT_FLAGS.show(t, flags)}" if flags else "MS_MGC_VAL"


_MOUNT: Final = shape(None, None, None, _MountFlags(), Read(c_string))
_MOUNT_AGAIN: Final = shape(None, None, Raw(2), _MountFlags(), Read(c_string))
_MOUNT_BESIDE: Final = shape(None, None, Raw(2), _MountFlags(), _ADDRESS)


def _mount(args: Sequence[Any]) -> Shape:
    """The kind, and the data, are read only where they mean something."""
    flags, _ = _mount_flags(int(args[3]))
    return _MOUNT_AGAIN if flags & _REMOUNT else _MOUNT_BESIDE if flags & _WITHOUT_DATA else _MOUNT


# --- ptrace
_REQUESTS: Final = {
    0: "TRACEME", 1: "PEEKTEXT", 2: "PEEKDATA", 3: "PEEKUSER", 4: "POKETEXT", 5: "POKEDATA", 6: "POKEUSER", 7: "CONT", 8: "KILL",
    9: "SINGLESTEP", 12: "GETREGS", 13: "SETREGS", 14: "GETFPREGS", 15: "SETFPREGS", 16: "ATTACH", 17: "DETACH",
    18: "GETFPXREGS", 19: "SETFPXREGS", 21: "OLDSETOPTIONS", 24: "SYSCALL", 25: "GET_THREAD_AREA", 26: "SET_THREAD_AREA",
    30: "ARCH_PRCTL", 31: "SYSEMU", 32: "SYSEMU_SINGLESTEP", 33: "SINGLEBLOCK", 0x4200: "SETOPTIONS", 0x4201: "GETEVENTMSG",
    0x4202: "GETSIGINFO", 0x4203: "SETSIGINFO", 0x4204: "GETREGSET", 0x4205: "SETREGSET", 0x4206: "SEIZE", 0x4207: "INTERRUPT",
    0x4208: "LISTEN", 0x4209: "PEEKSIGINFO", 0x420A: "GETSIGMASK", 0x420B: "SETSIGMASK", 0x420C: "SECCOMP_GET_FILTER",
    0x420D: "SECCOMP_GET_METADATA", 0x420E: "GET_SYSCALL_INFO", 0x420F: "GET_RSEQ_CONFIGURATION",
}
_REQUEST: Final = Named({value: f"PTRACE_{name}" for value, name in _REQUESTS.items()}, "PTRACE_???")
_REGISTERS: Final = (
    "R15", "R14", "R13", "R12", "RBP", "RBX", "R11", "R10", "R9", "R8", "RAX", "RCX", "RDX", "RSI", "RDI", "ORIG_RAX", "RIP", "CS",
    "EFL", "RSP", "SS",
)
_REGISTERS_SIZE: Final = 216    # six segments without names are behind those
_STOP_OPTIONS: Final = Bits({
    1: "PTRACE_O_TRACESYSGOOD", 2: "PTRACE_O_TRACEFORK", 4: "PTRACE_O_TRACEVFORK", 8: "PTRACE_O_TRACECLONE",
    0x10: "PTRACE_O_TRACEEXEC", 0x20: "PTRACE_O_TRACEVFORKDONE", 0x40: "PTRACE_O_TRACEEXIT", 0x80: "PTRACE_O_TRACESECCOMP",
    0x100000: "PTRACE_O_EXITKILL", 0x200000: "PTRACE_O_SUSPEND_SECCOMP",
}, "PTRACE_O_???")
_NOTES: Final = Named({
    1: "NT_PRSTATUS", 2: "NT_FPREGSET", 3: "NT_PRPSINFO", 4: "NT_PRXREG", 5: "NT_PLATFORM", 6: "NT_AUXV", 7: "NT_GWINDOWS",
    8: "NT_ASRS", 10: "NT_PSTATUS", 13: "NT_PSINFO", 14: "NT_PRCRED", 15: "NT_UTSNAME", 0x200: "NT_386_TLS", 0x201: "NT_386_IOPERM",
    0x202: "NT_X86_XSTATE",
}, "NT_???")


class _UserOffset(Kind):
    """Where a register stands in struct user: `8*R15`."""

    def show(self, t: Thread, value: Any) -> str:
        value = int(value)
        if value >= _REGISTERS_SIZE:
            return hex(value)
        index = min(value // 8, len(_REGISTERS) - 1)
        return f"8*{_REGISTERS[index]}" + (f"+{value - 8 * index}" if value > 8 * index else "")


def _vector(t: Thread, addr: int) -> str:
    data = memory(t, addr, 16)
    return f"{{iov_base={_ADDRESS.show(t, field(data, 0, 8))}, iov_len={field(data, 8, 8)}}}"


def _ptrace() -> Chooser:
    """By the request: which of the three others it has."""
    def of(*kinds: Kind) -> Shape:
        return shape(_REQUEST, Signed(), *kinds)

    resumes, looks, told = of(_ADDRESS, SIGNAL), of(_ADDRESS, _ADDRESS), of(Plain(), _ADDRESS)
    registers = (At(0, _REQUEST), At(1, Signed()), At(3, _ADDRESS))
    return by(0, {
        0: shape(_REQUEST), **dict.fromkeys((8, 16, 0x4207, 0x4208), of()),
        **dict.fromkeys((3, 6), of(_UserOffset(), _ADDRESS)), **dict.fromkeys((7, 9, 17, 24, 31, 32, 33), resumes),
        **dict.fromkeys((12, 13, 14, 15), registers), **dict.fromkeys((21, 0x4200, 0x4206), of(_ADDRESS, _STOP_OPTIONS)),
        **dict.fromkeys((0x4204, 0x4205), of(_NOTES, Read(_vector))), 0x420B: of(Plain(), Read(signals)),
        **dict.fromkeys((0x420A, 0x420C, 0x420D, 0x420E), told),
    }, looks)


# --- seccomp
_MODES: Final = Named({
    0: "SECCOMP_SET_MODE_STRICT", 1: "SECCOMP_SET_MODE_FILTER", 2: "SECCOMP_GET_ACTION_AVAIL", 3: "SECCOMP_GET_NOTIF_SIZES",
}, "SECCOMP_SET_MODE_???")
_FILTER_FLAGS: Final = Bits({
    1: "SECCOMP_FILTER_FLAG_TSYNC", 2: "SECCOMP_FILTER_FLAG_LOG", 4: "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    8: "SECCOMP_FILTER_FLAG_NEW_LISTENER", 16: "SECCOMP_FILTER_FLAG_TSYNC_ESRCH", 32: "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
}, "SECCOMP_FILTER_FLAG_???")
_ACTIONS: Final = Named({
    0x80000000: "SECCOMP_RET_KILL_PROCESS", 0: "SECCOMP_RET_KILL_THREAD", 0x30000: "SECCOMP_RET_TRAP", 0x50000: "SECCOMP_RET_ERRNO",
    0x7FC00000: "SECCOMP_RET_USER_NOTIF", 0x7FF00000: "SECCOMP_RET_TRACE", 0x7FFC0000: "SECCOMP_RET_LOG",
    0x7FFF0000: "SECCOMP_RET_ALLOW",
}, "SECCOMP_RET_???")


def _program(t: Thread, addr: int) -> str:
    """struct sock_fprog."""
    data = memory(t, addr, 16)
    return f"{{len={field(data, 0, 2)}, filter={_ADDRESS.show(t, field(data, 8, 8))}}}"


def _sizes(t: Thread, addr: int) -> str:
    data = memory(t, addr, 6)
    names = ("seccomp_notif", "seccomp_notif_resp", "seccomp_data")
    return f"{{{', '.join(f'{name}={field(data, 2 * at, 2)}' for at, name in enumerate(names))}}}"


_SECCOMP: Final = by(0, {
    1: shape(_MODES, _FILTER_FLAGS, Read(_program)), 3: shape(_MODES, Hex(), Filled(_sizes)),
    2: shape(_MODES, Hex(), Read(listed(lambda t, addr: _ACTIONS.show(t, word(t, addr))))),
}, shape(_MODES, Hex(), _ADDRESS))


# --- reboot
_MAGIC_1: Final = Named({0xFEE1DEAD: "LINUX_REBOOT_MAGIC1"}, "LINUX_REBOOT_MAGIC_???")
_MAGIC_2: Final = Named({
    672274793: "LINUX_REBOOT_MAGIC2", 85072278: "LINUX_REBOOT_MAGIC2A", 369367448: "LINUX_REBOOT_MAGIC2B",
    537993216: "LINUX_REBOOT_MAGIC2C",
}, "LINUX_REBOOT_MAGIC_???")
_RESTART2: Final = 0xA1B2C3D4
_ENDS: Final = Named({
    0: "LINUX_REBOOT_CMD_CAD_OFF", 0x1234567: "LINUX_REBOOT_CMD_RESTART", 0x4321FEDC: "LINUX_REBOOT_CMD_POWER_OFF",
    0x45584543: "LINUX_REBOOT_CMD_KEXEC", 0x89ABCDEF: "LINUX_REBOOT_CMD_CAD_ON", _RESTART2: "LINUX_REBOOT_CMD_RESTART2",
    0xCDEF0123: "LINUX_REBOOT_CMD_HALT", 0xD000FCE2: "LINUX_REBOOT_CMD_SW_SUSPEND",
}, "LINUX_REBOOT_CMD_???")
_REBOOT: Final = shape(_MAGIC_1, _MAGIC_2, _ENDS)


# --- syslog
class _Remarked(Kind):
    """A number, and its name behind it."""

    def __init__(self, prefix: str, names: Sequence[str]) -> None:
        self.prefix = prefix
        self.names = names

    def show(self, t: Thread, value: Any) -> str:
        value = (int(value) & 0x7FFF_FFFF) - (int(value) & 0x8000_0000)
        name = self.names[value] if 0 <= value < len(self.names) else "???"
        return f"{value} /* {self.prefix}_{name} */"


class _LogText(Address):
    """What was read of the log."""

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        return show_memory(t, where(value), result)


_ACTION: Final = _Remarked("SYSLOG_ACTION", (
    "CLOSE", "OPEN", "READ", "READ_ALL", "READ_CLEAR", "CLEAR", "CONSOLE_OFF", "CONSOLE_ON", "CONSOLE_LEVEL", "SIZE_UNREAD",
    "SIZE_BUFFER",
))
_LEVEL: Final = _Remarked("LOGLEVEL", ("EMERG", "ALERT", "CRIT", "ERR", "WARNING", "NOTICE", "INFO", "DEBUG"))
_SYSLOG: Final = by(0, {
    **dict.fromkeys((0, 1, 5, 6, 7, 9, 10), shape(_ACTION)), **dict.fromkeys((2, 3, 4), shape(_ACTION, _LogText(), Signed())),
    8: shape(_ACTION, _ADDRESS, _LEVEL),
}, shape(_ACTION, _ADDRESS, Signed()))


SHAPES: Final[dict[str, Shape | Chooser]] = {
    "mount": _mount, "umount2": shape(None, Bits({
        1: "MNT_FORCE", 2: "MNT_DETACH", 4: "MNT_EXPIRE", 8: "UMOUNT_NOFOLLOW",
    }, "MNT_???")),
    "ptrace": _ptrace(), "seccomp": _SECCOMP, "syslog": _SYSLOG,
    "reboot": by(2, {_RESTART2: (*_REBOOT, At(3, Read(c_string)))}, _REBOOT),
}
