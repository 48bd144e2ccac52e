"""Tables of facts: text files of lines of two words beside the code, sorted, comments with '#'."""

from __future__ import annotations

import os

_HERE = os.path.dirname(__file__)


def read_table(name: str) -> dict[int, str]:
    """Number to name, from `abi/<name>.tbl`.  Raises ValueError for a number given twice.

    >>> read_table("linux/amd64")[59]
    'execve'
    """
    return {int(number): text for number, text in read_pairs(name).items()}


def read_pairs(name: str) -> dict[str, str]:
    """First word to second, from `abi/<name>.tbl`.  Raises ValueError for a first word given twice."""
    rows: dict[str, str] = {}
    with open(f"{_HERE}/{name}.tbl", encoding="ascii") as table:
        for line in table:
            if line[0] not in "#\n":
                first, second = line.split()
                if first in rows:
                    raise ValueError(f"{name}.tbl: {first} stands twice")
                rows[first] = second
    return rows
