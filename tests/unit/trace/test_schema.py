"""What docs/trace.md says of the files for other tools, and what is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ring3
from ring3 import events
from ring3.trace.jsonl import KINDS, writer
from ring3.trace.perfetto import Perfetto

pytestmark = [pytest.mark.needs_ptrace, pytest.mark.timeout(200)]

PAGE = Path(__file__).parents[3] / "docs" / "trace.md"
TYPES: dict[str, tuple[type, ...]] = {
    "ns": (int,), "pid": (int,), "tid": (int,), "name": (str,), "args": (str,), "result": (int, type(None)), "error": (str,),
    "took": (int,),
    "handled": (bool,), "child_pid": (int,), "child_tid": (int,), "woken_pid": (int,), "woken_tid": (int,),
    "path": (str, type(None)),
    "argv": (list,), "personality": (str,), "format": (str,), "code": (int,), "signal": (str,), "policy": (str,), "verdict": (str,),
    "missing": (str,), "call": (str,),
}
SCRIPT = "trap : USR1; kill -USR1 $$; (sleep 0.01; echo x) | cat; cat /no/such 2>/dev/null; kill -9 $$"


def recorded(*consumers: Callable[[Any], object]) -> None:
    with ring3.Kernel() as kernel:
        for consumer in consumers:
            for kind in KINDS:
                kernel.on(kind)(consumer)
        kernel.run(SCRIPT, shell=True, capture_output=True)


def test_the_page_names_every_field() -> None:
    rows = dict(re.findall(r"^\| `([A-Z]\w+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE))
    assert set(rows) == {kind.__name__ for kind in KINDS}
    for kind in KINDS:
        fields: tuple[str, ...] = kind._fields
        assert re.findall(r"`(\w+)`", rows[kind.__name__]) == list(fields[3:]), kind


def test_json_lines_are_as_the_page_says() -> None:
    lines: list[str] = []
    recorded(writer(lines.append))
    found = [json.loads(line) for line in lines]
    assert {row["event"] for row in found} >= {"SyscallExit", "Signal", "Fork", "Wake", "Exec", "Exit"}
    for row in found:
        kind = getattr(events, row["event"])
        assert list(row) == ["event", *kind._fields]
        for name in kind._fields:
            assert isinstance(row[name], TYPES[name]), (row, name)
    assert all("\n" not in line[:-1] and line.endswith("\n") for line in lines)


def test_a_perfetto_trace_is_as_the_page_says() -> None:
    pieces: list[str] = []
    trace = Perfetto(pieces.append)
    recorded(trace)
    trace.finish()
    whole = json.loads("".join(pieces))
    assert set(whole) == {"displayTimeUnit", "traceEvents"}
    ends: dict[int, list[str]] = {}
    for row in whole["traceEvents"]:
        assert row["ph"] in "XisfM"
        assert isinstance(row["pid"], int)
        assert isinstance(row["tid"], int)
        if row["ph"] == "M":
            assert row["name"] in ("process_name", "thread_name")
            continue
        assert row["ts"] >= 0
        if row["ph"] == "X":
            assert row["dur"] >= 0
            assert row["cat"] in ("wake", "syscall", "syscall,failed")
            assert set(row["args"]) == (set() if row["cat"] == "wake" else {"arguments", "result"})
        if row["ph"] in "sf":
            assert row["cat"] in ("fork", "exec", "wake")
            ends.setdefault(row["id"], []).append(row["ph"])
    assert all(sorted(pair) in (["f", "s"], ["s"]) for pair in ends.values())
