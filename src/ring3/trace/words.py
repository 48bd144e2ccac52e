"""A call's arguments in words, for views that are not strace's lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ring3.calls.syscall import NOSYS
from ring3.errors import Errno

if TYPE_CHECKING:
    from ring3.calls.syscall import Bound
    from ring3.proc.proc import Thread


def arguments(t: Thread, call: Bound, args: tuple[Any, ...] | None, result: int | None) -> str:
    """As strace prints them between the parentheses; with `result` of a call that succeeded, what it filled in too.

    A call nobody wrote, and one whose arguments could not be read, shows registers.
    """
    if args is None or call.call is NOSYS:
        return ", ".join(hex(t.cpu.regs[register] & call.abi.word_mask) for register in call.abi.argument_registers)
    shown = []
    for kind, value, behind in zip(call.call.kinds.values(), args, (*args, None)[1:], strict=True):
        try:
            text = kind.show_result_beside(t, value, behind, result) if result is not None else None
            shown.append(kind.show_beside(t, value, behind) if text is None else text)
        except Errno:
            shown.append("?")           # the guest took away meanwhile what stood there
    return ", ".join(shown)
