"""SerenityOS as a personality: its exec rules, its numbers, its registers.

Everything it is made of stands in the modules beside this one, in `abi/serenity/` and `calls/serenity/`.
Source: the tree of 2022-12-30, as the reference states it.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Final

from ring3 import errors
from ring3.abi import x86
from ring3.abi.signals import SigInfo, Signal
from ring3.abi.table import read_pairs, read_table
from ring3.abi.x86 import Arch
from ring3.errors import EINVAL, Errno
from ring3.personality.serenity import signals
from ring3.proc import tasks
from ring3.proc.tracing import TracedRegisters
from ring3.protocols import Abi, LookupRules, Personality

RELEASE: Final = "1.0-dev"
VERSION: Final = "0e010790a4"


def serenity_personality() -> Personality:
    """A fresh record; nothing in it is shared with another kernel's."""
    from ring3.personality.serenity import exec_rules
    from ring3.personality.serenity.view import VIEWS

    return Personality(
        name="serenity",
        abis=_OneAbi(),
        exec=exec_rules.SERENITY,
        sysname="SerenityOS",
        release=RELEASE,
        version=VERSION,
        machine_name="x86_64",
        on_exec=tasks.after_exec,
        on_exit=tasks.after_exec,
        signal_defaults=signals.DEFAULTS,
        lookups=LookupRules(max_path=4096, max_links=8, guards_links=True, system="serenity"),
        forces_writes=False,            # or what may not be written and executed could be
        views=VIEWS,
        dump_core=_dump_core,
        root=b"/emul/serenity",         # ring3's own: where --emul serenity=DIR shows a root of that system
    )


def _dump_core(t: Any, info: SigInfo) -> bool:
    if not t.system.core_directory:
        return False
    from ring3.personality.serenity.core import dump_core

    return dump_core(t, info)


class _OneAbi(dict[Arch, Abi]):
    """Built when first asked for; nothing but its own instructions is a way in."""

    def __missing__(self, arch: Arch) -> Abi:
        from ring3.calls.serenity.enforcement import NoWayIn

        own = self[Arch.X86_64] = _build()
        for way_in in Arch:
            if way_in is not Arch.X86_64:
                other = self[way_in] = copy(own)
                other.sysent = NoWayIn(other)
        return self[arch]


class _ErrnoNumbers(dict[type[Errno], int]):
    """What SerenityOS has no number for is EINVAL."""

    def __missing__(self, refusal: type[Errno]) -> int:
        number = self[refusal] = self[EINVAL]
        return number


def errno_numbers() -> dict[type[Errno], int]:
    """Class to number."""
    return _ErrnoNumbers({errors.by_name(name): number for number, name in read_table("serenity/errno").items()})


def _succeed(regs: memoryview, value: int) -> None:
    regs[x86.RAX] = value & x86.MASK64


def _fail(regs: memoryview, number: int) -> None:
    regs[x86.RAX] = -number & x86.MASK64


def _rewind(regs: memoryview, number: int | None) -> None:
    regs[x86.RIP] -= 2
    if number is not None:
        regs[x86.RAX] = number


def _build() -> Abi:
    from ring3.calls.serenity.enforcement import CheckedSysent, fault_signal
    from ring3.personality.serenity import layouts_files, layouts_process, layouts_sockets, layouts_system, sigframe
    from ring3.personality.serenity.flags import FLAGS

    names = read_table("serenity/amd64")
    abi = Abi(
        arch=Arch.X86_64,
        native=True,
        word_size=8,
        argument_registers=(x86.RDX, x86.RDI, x86.RBX, x86.RSI),
        errno=errno_numbers(),
        succeed=_succeed,
        fail=_fail,
        rewind=_rewind,
        restart_number=-1,
        sysent={},
        names=names,
        layouts={
            **layouts_files.LAYOUTS, **layouts_process.LAYOUTS, **layouts_system.LAYOUTS, **layouts_sockets.LAYOUTS,
            TracedRegisters: sigframe.TRACED,
        },
        flags={**FLAGS, Signal: signals.SignalNumbers()},
        send_signal=sigframe.send_signal,
        other_way_in=sigframe.other_way_in,
        fault_signal=fault_signal,
    )
    abi.sysent = CheckedSysent(names, read_pairs("serenity/calls"), abi)
    return abi
