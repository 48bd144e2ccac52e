"""The first instructions of an exec, disassembled: what the CPU is about to do when the system lets go of it.

The bytes are what the plan's VMCmds will have put at its start.  Words are capstone's, which is asked only where it is installed
(`pip install ring3[disassembly]`) and somebody wants to see them: importing it takes as long as everything else here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.abi.x86 import Arch
from ring3.errors import Errno
from ring3.exec.plan import MAP, READ, WRITE
from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.exec.plan import ExecPlan, VMCmd

SHOWN: Final = 12               # instructions
MOST: Final = SHOWN * 15        # bytes they can take (Intel SDM, 2.3.11)


class Instruction(NamedTuple):
    """One instruction: where, its bytes, and its words as Intel spells them."""

    address: int
    code: bytes
    text: str


def first_bytes(plan: ExecPlan, nbytes: int = MOST) -> bytes:
    """What stands where the first instruction is fetched, and behind it; fewer bytes where less is mapped or can be read."""
    found = bytearray(nbytes)
    known = 0
    for command in plan.vmcmds:
        skip = plan.start - command.addr
        if not 0 <= skip < command.length:
            continue
        piece = _piece(command, skip, min(nbytes, command.length - skip))
        found[: len(piece)] = piece
        known = max(known, len(piece))
    return bytes(found[:known])


def _piece(command: VMCmd, skip: int, nbytes: int) -> bytes:
    if command.kind == WRITE:
        return command.data[skip : skip + nbytes]
    if command.kind not in (MAP, READ) or command.file is None:
        return bytes(nbytes)
    try:
        return command.file.vnode.read(command.offset + skip, nbytes)
    except Errno:
        return b""


def instructions(code: bytes, address: int, arch: Arch, most: int) -> tuple[Instruction, ...]:
    r"""At most that many of the instructions in `code`, which stands at `address`, whether or not they jump; none without capstone.

    >>> instructions(b"\x48\x89\xe7\x90", 0x401000, Arch.X86_64, 1)
    (Instruction(address=4198400, code=b'H\x89\xe7', text='mov rdi, rsp'),)
    """
    try:
        import capstone
    except ImportError:
        return ()
    mode = capstone.CS_MODE_64 if arch is Arch.X86_64 else capstone.CS_MODE_32
    return tuple(
        Instruction(at, code[at - address :][:size], f"{name} {operands}".rstrip())
        for at, size, name, operands in capstone.Cs(capstone.CS_ARCH_X86, mode).disasm_lite(code, address, most)
    )
