"""The new address space, as a plan's VMCmds leave it: areas, what they belong to, and where they stand on a ruler.

Pure functions of an `ExecPlan`.  Not here: drawing (`text.py`, `trace/html`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ring3.exec.plan import READ, WRITE
from ring3.namedtuple import NamedTuple
from ring3.vm.region import page_ceil

if TYPE_CHECKING:
    from ring3.exec.plan import ExecPlan, VMCmd


class Area(NamedTuple):
    """Neighbouring pages of one protection and origin.  `name` is the file's path, or "[stack]" and its like."""

    start: int
    end: int
    prot: int
    name: bytes
    offset: int
    is_file: bool


class Object(NamedTuple):
    """Areas that belong together: those of one file with the zeroed pages behind them, or one labelled area.  Lowest
    first.
    """

    name: bytes
    areas: tuple[Area, ...]

    @property
    def start(self) -> int:
        return self.areas[0].start

    @property
    def end(self) -> int:
        return self.areas[-1].end


def areas(commands: Sequence[VMCmd]) -> list[Area]:
    """What stands where once every command has run: a later one replaces what it covers, or fills it.  Lowest first."""
    standing: list[Area] = []
    for command in commands:
        if command.kind == WRITE or command.length <= 0:
            continue
        start, end = command.addr, page_ceil(command.addr + command.length)
        if command.kind == READ and any(
            area.start <= start and end <= area.end and (area.prot, area.name) == (command.prot, command.label) for area in standing
        ):
            continue
        kept: list[Area] = []
        for area in standing:
            if area.end <= start or area.start >= end:
                kept.append(area)
                continue
            if area.start < start:
                kept.append(area._replace(end=start))
            if area.end > end:
                kept.append(area._replace(start=end, offset=area.offset + end - area.start))
        name = command.file.path if command.file is not None else command.label
        kept.append(Area(start, end, command.prot, name, command.offset, command.file is not None))
        standing = kept
    return sorted(standing)


def objects(commands: Sequence[VMCmd]) -> list[Object]:
    """The areas by what they belong to.  Nameless memory right behind a file's is that file's (its .bss)."""
    found: list[Object] = []
    for area in areas(commands):
        last = found[-1] if found else None
        if last is not None and (area.name == last.name or (not area.name and area.start == last.end)):
            found[-1] = Object(last.name, (*last.areas, area))
        else:
            found.append(Object(area.name or b"[zeroed]", (area,)))
    return found


def entry_area(plan: ExecPlan) -> Area | None:
    """The area where the first instruction is fetched."""
    return next((area for area in areas(plan.vmcmds) if area.start <= plan.start < area.end), None)


def cells(areas: Sequence[Area], width: int) -> list[tuple[Area | None, int]]:
    """The areas of one object, and the holes between them (None), as cells of a bar of `width`: to scale, and each at
    least one.
    """
    start, end = areas[0].start, areas[-1].end
    pieces: list[tuple[Area | None, int]] = []
    at = start
    for area in areas:
        if area.start > at:
            pieces.append((None, area.start - at))
        pieces.append((area, area.end - area.start))
        at = area.end
    total = end - start
    if len(pieces) >= width:
        return [(piece, 1) for piece, _ in pieces[:width]]
    counts = [max(1, nbytes * width // total) for _, nbytes in pieces]
    while sum(counts) > width:
        counts[counts.index(max(counts))] -= 1
    spare = width - sum(counts)
    by_loss = sorted(range(len(pieces)), key=lambda i: counts[i] * total - pieces[i][1] * width)
    for index in by_loss[:spare]:
        counts[index] += 1
    return [(piece, count) for (piece, _), count in zip(pieces, counts, strict=True)]
