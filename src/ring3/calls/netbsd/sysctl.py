"""__sysctl(2): the call, and the meta-numbers that let a program find a node by name.

What fits is copied, the size of all of it is told, and ENOMEM says that there was more.  Nothing is ever larger than arguments of
one exec.  Sources: sysctl(3), sysctl(9), sys/kern/kern_sysctl.c (sysctl_dispatch, sysctl_query, sysctl_lookup).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Annotated, Any, Final

from ring3.abi.procrecords import Word as WordRecord
from ring3.calls.guest import fetch, store
from ring3.calls.netbsd.sysctlnode import Asked, Kind, Node, Reply, whole
from ring3.calls.netbsd.sysctlproc import CURPROC, answer
from ring3.calls.netbsd.sysctltree import ROOT
from ring3.calls.procarg import Pointer, WordOut
from ring3.calls.sysarg import Address, OutBuf, Size, UInt
from ring3.calls.syscall import syscall
from ring3.errors import EFAULT, EINVAL, EISDIR, ENOENT, ENOTDIR, EOPNOTSUPP, EPERM
from ring3.proc.proc import Thread

_MAXNAME: Final = 12
_EOL, _QUERY, _CREATE, _CREATESYM, _DESTROY, _MMAP, _DESCRIBE = range(-1, -8, -1)
_METAS: Final = range(_DESCRIBE, _EOL)       # what is asked about nodes; -1 may be a process
_VERSION: Final = 0x0100_0000
_VERSION_MASK: Final = 0xFF00_0000
_READWRITE: Final = 0x70
_PERMANENT: Final = 0x200
_NODE: Final = struct.Struct("<Ii32sI4x16sQ24x")
_SIZES: Final = {Kind.INT: 4, Kind.QUAD: 8, Kind.BOOL: 1}       # of what a node says it is
_STRING_MAX: Final = 256


class NameVector(Address):
    """A name: as many ints as the argument behind it says."""

    def show_beside(self, t: Thread, value: Any, behind: Any) -> str:
        if not value or not isinstance(behind, int) or not 0 < behind <= _MAXNAME:
            return self.show(t, value)
        try:
            name = read_name(t, value, behind)
        except EFAULT:
            return hex(value)
        return f"[{_spelled(name)}]"


def _spelled(name: Sequence[int]) -> str:
    """`kern.hostname`, numbers where there is no name."""
    shown, node = [], ROOT
    for number in name:
        found = next((child for child in node.children if child.number == number), None)
        shown.append(found.name if found is not None else {_QUERY: "CTL_QUERY"}.get(number, str(number)))
        node = found if found is not None else Node(0, "", Kind.NODE)
    return ".".join(shown)


MibName = Annotated[int, NameVector()]


def read_name(t: Thread, addr: int, count: int) -> tuple[int, ...]:
    """The ints of a name.  Raises EFAULT."""
    return struct.unpack(f"<{count}i", t.proc.vm.copyin(addr, 4 * count))


@syscall(pledge="stdio")
def sys___sysctl(
    t: Thread, name: MibName, namelen: UInt, old: OutBuf, oldlenp: WordOut, new: Pointer, newlen: Size
) -> int:
    """Ask for, or set, a variable of the system.  ENOENT, EISDIR, ENOTDIR, EPERM, EINVAL, ENOMEM, EFAULT."""
    if not 1 <= namelen <= _MAXNAME:
        raise EINVAL
    mib = read_name(t, name, namelen)
    room = fetch(t, WordRecord, oldlenp) if oldlenp else 0
    reply = _answer(t, mib, Asked((), room if old else 0, bool(old), new, newlen))
    if old:
        t.proc.vm.copyout(old, reply.data)
    if oldlenp:
        store(t, WordRecord, oldlenp, reply.told)
    if reply.refusal is not None:
        raise reply.refusal
    return 0


def _answer(t: Thread, mib: tuple[int, ...], asked: Asked) -> Reply:
    """The value of a name; a new one is set."""
    node = ROOT
    for place, number in enumerate(mib):
        rest = mib[place:]
        if node.ask is not None and rest[-1] not in _METAS:
            return node.ask(t, asked._replace(rest=rest))
        if number < 0:
            return whole(_meta(t, node, number, rest[1:], asked), asked)
        if node.kind != Kind.NODE:
            raise ENOTDIR
        node = _child(node, number)
    if node.ask is not None:
        return node.ask(t, asked)
    if node.get is None:
        raise EISDIR
    data = answer(node.kind, node.get(t, asked.room))
    if asked.new:
        _set(t, node, asked.new, asked.newlen)
    return whole(data, asked)


def _child(node: Node, number: int) -> Node:
    """Raises ENOENT.  Any process is below `proc` what the present one is."""
    found = next((child for child in node.children if child.number == number), None)
    if found is None and number > 0:
        found = next((child for child in node.children if child.number == CURPROC), None)
    if found is None:
        raise ENOENT
    return found


def _set(t: Thread, node: Node, new: int, newlen: int) -> None:
    """Give a node another value: root's privilege.  Raises EPERM, EINVAL."""
    if node.put is None or not t.proc.cred.privileged:
        raise EPERM
    t.needs("root")
    if newlen >= _STRING_MAX:
        raise EINVAL
    node.put(t, t.proc.vm.copyin(new, newlen).split(b"\0", 1)[0])


# --- nodes as such
def _meta(t: Thread, node: Node, what: int, rest: Sequence[int], asked: Asked) -> bytes:
    """What is asked about a node rather than of it: its children, in order."""
    if what in (_CREATE, _CREATESYM, _DESTROY):
        raise EPERM
    if what != _QUERY:
        raise EOPNOTSUPP
    if rest:
        raise EINVAL
    if node.kind != Kind.NODE:
        raise ENOTDIR
    if not asked.new or asked.newlen != _NODE.size:
        raise EINVAL
    flags = int.from_bytes(t.proc.vm.copyin(asked.new, _NODE.size)[:4], "little")
    if flags & _VERSION_MASK != _VERSION:
        raise EINVAL
    return b"".join([_described(child) for child in sorted(node.children)])


def _described(node: Node) -> bytes:
    """struct sysctlnode."""
    flags = _VERSION | int(node.kind) | _PERMANENT | (_READWRITE if node.put is not None else 0)
    union = struct.pack("<II8x", len(node.children), len(node.children)) if node.kind == Kind.NODE else b""
    size = _NODE.size if node.kind == Kind.NODE else _SIZES.get(node.kind, 0)
    return _NODE.pack(flags, node.number, node.name.encode()[:31], 0, union, size)
