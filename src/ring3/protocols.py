"""What lower floors call through: the shapes of what stands above them.  Data and signatures, no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from ring3.abi.signals import LINUX_DEFAULTS, SigInfo, SignalDefaults
from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.abi.flags import Access
    from ring3.abi.x86 import Arch
    from ring3.errors import Errno


class LookupRules(NamedTuple):
    """What a system's look-ups do otherwise than Linux's (`vfs/namei.py`)."""

    slash_follows: bool = False     # "link/" is what a link leads to, also where names are made, moved, removed
    max_path: int = 4095            # bytes of a path, without the zero behind it
    max_links: int = 40             # symbolic links followed in one look-up: MAXSYMLINKS, include/linux/namei.h
    guards_links: bool = False      # links of others in sticky directories that all may write are not followed, whoever asks
    system: str = ""                # whose own mounts are seen, besides everybody's (`Mount.only`)
    own_files: tuple[bytes, ...] = ()       # looked for below the emulation root alone: the real tree's are another system's


LINUX_LOOKUPS: Final = LookupRules()


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
    """Who may forbid a name although its permissions allow it (unveil).  Asked by namei, about what was found."""

    def check(self, dentry: Any, name: bytes, access: Access) -> None:
        """Whether a dentry, or the name `name` in it, may be used so.  Raises ENOENT or EACCES."""

    def check_link(self, dentry: Any, access: Access) -> None:
        """Whether a symbolic link may be followed by who wants what it leads to for this.  Raises ENOENT or EACCES."""

    def check_open(self, dentry: Any, access: Access) -> None:
        """Whether a file that is open already may be used so, too.  Raises ENOENT or EACCES."""

    def hides(self, dentry: Any) -> bool:
        """Whether even that it is there is not to be known: neither it, nor anything below it is unveiled."""

    def may_move(self, dentry: Any) -> None:
        """Whether a directory may have another name.  Raises EACCES."""

    def may_become(self, here: Any, name: bytes, there: Any, new_name: bytes) -> None:
        """Whether a name in one directory may become another one in another.  Raises EACCES."""


class FileGuard(Protocol):
    """Who watches over files and their names, whatever permissions allow (veriexec).  Asked by the vfs, once the system's own
    rules are satisfied and before anything happens; each raises EPERM.
    """

    def opens(self, dentry: Any, *, writes: bool) -> None:
        """A file is opened; `writes`: for writing, or to be cut."""

    def makes(self, directory: Any, name: bytes) -> None:
        """A name for a file is made: of a new one, or one more."""

    def removes(self, dentry: Any) -> None:
        """A name that is no directory's is taken away."""

    def renames(self, source: Any, target: Any, *, replaces: bool) -> None:
        """A file gets the name of another (None: a free one), which goes when it `replaces` it and else gets this one's."""

    def unmounts(self, mount: Any) -> None:
        """A file system is taken away."""


class Abi:
    """How the registers and bytes of one instruction set carry a call, for one system.

    Built once by a personality; everything in it is data or a small function of registers.  `sysent` maps a number to what
    `calls.syscall.Syscall.bind` made of the declaration; a number without a row answers ENOSYS and is counted by `names`.

    Arguments stand in `argument_registers`; those there are no registers for on the stack, from `argument_stack` bytes above the
    stack pointer on (None: calls have no more).  `pads` says which argument places of a call mean nothing (BSD puts one before
    what has 64 bits).
    """

    __slots__ = (
        "arch", "argument_registers", "argument_stack", "errno", "error_results", "fail", "fault_signal", "flags",
        "layouts", "names", "native", "other_way_in", "pads", "restart_number", "rewind", "send_signal", "set_tls",
        "shapes", "stray_signal", "succeed", "sysent", "word_mask", "word_size",
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
        argument_stack: int | None = None,
        pads: Mapping[str, tuple[int, ...]] = {},
        error_results: Collection[int] = frozenset(),
        stray_signal: int = 0,
        set_tls: Callable[[Any, int], None] | None = None,
        other_way_in: Callable[[Any], bool] | None = None,
        fault_signal: Callable[[Any, Any], SigInfo] | None = None,
        shapes: str = "",
    ) -> None:
        self.arch = arch
        self.native = native                    # whether images of this instruction set are 64-bit ones
        self.word_size = word_size              # bytes of a pointer and a long
        self.word_mask = (1 << (8 * word_size)) - 1
        self.argument_registers = argument_registers
        self.argument_stack = argument_stack
        self.pads = pads
        self.error_results = error_results      # numbers of calls that succeed with the error as their result
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
        self.set_tls = set_tls if set_tls is not None else _no_tls      # (thread, address): its private memory is there
        self.other_way_in = other_way_in        # (thread): whether the instruction that faulted is a call, and it was made one
        self.fault_signal = fault_signal or _fault_signal       # (thread, fault): what an exception of the CPU becomes
        self.stray_signal = stray_signal        # sent to a thread that makes a call there is no name for; 0: none
        self.shapes = shapes                    # the module that says how calls print beyond their declarations (trace/shapes)


    def refuse(self, regs: memoryview, call_number: int, refusal: type[Errno]) -> None:
        """The call that was made by `call_number` is refused."""
        answer = self.succeed if call_number in self.error_results else self.fail
        answer(regs, self.errno[refusal])


def _fault_signal(_thread: Any, fault: Any) -> SigInfo:
    """As the host has it."""
    return SigInfo(fault.signal, fault.code, addr=fault.addr)


def _no_tls(thread: Any, address: int) -> None:
    """A system whose calls for it write registers themselves."""


class Personality:
    """How programs of one system see the kernel (NetBSD: `struct emul`).

    A record: differences between systems are values and small functions here, never branches in shared code.
    `abis` has one entry for each instruction set whose calls it serves.  `exec` are the rules exec goes by (exec/rules.py).
    """

    __slots__ = (
        "abis", "dump_core", "exec", "forces_writes", "incomplete", "lookups", "machine_name", "name", "on_exec", "on_exit",
        "own_process", "release", "root", "signal_defaults", "sysname", "version", "views",
    )

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
        signal_defaults: SignalDefaults = LINUX_DEFAULTS,
        own_process: Collection[bytes] = (),
        lookups: LookupRules = LINUX_LOOKUPS,
        forces_writes: bool = True,
        views: Mapping[bytes, Callable[[Any], Any]] = {},
        dump_core: Callable[[Any, SigInfo], bool] | None = None,
        incomplete: str = "",
    ) -> None:
        self.name = name
        self.incomplete = incomplete    # why its programs are looked at and not run yet; empty: they run
        self.abis = abis
        self.exec = exec
        self.sysname = sysname
        self.release = release
        self.version = version
        self.machine_name = machine_name
        self.root = root                # where look-ups are tried first, as in /emul/NAME
        self.on_exec = on_exec
        self.on_exit = on_exit
        self.signal_defaults = signal_defaults
        self.lookups = lookups
        self.forces_writes = forces_writes      # /proc/PID/mem writes private pages whatever their protection
        self.dump_core = dump_core      # (thread, signal): write a core file before the process dies of it; whether there is one
        self.views = views              # places its programs see something of their own at: path -> (system) -> file system
        self.own_process = own_process  # names in /proc of the process that looks, beside `self`


class Instrument:
    """Somebody who watches (trace/).  Override what you want to see; an instrument that raises is reported and removed.

    Arguments are the kernel's own objects, to look at and not to change.
    """

    def syscall_enter(self, thread: Any, call: Any, args: tuple[Any, ...]) -> None:
        """A call was decoded and is about to be served."""

    def syscall_exit(self, thread: Any, call: Any, args: tuple[Any, ...] | None, result: int | Errno | None) -> None:
        """It ended: a value, a refusal, or None where it does not return.  `args` is None when decoding failed."""

    def lookup(self, thread: Any, path: bytes) -> None:
        """A thread's call, or an exec, looks this path up."""

    def signal(self, thread: Any, info: Any, handled: bool) -> None:
        """A signal is taken by a thread."""

    def fork(self, parent: Any, child: Any) -> None:
        """`parent` (a thread) made `child` (a thread)."""

    def wake(self, waker: Any, woken: Any) -> None:
        """What `waker` (a thread) does ends the sleep of `woken`, in the middle of its call.  Not told where a timer or the host
        does.
        """

    def exec_strings(self, thread: Any, argv: tuple[bytes, ...], envp: tuple[bytes, ...]) -> None:
        """An exec took these arguments and this part of the environment from its caller; it may fail yet (KTR_EXEC_ARG,
        KTR_EXEC_ENV).  Told once, or in parts while they are copied.
        """

    def setid(self, thread: Any) -> None:
        """The program that is about to run has set-id bits that count: who watches for the process's owner stops now,
        unless root set it (ktrace).
        """

    def exec(self, thread: Any, plan: Any) -> None:
        """A thread runs a new program now."""

    def exit(self, proc: Any) -> None:
        """A process ended."""

    def utrace(self, thread: Any, name: bytes, data: bytes) -> None:
        """A program tells of itself (utrace(2))."""

    def policy(self, thread: Any, decision: Any) -> None:
        """A policy refused something, or would have (`policy.confinement.Decision`)."""
