"""NetBSD as a personality: two records, as NetBSD itself has them: "netbsd" (amd64) and "netbsd32" (i386 programs).

Each has one table, whichever instruction enters the kernel.  Everything they are made of stands in the modules beside this one, in
`abi/netbsd/` and `calls/netbsd/`.  Source: syscall conventions of amd64 and i386 as the reference states them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ring3 import errors
from ring3.abi import x86
from ring3.abi.signals import Signal
from ring3.abi.table import read_pairs, read_table
from ring3.abi.x86 import EFLAGS, EFLAGS_CF, MASK32, MASK64, RAX, RDX, Arch
from ring3.calls.syscall import Pair
from ring3.errors import EINVAL, Errno
from ring3.personality.netbsd import signals
from ring3.personality.netbsd.flags import flag_translations
from ring3.personality.netbsd.signals import SignalNumbers
from ring3.personality.netbsd.tables import ERROR_RESULTS, RESTART, NetbsdSysent, homes
from ring3.proc import lwp
from ring3.protocols import Abi, LookupRules, Personality

RELEASE: Final = "10.1"
VERSION: Final = "NetBSD 10.1 (ring3) #0: amd64"


def netbsd_personality() -> Personality:
    """A fresh record for amd64 programs; nothing in it is shared with another kernel's."""
    return _personality("netbsd", "amd64", amd64_abi)


def netbsd32_personality() -> Personality:
    """A fresh record for i386 programs; their exec rules differ in what the image says, not in the system."""
    return _personality("netbsd32", "i386", i386_abi)


def _personality(name: str, machine: str, make_abi: Callable[[], Abi]) -> Personality:
    from ring3.personality.netbsd import exec_rules

    return Personality(
        name=name,
        abis=_OneAbi(make_abi),
        exec=exec_rules.NETBSD,
        sysname="NetBSD",
        release=RELEASE,
        version=VERSION,
        machine_name=machine,
        root=f"/emul/{name}".encode(),
        on_exec=lwp.forget,
        on_exit=lwp.forget,
        signal_defaults=signals.DEFAULTS,
        own_process=(b"curproc",),
        lookups=LookupRules(slash_follows=True, own_files=(b"/etc/ld.so.conf",)),
    )


class _OneAbi(dict[Arch, Abi]):
    """Built when first asked for.  The same whichever instruction enters: a process has the table of its program."""

    def __init__(self, make: Callable[[], Abi]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, arch: Arch) -> Abi:
        abi = self._make()
        for way_in in Arch:
            self[way_in] = abi
        return abi


class _ErrnoNumbers(dict[type[Errno], int]):
    """What NetBSD has no number for is EINVAL."""

    def __missing__(self, refusal: type[Errno]) -> int:
        number = self[refusal] = self[EINVAL]
        return number


def errno_numbers() -> dict[type[Errno], int]:
    """Class to number; names that the kernel never refuses with have no class."""
    known = vars(errors)
    rows = {name: number for number, name in read_table("netbsd/errno").items()}
    numbers = _ErrnoNumbers({known[name]: number for name, number in rows.items() if name in known})
    numbers[errors.ENODATA] = rows["ENOATTR"]        # an extended attribute that is not there: nothing else says ENODATA here
    return numbers


def _succeed(regs: memoryview, value: int) -> None:
    regs[RAX] = value & MASK64
    regs[RDX] = value.second & MASK64 if isinstance(value, Pair) else 0
    if regs[EFLAGS] & EFLAGS_CF:
        regs[EFLAGS] &= ~EFLAGS_CF


def _succeed32(regs: memoryview, value: int) -> None:
    """A result of 64 bits (off_t) takes both registers."""
    regs[RAX] = value & MASK32
    regs[RDX] = (value.second if isinstance(value, Pair) else value >> 32) & MASK32
    if regs[EFLAGS] & EFLAGS_CF:
        regs[EFLAGS] &= ~EFLAGS_CF


def _fail(regs: memoryview, number: int) -> None:
    regs[RAX] = number
    regs[EFLAGS] |= EFLAGS_CF


def _rewind(regs: memoryview, number: int | None) -> None:
    """Back before the two bytes of `syscall` or `int 0x80`."""
    regs[x86.RIP] -= 2
    if number is not None:
        regs[RAX] = number


def pads() -> dict[str, tuple[int, ...]]:
    """Call to the places of its arguments that mean nothing."""
    return {name: (int(place),) for name, place in read_pairs("netbsd/pads").items()}


def error_results(names: Mapping[int, str]) -> frozenset[int]:
    """The numbers of the calls whose error is their result."""
    return frozenset(number for number, name in names.items() if name in ERROR_RESULTS)


def amd64_abi() -> Abi:
    """NetBSD/amd64."""
    from ring3.personality.netbsd import context64, sigframe64
    from ring3.personality.netbsd.ucontext import Context

    numbers = SignalNumbers()
    names = read_table("netbsd/amd64")
    abi = Abi(
        arch=Arch.X86_64,
        native=True,
        word_size=8,
        argument_registers=(x86.RDI, x86.RSI, x86.RDX, x86.R10, x86.R8, x86.R9),
        argument_stack=8,                # above a return address
        pads=pads(),
        error_results=error_results(names),
        errno=errno_numbers(),
        succeed=_succeed,
        fail=_fail,
        rewind=_rewind,
        restart_number=RESTART,
        stray_signal=Signal.SIGSYS,
        set_tls=context64.set_tls,
        sysent={},
        names=names,
        layouts={**layouts(numbers, 8), Context: context64.REGISTERS},
        flags=flag_translations(numbers),
        send_signal=sigframe64.send_signal,
    )
    abi.sysent = NetbsdSysent(names, homes(Arch.X86_64), abi)
    return abi


def i386_abi() -> Abi:
    """NetBSD/i386, and amd64's netbsd32: `int 0x80`, all arguments on the stack."""
    from ring3.personality.netbsd import context32, sigframe32
    from ring3.personality.netbsd.ucontext import Context

    numbers = SignalNumbers()
    names = read_table("netbsd/amd64")
    abi = Abi(
        arch=Arch.I386,
        native=False,
        word_size=4,
        argument_registers=(),
        argument_stack=4,
        pads=pads(),
        error_results=error_results(names),
        errno=errno_numbers(),
        succeed=_succeed32,
        fail=_fail,
        rewind=_rewind,
        restart_number=RESTART,
        stray_signal=Signal.SIGSYS,
        set_tls=context32.set_tls,
        sysent={},
        names=names,
        layouts={**layouts(numbers, 4), Context: context32.REGISTERS},
        flags=flag_translations(numbers),
        send_signal=sigframe32.send_signal,
    )
    abi.sysent = NetbsdSysent(names, homes(Arch.I386), abi)
    return abi


def layouts(numbers: SignalNumbers, word_size: int) -> dict[type, Any]:
    """Neutral record to the bytes of one word size."""
    from ring3.personality.netbsd import layouts_files, layouts_older, layouts_process

    return {
        **layouts_files.layouts(word_size), **layouts_process.layouts(numbers, word_size), **layouts_older.layouts(word_size),
    }
