"""A call's arguments in words, for views that are not strace's lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ring3.calls.syscall import NOSYS
from ring3.trace.form import Forms, values

if TYPE_CHECKING:
    from ring3.calls.syscall import Bound
    from ring3.proc.proc import Thread


def arguments(t: Thread, call: Bound, args: tuple[Any, ...] | None, result: int | None, forms: Forms) -> str:
    """As strace prints them between the parentheses; with `result` of a call that succeeded, what it filled in too.

    A call whose arguments could not be read shows registers.  `forms` are the caller's, kept from call to call.
    """
    if args is None:
        return ", ".join(hex(word) for word in values(t, call, None))
    found = values(t, call, args) if call.call is NOSYS else args
    return ", ".join(forms.of(call, found).end(t, found, result, 0))
