"""Structs in guest memory: a neutral record from an address and back, by the layout of the system that calls.

For calls whose errors come in an order of their own, which therefore take an address and look later.
Not here: the kinds that decode an argument before the call (`sysarg.py`).
"""

from __future__ import annotations

from typing import Any

from ring3.proc.proc import Thread


def fetch(t: Thread, record: type, addr: int) -> Any:
    """The record at `addr`.  Raises EFAULT, and EINVAL where its layout says so (times)."""
    layout = t.system.call_abi(t).layouts[record]
    return layout.decode(t.proc.vm.copyin(addr, layout.size))


def store(t: Thread, record: type, addr: int, value: Any) -> None:
    """Write a record at `addr`.  Raises EFAULT."""
    t.proc.vm.copyout(addr, t.system.call_abi(t).layouts[record].encode(value))


def size_of(t: Thread, record: type) -> int:
    """How many bytes the record has for the calling system."""
    return int(t.system.call_abi(t).layouts[record].size)
