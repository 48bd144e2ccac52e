"""What lower floors call through: the shapes of what stands above them.  Data and signatures, no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ring3.abi.flags import Access
    from ring3.abi.x86 import Arch
    from ring3.errors import Errno


class GuestMemory(Protocol):
    """Copying from and to the memory of one process.  Addresses are the guest's; both raise EFAULT."""

    def copyin(self, addr: int, nbytes: int) -> bytes:
        """Exactly `nbytes` from `addr`."""

    def copyout(self, addr: int, data: bytes) -> None:
        """All of `data` to `addr`."""


class Credentials(Protocol):
    """Who asks, as a file system sees it: user and group for files, and the powers that override permissions."""

    @property
    def fsuid(self) -> int: ...

    @property
    def fsgid(self) -> int: ...

    @property
    def groups(self) -> Collection[int]: ...

    @property
    def privileged(self) -> bool:
        """May override file permissions and ownership (CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_CHOWN, CAP_MKNOD as one)."""


class Veil(Protocol):
    """Who may forbid a path although its permissions allow it (unveil).  Asked by namei, with the path as it was reached."""

    def check(self, path: bytes, access: Access) -> None:
        """Raises ENOENT or EACCES."""


class Abi:
    """How the registers and bytes of one instruction set carry a call, for one system.

    Built once by a personality; everything in it is data or a small function of registers.  `sysent` maps a number to what
    `calls.syscall.Syscall.bind` made of the declaration; a number without a row answers ENOSYS and is counted by `names`.
    """

    __slots__ = (
        "arch", "argument_registers", "errno", "fail", "flags", "layouts", "names", "native", "restart_number", "rewind",
        "send_signal", "succeed", "sysent", "word_mask", "word_size",
    )

    def __init__(
        self,
        *,
        arch: Arch,
        native: bool,
        word_size: int,
        argument_registers: tuple[int, ...],
        errno: Mapping[type[Errno], int],
        succeed: Callable[[memoryview, int], None],
        fail: Callable[[memoryview, int], None],
        rewind: Callable[[memoryview, int | None], None],
        restart_number: int,
        sysent: Mapping[int, Any],
        names: Mapping[int, str],
        layouts: Mapping[type, Any],
        flags: Mapping[type, Any],
        send_signal: Callable[..., bool],
    ) -> None:
        self.arch = arch
        self.native = native                    # whether images of this instruction set are 64-bit ones
        self.word_size = word_size              # bytes of a pointer and a long
        self.word_mask = (1 << (8 * word_size)) - 1
        self.argument_registers = argument_registers
        self.errno = errno
        self.succeed = succeed                  # (registers, value): the call's result is `value`
        self.fail = fail                        # (registers, number): the call failed
        self.rewind = rewind                    # (registers, number): make the same call again, or call `number` instead
        self.restart_number = restart_number    # restart_syscall
        self.sysent = sysent
        self.names = names
        self.layouts = layouts                  # neutral record -> Layout
        self.flags = flags                      # neutral flag class -> translation, absent where numbers agree
        self.send_signal = send_signal          # (thread, info, action, mask): build the frame, enter the handler; False: no room


class Personality:
    """How programs of one system see the kernel (NetBSD: `struct emul`).

    A record: differences between systems are values and small functions here, never branches in shared code.
    `abis` has one entry for each instruction set whose calls it serves.  `exec` are the rules exec goes by (exec/rules.py).
    """

    __slots__ = ("abis", "exec", "machine_name", "name", "on_exec", "on_exit", "release", "root", "sysname", "version")

    def __init__(
        self,
        *,
        name: str,
        abis: Mapping[Arch, Abi],
        exec: Any,  # noqa: A002 - the field's word
        sysname: str,
        release: str,
        version: str,
        machine_name: str,
        root: bytes | None = None,
        on_exec: Callable[[Any], None] | None = None,
        on_exit: Callable[[Any], None] | None = None,
    ) -> None:
        self.name = name
        self.abis = abis
        self.exec = exec
        self.sysname = sysname
        self.release = release
        self.version = version
        self.machine_name = machine_name
        self.root = root                # where look-ups are tried first, as in /emul/NAME
        self.on_exec = on_exec
        self.on_exit = on_exit


class Instrument:
    """Somebody who watches (trace/).  Override what you want to see; an instrument that raises is reported and removed.

    Arguments are the kernel's own objects, to look at and not to change.
    """

    def syscall_enter(self, thread: Any, call: Any, args: tuple[Any, ...]) -> None:
        """A call was decoded and is about to be served."""

    def syscall_exit(self, thread: Any, call: Any, args: tuple[Any, ...] | None, result: int | Errno | None) -> None:
        """It ended: a value, a refusal, or None where it does not return.  `args` is None when decoding failed."""

    def signal(self, thread: Any, info: Any, handled: bool) -> None:
        """A signal is taken by a thread."""

    def fork(self, parent: Any, child: Any) -> None:
        """`parent` (a thread) made `child` (a thread)."""

    def exec(self, thread: Any, plan: Any) -> None:
        """A thread runs a new program now."""

    def exit(self, proc: Any) -> None:
        """A process ended."""
