"""Events as JSON lines: one object a line, `event` its type, the others its fields by name.

Bytes are text, what is no UTF-8 as Python's surrogate escapes have it (`os.fsencode` gives them back).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, Final

from ring3 import events
from ring3.namedtuple import NamedTuple

KINDS: Final = (
    events.SyscallExit, events.Signal, events.Fork, events.Wake, events.Exec, events.Exit, events.PolicyDecision,
)


def line(event: NamedTuple) -> str:
    r"""The line of one event.

    >>> line(events.Exit(5, 2, 2, 0, ""))
    '{"event": "Exit", "ns": 5, "pid": 2, "tid": 2, "code": 0, "signal": ""}\n'
    """
    return json.dumps({"event": type(event).__name__, **event._asdict()}, default=_text) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return os.fsdecode(value)
    raise TypeError(f"{value!r} has no form in JSON")


def writer(write: Callable[[str], object]) -> Callable[[Any], None]:
    """A listener for `KINDS`."""
    def listen(event: Any) -> None:
        write(line(event))

    return listen
