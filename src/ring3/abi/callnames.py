"""The names of all system calls of all systems, for who asks for one by name: a mistyped name would wait for ever.

What a system names its calls stands in its table of numbers.  Not here: which of them are served.
"""

from __future__ import annotations

from typing import Final

from ring3.abi.table import read_table

TABLES: Final = ("linux/amd64", "linux/i386", "netbsd/amd64", "serenity/amd64")
NUMBERED: Final = "syscall_"            # begins the name of a number that is nobody's


def check_call_name(name: str) -> None:
    """Raises ValueError, with the name that was probably meant, for one that no system has.

    >>> check_call_name("openat")
    >>> check_call_name("opnat")
    Traceback (most recent call last):
    ...
    ValueError: no system has a call 'opnat'; did you mean openat?
    """
    known: set[str] = set()
    for table in TABLES:                # mostly the first one has it
        known.update(read_table(table).values())
        if name in known:
            return
    if name.startswith(NUMBERED):
        return
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(known), 1)
    raise ValueError(f"no system has a call {name!r}" + (f"; did you mean {near[0]}?" if near else ""))
