"""How often each call was made, how long it took, how often it failed: strace's -c.

Times are those of the kernel between a call's begin and its end, sleeps included.  Source: strace(1), -c.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from ring3 import events

_Item = tuple[str, list[int]]       # a name, and its ns, calls and errors


def _by_time(item: _Item) -> Any:
    return -item[1][0], item[0]


def _by_calls(item: _Item) -> Any:
    return -item[1][1], item[0]


def _by_errors(item: _Item) -> Any:
    return -item[1][2], item[0]


def _by_name(item: _Item) -> Any:
    return item[0]


ORDERS: Final[Mapping[str, Callable[[Any], Any] | None]] = MappingProxyType({     # strace's -S, with its other names for them
    "time": _by_time, "total-time": _by_time, "time-total": _by_time, "calls": _by_calls, "count": _by_calls, "errors": _by_errors,
    "error": _by_errors, "name": _by_name, "syscall": _by_name, "syscall-name": _by_name, "nothing": None, "none": None,
})


class Summary:
    """Adds up `SyscallExit` events.  `order`: a key of ORDERS."""

    def __init__(self, order: str = "time") -> None:
        self._order = ORDERS[order]
        self._rows: dict[str, list[int]] = {}       # name -> ns, calls, errors

    def __call__(self, event: events.SyscallExit) -> None:
        """One call more."""
        row = self._rows.setdefault(event.name, [0, 0, 0])
        row[0] += event.took
        row[1] += 1
        row[2] += bool(event.error)

    def table(self) -> str:
        """The table, the call that took longest first.

        >>> summary = Summary()
        >>> summary(events.SyscallExit(0, 2, 2, "getpid", "", 2, "", 3000))
        >>> print(summary.table(), end="")
        % time     seconds  usecs/call     calls    errors syscall
        ------ ----------- ----------- --------- --------- ----------------
        100.00    0.000003           3         1           getpid
        ------ ----------- ----------- --------- --------- ----------------
        100.00    0.000003           3         1           total
        """
        total = [sum(row[column] for row in self._rows.values()) for column in range(3)]
        rule = f"{'-' * 6} {'-' * 11} {'-' * 11} {'-' * 9} {'-' * 9} {'-' * 16}"
        lines = [f"{'% time':>6} {'seconds':>11} {'usecs/call':>11} {'calls':>9} {'errors':>9} syscall", rule]
        rows = self._rows.items()
        for name, row in rows if self._order is None else sorted(rows, key=self._order):
            lines.append(_line(name, row, total[0]))
        lines += [rule, _line("total", total, total[0])]
        return "\n".join(lines) + "\n"


def _line(name: str, row: list[int], total_ns: int) -> str:
    ns, calls, errors = row
    share = 100 * ns / total_ns if total_ns else 0.0
    each = ns // 1000 // calls if calls else 0
    return f"{share:6.2f} {ns / 1e9:11.6f} {each:11d} {calls:9d} {errors or '':>9} {name}"
