"""What the abuse tests share: a hostile guest written in Python, and the eye on the kernel while it runs.

The guest is the Python that runs the tests.  `assault` asks the kernel a question over and over meanwhile: the slowest answer
is how long one call kept the kernel from everybody else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass

import ring3


@dataclass(frozen=True, slots=True)
class Assault:
    """What came of one."""

    stdout: str
    stderr: str
    status: int | None         # None: it was still at it when its time was over
    slowest_s: float           # the kernel's slowest answer
    close_s: float             # how long closing the kernel took
    rss_mib: int               # what the Python process held at the end


def resident_mib() -> int:
    """Memory of this process."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) >> 10


def assault(program: str, *, seconds: float = 20) -> Assault:
    """Run a hostile Python program in a kernel of its own for at most `seconds`, then close the kernel, whatever it is doing.

    It runs in an empty directory of its own, whatever the host has elsewhere.
    """
    with tempfile.TemporaryDirectory() as empty:
        return _assault(program, seconds, empty)


def _assault(program: str, seconds: float, cwd: str) -> Assault:
    kernel = ring3.Kernel()
    process = kernel.spawn([sys.executable, "-S", "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd)
    said: list[tuple[bytes, bytes]] = []
    reader = threading.Thread(target=lambda: said.append(process.communicate()), daemon=True)
    reader.start()
    slowest, end = 0.0, time.monotonic() + seconds
    try:
        while reader.is_alive() and time.monotonic() < end:
            asked = time.monotonic()
            kernel.call(lambda system: len(system.procs))
            slowest = max(slowest, time.monotonic() - asked)
            reader.join(0.02)
        status = process.poll()
        rss = resident_mib()
    finally:
        closing = time.monotonic()
        kernel.close()
        closing = time.monotonic() - closing
    reader.join(5)
    out, err = said[0] if said else (b"", b"")
    return Assault(out.decode(errors="replace"), err.decode(errors="replace"), status, slowest, closing, rss)
