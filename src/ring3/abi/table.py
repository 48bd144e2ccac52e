"""Tables of facts: text files of `number name` lines beside the code, sorted, comments with '#'."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent


def read_table(name: str) -> dict[int, str]:
    """Number to name, from `abi/<name>.tbl`.  Raises ValueError for a number given twice.

    >>> read_table("linux/amd64")[59]
    'execve'
    """
    rows: dict[int, str] = {}
    for line in (_HERE / f"{name}.tbl").read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            number, text = line.split()
            if int(number) in rows:
                raise ValueError(f"{name}.tbl: {number} stands twice")
            rows[int(number)] = text
    return rows
