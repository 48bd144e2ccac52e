"""Tables of calls in which some rows were replaced: what a process has that somebody confines or interposes on.

A row is looked at once, when it is first used; one that stays as it is, is the very row of the table underneath.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

from ring3.calls.syscall import Bound

if TYPE_CHECKING:
    from ring3.abi.x86 import Arch
    from ring3.protocols import Abi


class RewrittenAbis(dict[Any, Any]):
    """The abis of a personality over rewritten tables, by instruction set; each made when first asked for."""

    def __init__(self, own: Mapping[Arch, Abi], row: Callable[[Bound], Bound]) -> None:
        super().__init__()
        self._own = own
        self._row = row

    def __missing__(self, arch: Arch) -> Abi:
        abi = copy(self._own[arch])
        abi.sysent = RewrittenSysent(abi.sysent, self._row)
        self[arch] = abi
        return abi


class RewrittenSysent(dict[int, Bound]):
    """One instruction set's table: `row` says what each of its rows becomes."""

    def __init__(self, own: Mapping[int, Bound], row: Callable[[Bound], Bound]) -> None:
        super().__init__()
        self._own = own
        self._row = row

    def __missing__(self, number: int) -> Bound:
        bound = self._row(self._own[number]).over(self)
        if number in self._own:             # not where many numbers are one call: a guest could fill the table with them
            self[number] = bound
        return bound
