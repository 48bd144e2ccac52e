"""Why a program could not be started, in words: what happened, where, and what to do.

The kernel's answer is one errno, and Linux says ENOENT of a script whose interpreter is missing with the script's own name; so
a second look is taken at the file.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ring3.kernel import Kernel
    from ring3.proc.system import System

_HEAD: Final = 8192
_PT_INTERP: Final = 3


def diagnose(kernel: Kernel, program: str, error: OSError, cwd: str | None) -> str:
    """One message about `program`, which was refused with `error`."""
    said = f"{program}: {error.strerror}"
    if "/" not in program:
        if isinstance(error, FileNotFoundError):
            return f"{program}: not found along PATH in the guest; give its path, or set PATH: --env PATH=DIR:DIR"
        return said
    where = os.path.join(cwd or os.getcwd(), program)
    found = kernel.call(lambda system: _look(system, os.fsencode(where)))
    if found is None:
        return said
    is_dir, head = found
    if isinstance(error, FileNotFoundError):
        wanted = interpreter_of(head)
        if wanted is None:
            return said
        what = "the interpreter it names is" if head[:2] == b"#!" else "the dynamic loader it was built for is"
        return f"{program}: {error.strerror}: the file is there, but {what} not: {os.fsdecode(wanted)}; install that, or --mount it"
    if is_dir:
        return f"{program}: {error.strerror}: it is a directory; name a program in it"
    if isinstance(error, PermissionError):
        wanted = interpreter_of(head)
        which = f"neither it nor its interpreter {os.fsdecode(wanted)} may lack the x bit" if wanted else "it lacks the x bit"
        return f"{program}: {error.strerror}: {which}; chmod +x makes a file executable"
    if error.errno == 8 and head[:4] != b"\x7fELF":
        return f"{said}: neither an ELF program nor a script that begins with #!; for a shell script: sh {program}"
    return said


def interpreter_of(head: bytes) -> bytes | None:
    """The interpreter that the first bytes of a script or ELF file name.

    >>> interpreter_of(b"#! /usr/bin/env python3")
    b'/usr/bin/env'
    """
    if head[:2] == b"#!":
        words = head[2:256].split(b"\n", 1)[0].split()
        return words[0] if words else None
    if len(head) < 64:
        return None
    if head[:5] == b"\x7fELF\x02":
        offset, = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        at, length, where = 8, 32, "<Q"
    elif head[:5] == b"\x7fELF\x01":
        offset, = struct.unpack_from("<I", head, 28)
        size, count = struct.unpack_from("<HH", head, 42)
        at, length, where = 4, 16, "<I"
    else:
        return None
    for index in range(min(count, 64)):
        row = offset + index * size
        if row + 56 > len(head):
            return None
        if struct.unpack_from("<I", head, row)[0] == _PT_INTERP:
            start, = struct.unpack_from(where, head, row + at)
            nbytes, = struct.unpack_from(where, head, row + length)
            return head[start : start + nbytes].rstrip(b"\0") or None
    return None


def _look(system: System, path: bytes) -> tuple[bool, bytes] | None:
    """Whether the guest's file is a directory, and its first bytes; None where there is none."""
    from ring3.abi.flags import OpenFlags
    from ring3.errors import Errno
    from ring3.proc.cred import Cred
    from ring3.vfs.namei import NameiContext, namei
    from ring3.vfs.opening import open_file

    root = system.mounts.root
    ctx = NameiContext(root, root, Cred())
    try:
        if namei(ctx, path).vnode.is_dir:
            return True, b""
        file = open_file(ctx, path, OpenFlags.NONBLOCK, 0).acquire()
    except Errno:
        return None
    try:
        return False, file.pread(0, _HEAD)
    except Errno:
        return False, b""
    finally:
        file.release()
