"""Linux as a personality: its tables tied to the calls, its layouts, its registers, its exec rules.

`linux_personality()` builds the record; everything it is made of stands in the modules beside this one and in `abi/linux/`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from ring3 import errors
from ring3.abi import x86
from ring3.abi.signals import SigInfo
from ring3.abi.table import read_table
from ring3.abi.x86 import Arch
from ring3.errors import Errno
from ring3.personality.linux.tables import MODULES, homes
from ring3.proc.proc import Rlimit
from ring3.protocols import Abi, Personality

RESTART_SYSCALL: Final = {Arch.X86_64: 219, Arch.I386: 0}
RELEASE = "6.1.0-ring3"
VERSION = "#1 SMP PREEMPT_DYNAMIC ring3"


def linux_personality() -> Personality:
    """A fresh record; nothing in it is shared with another kernel's."""
    from ring3.personality.linux import exec_rules

    return Personality(
        name="linux",
        abis=_Abis(),
        exec=exec_rules.LINUX,
        sysname="Linux",
        release=RELEASE,
        version=VERSION,
        machine_name="x86_64",
        dump_core=_dump_core,
    )


def _dump_core(t: Any, info: SigInfo) -> bool:
    if t.proc.rlimit(Rlimit.CORE) == 0:
        return False
    from ring3.personality.linux.core import dump_core

    return dump_core(t, info)


def import_all_calls() -> None:
    """Import now what would be imported when first called: for a process that will have no descriptor left then."""
    for arch in Arch:
        for module in MODULES[arch]:
            import_module(module)


class _Abis(dict[Arch, Abi]):
    """Built when first asked for: most runs never see a 32-bit program."""

    def __missing__(self, arch: Arch) -> Abi:
        abi = self[arch] = _build(arch)
        return abi


def _errno_numbers() -> dict[type[Errno], int]:
    return {errors.by_name(name): number for number, name in read_table("linux/errno").items()}


def _succeed(regs: memoryview, value: int) -> None:
    regs[x86.RAX] = value & x86.MASK64


def _fail(regs: memoryview, number: int) -> None:
    regs[x86.RAX] = -number & x86.MASK64


def _rewind(regs: memoryview, number: int | None) -> None:
    """Back before the two bytes of `syscall` or `int 0x80`."""
    regs[x86.RIP] -= 2
    if number is not None:
        regs[x86.RAX] = number


def _build(arch: Arch) -> Abi:
    from ring3.calls.syscall import Sysent

    if arch is Arch.X86_64:
        from ring3.personality.linux import sigframe64 as sigframe

        table, registers = "linux/amd64", (x86.RDI, x86.RSI, x86.RDX, x86.R10, x86.R8, x86.R9)
    else:
        from ring3.personality.linux import sigframe32 as sigframe  # type: ignore[no-redef]

        table, registers = "linux/i386", (x86.RBX, x86.RCX, x86.RDX, x86.RSI, x86.RDI, x86.RBP)
    names = read_table(table)
    abi = Abi(
        arch=arch,
        native=arch is Arch.X86_64,
        word_size=arch.word_size,
        argument_registers=registers,
        errno=_errno_numbers(),
        succeed=_succeed,
        fail=_fail,
        rewind=_rewind,
        restart_number=RESTART_SYSCALL[arch],
        sysent={},
        names=names,
        layouts=layouts(arch),
        flags={},
        send_signal=sigframe.send_signal,
        shapes="ring3.trace.shapes.linux" if arch is Arch.X86_64 else "",
    )
    abi.sysent = Sysent(names, homes(arch), abi)
    return abi


def layouts(arch: Arch) -> dict[type, Any]:
    """Neutral record to the bytes of one instruction set."""
    from ring3.personality.linux import layouts_files, layouts_process

    if arch is Arch.X86_64:
        return {**layouts_files.LAYOUTS64, **layouts_process.LAYOUTS64}
    return {**layouts_files.LAYOUTS32, **layouts_process.LAYOUTS32}
