"""unveil of SerenityOS: which paths the program, and the next one, will see; on top of what the user shows it.

A path is looked up as if the program had no veil of its own, and what it leads to is unveiled, links and dots resolved.
Not here: the tree and its states (`policy/veil.py`), what exec and fork make of them (`policy/own.py`).
Source: Kernel/Syscalls/unveil.cpp (reference, sections 3.2 and 3.3).
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from ring3.calls.gate import own_gate
from ring3.calls.serenity.argument import PATH, PATH_MAX, Params, copy_text
from ring3.calls.sysarg import Addr, Int, Kind, Size, quote
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENAMETOOLONG, EPERM, Errno
from ring3.namedtuple import NamedTuple
from ring3.policy.confinement import place_of
from ring3.policy.own import own_veil, policy_of
from ring3.policy.veil import VeilState, parse_permissions
from ring3.proc.proc import Thread

CURRENT_PROGRAM, AFTER_EXEC = 1, 2
LETTERS_MAX: Final = 5


class UnveilParams(NamedTuple):
    """SC_unveil_params: for whom, a path, letters out of "rwxcb"; strings are an address and a length each."""

    flags: Int
    path: Addr
    path_length: Size
    permissions: Addr
    permissions_length: Size


class _Shown(Params):
    """As LibC's unveil has its arguments, with the flags before them where they are not the usual ones."""

    show_result = Kind.show_result          # nothing is filled in

    def show(self, t: Thread, value: Any) -> str:
        try:
            path, letters = (
                quote(copy_text(t, addr, min(nbytes, PATH_MAX)), None) if addr else "NULL"
                for addr, nbytes in (value[1:3], value[3:5])
            )
        except Errno:
            return hex(value.path)
        return f"{path}, {letters}" if value.flags == CURRENT_PROGRAM else f"{value.flags:#x}, {path}, {letters}"


@syscall(pledge="")
def sys_unveil(t: Thread, params: Annotated[UnveilParams, _Shown(UnveilParams, "<i4xQQQQ")]) -> int:
    """Show a path to the program, to the next one, or both; two null pointers: show no more from now on.

    EFAULT, EINVAL, EPERM for a locked veil, ENAMETOOLONG, what looking the path up says, EPERM for more than was given before; in
    this order.  In a program whose veil was made before its exec it succeeds and shows nothing more.
    """
    p = t.proc
    policy = policy_of(p, own_gate)
    if not params.path and not params.permissions:
        policy.lock(t)
        p.confine(policy)
        return 0
    for_now, for_later = params.flags & CURRENT_PROGRAM, params.flags & AFTER_EXEC
    if not for_now and not for_later:
        raise EINVAL("neither for this program nor for the next")
    if for_now and policy.state is VeilState.LOCKED_INHERITED:
        return 0
    if for_now and policy.state is VeilState.LOCKED:
        raise EPERM("the veil is locked")
    if not params.path or not params.permissions or params.permissions_length > LETTERS_MAX:
        raise EINVAL
    path = PATH.read(t, params.path, params.path_length) or b""
    if not path.startswith(b"/"):
        raise EINVAL("a path that is not absolute")
    permissions = parse_permissions(copy_text(t, params.permissions, params.permissions_length).decode("latin-1"))
    place = place_of(t, path, permissions, own_veil(p)[1])
    if len(place) > PATH_MAX:
        raise ENAMETOOLONG
    if for_now:
        policy.reveal(t, place, permissions)
        p.confine(policy)
    if for_later:
        policy.reveal_later(t, place, permissions)
        p.confine(policy)
    return 0
