"""jail_create and jail_attach of SerenityOS.

Not here: jails (`proc/jails.py`).  Source: Kernel/Syscalls/jail.cpp (reference, section 1.20).
"""

from __future__ import annotations

from typing import Annotated, Final

from ring3.calls.serenity.argument import Params, Text
from ring3.calls.sysarg import Addr, Decoder, Kind, Size
from ring3.calls.syscall import syscall
from ring3.errors import EINVAL, ENAMETOOLONG, EPERM
from ring3.namedtuple import NamedTuple
from ring3.proc.jails import find_jail, new_jail
from ring3.proc.proc import Thread
from ring3.protocols import Abi

NAME_MAX: Final = 50


class _Record(Kind):
    """The address of the struct and what stands in it: the call writes to it."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def compile(self, abi: Abi) -> Decoder:
        decode = self.params.compile(abi)
        return lambda t, word: (word, decode(t, word))

    def show(self, t: Thread, value: tuple[int, JailCreateParams]) -> str:
        return self.params.show(t, value[1])


class JailCreateParams(NamedTuple):
    """SC_jail_create_params; the index is where the answer goes."""

    jail_index: Size
    name: Annotated[bytes, Text(NAME_MAX, ENAMETOOLONG, empty=EINVAL)]


class JailAttachParams(NamedTuple):
    """SC_jail_attach_params."""

    jail_index: Size


@syscall(pledge="jail")
def sys_jail_create(
    t: Thread, params: Annotated[tuple[Addr, JailCreateParams], _Record(Params(JailCreateParams, "<QQQ"))]
) -> int:
    """Make a jail; its number goes where the struct has its index.  ENAMETOOLONG over 50 bytes, EINVAL, EPERM inside of one."""
    addr, given = params
    if t.proc.jail is not None:
        raise EPERM("who is in a jail makes none")
    t.proc.vm.copyout(addr, new_jail(t.system, given.name).index.to_bytes(8, "little"))
    return 0


@syscall(pledge="jail")
def sys_jail_attach(t: Thread, params: Annotated[JailAttachParams, Params(JailAttachParams, "<Q")]) -> int:
    """Go into a jail, for good.  EPERM inside of one, EINVAL for a number that is none's."""
    if t.proc.jail is not None:
        raise EPERM("it is in a jail")
    jail = find_jail(t.system, params.jail_index)
    if jail is None:
        raise EINVAL
    t.proc.jail = jail
    return 0
