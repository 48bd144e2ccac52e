"""syscall(2) and __syscall(2): calls whose first argument is the number of the call that is made; the others move up.

Source: syscall(2), x86's syscall.c as the reference states it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ring3.calls.sysarg import Offset64, UInt
from ring3.calls.syscall import Bound, Syscall, syscall
from ring3.errors import ENOSYS
from ring3.proc.proc import Thread
from ring3.protocols import Abi

_TABLE_SIZE: Final = 512


@syscall(pledge="")
def sys_syscall(t: Thread, number: UInt) -> int:
    """Make the call of that number."""
    del t, number
    raise ENOSYS


@syscall(pledge="")
def sys___syscall(t: Thread, number: Offset64) -> int:
    """The same, its number a quad, for calls with 64-bit arguments where a word has four bytes."""
    del t, number
    raise ENOSYS


class Indirect(Bound):
    """A row that stands for another one.  What is watched and told of is the call that is really made."""

    __slots__ = ("_shifted", "_table")

    leads_on = True

    def __init__(self, call: Syscall, abi: Abi, table: Mapping[int, Bound]) -> None:
        super().__init__(call, abi, call.name)
        self._table = table
        self._shifted: dict[int, Bound] = {}
        self.invoke = lambda t, regs: self.resolve(t, regs).invoke(t, regs)

    def resolve(self, t: Thread, regs: memoryview) -> Bound:
        """The row of the number, its arguments one place further.  Raises ENOSYS for no call and for another indirect one."""
        number = self.decode(t, regs)[0]
        found = self._shifted.get(number)
        if found is None:
            found = self._shifted[number] = self._shift(t, number)
        return found

    def over(self, table: Mapping[int, Bound]) -> Bound:
        """Leading on to the rows of that table: a process that is confined is confined here too."""
        return Indirect(self.call, self.abi, table)

    def _shift(self, t: Thread, number: int) -> Bound:
        row: Bound | None = None
        if 0 <= number < _TABLE_SIZE:
            try:  # noqa: SIM105 - a KeyError of a table that fills itself
                row = self._table[number]
            except KeyError:
                pass
        if row is None or isinstance(row, Indirect):
            t.system.count_missing(f"indirect {number}")
            raise ENOSYS
        _, _, high = self.decoders[0]
        width = 1 if high < 0 else 2
        pads = (*range(width), *(pad + width for pad in row.pads))
        return row.moved(pads)
