"""pledge of SerenityOS: what the program, and the next one, will do; what it promises holds on top of what the user allows.

Not here: the words (`policy/promises.py`), what a broken promise does (`policy/own.py`), which call needs which (each declaration).
Source: Kernel/Syscalls/pledge.cpp (reference, section 2.2).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from ring3.calls.gate import own_gate
from ring3.calls.serenity.argument import Params, copy_text
from ring3.calls.sysarg import Addr, Kind, Size, quote
from ring3.calls.syscall import syscall
from ring3.errors import E2BIG, EINVAL, EPERM, Errno
from ring3.namedtuple import NamedTuple
from ring3.policy.own import policy_of
from ring3.policy.promises import BITS, mask_of
from ring3.proc.proc import Thread

MOST_BYTES: Final = 1024                    # of each string


class PledgeParams(NamedTuple):
    """SC_pledge_params: two strings, each an address and a length."""

    promises: Addr
    promises_length: Size
    execpromises: Addr
    execpromises_length: Size


class _Shown(Params):
    """Both strings."""

    show_result = Kind.show_result          # nothing is filled in

    def show(self, t: Thread, value: Any) -> str:
        try:
            return f"{_show(t, *value[:2])}, {_show(t, *value[2:])}"
        except Errno:
            return hex(value.promises)


def _show(t: Thread, addr: int, nbytes: int) -> str:
    return quote(copy_text(t, addr, min(nbytes, MOST_BYTES)), nbytes) if addr else "NULL"


@syscall(pledge="")
def sys_pledge(t: Thread, params: Annotated[PledgeParams, _Shown(PledgeParams, "<QQQQ")]) -> int:
    """Promise to do no more than this; a null pointer leaves that set as it is, an empty string promises to do nothing.

    EFAULT, E2BIG, EINVAL for a word that is none, EPERM for more than was promised, in this order; nothing is changed then.
    """
    if params.promises_length > MOST_BYTES or params.execpromises_length > MOST_BYTES:
        raise E2BIG("over 1024 bytes")
    texts = [
        copy_text(t, addr, nbytes) if addr else None
        for addr, nbytes in ((params.promises, params.promises_length), (params.execpromises, params.execpromises_length))
    ]
    promises, execpromises = (None if text is None else _parse(text) for text in texts)
    p = t.proc
    policy = policy_of(p, own_gate)
    if not policy.pledge(promises, execpromises):
        raise EPERM("more than was promised before")
    p.confine(policy)
    return 0


def _parse(text: bytes) -> int:
    """The mask of words with spaces between them.  Raises EINVAL."""
    words = [word.decode("latin-1") for word in text.split(b" ") if word]
    if any(word not in BITS for word in words):
        raise EINVAL("no such promise")
    return mask_of(words)
