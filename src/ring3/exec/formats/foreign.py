"""What the rows for other systems' files have in common: how a file is refused that was recognised.

Each row recognises what NetBSD's emulation probes would, and then says that nobody here runs it; a plug-in that registers a
personality of that name, and a format for it, is left to its work.  Their marks stand in `marked.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ring3.errors import ENOEXEC

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage


def refuse(package: ExecPackage, emulation: str, what: str) -> NoReturn:
    """The file is `what`, whose personality would be called `emulation`.  Raises ENOEXEC."""
    if emulation in package.system.personalities:
        raise ENOEXEC
    raise ENOEXEC(f"recognised as {what}, which is not here")


def mismatch(package: ExecPackage, what: str) -> NoReturn:
    """A probe knows the family and not the member.  Raises what the caller's system says then (NetBSD: EFTYPE), or ENOEXEC."""
    raise (package.rules.probe_mismatch or ENOEXEC)(what)


def word(header: bytes, offset: int, size: int, order: str = "little") -> int:
    """A number in a header that is padded with zeros."""
    return int.from_bytes(header[offset : offset + size], "big" if order == "big" else "little")
