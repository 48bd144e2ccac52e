"""Tables of facts: text files of `number name` lines beside the code, sorted, comments with '#'."""

from __future__ import annotations

import os

_HERE = os.path.dirname(__file__)


def read_table(name: str) -> dict[int, str]:
    """Number to name, from `abi/<name>.tbl`.  Raises ValueError for a number given twice.

    >>> read_table("linux/amd64")[59]
    'execve'
    """
    rows: dict[int, str] = {}
    with open(f"{_HERE}/{name}.tbl", encoding="ascii") as table:
        for line in table:
            if line[0] not in "#\n":
                number, text = line.split()
                if int(number) in rows:
                    raise ValueError(f"{name}.tbl: {number} stands twice")
                rows[int(number)] = text
    return rows
