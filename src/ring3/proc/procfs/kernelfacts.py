"""The texts of /proc that speak of the kernel as a whole.

Facts of the machine (CPUs, memory, load) are the host's, read from its own /proc; facts of processes are this kernel's.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ring3.proc.proc import ThreadState

if TYPE_CHECKING:
    from ring3.proc.procfs.fs import ProcFS
    from ring3.proc.system import System

_HOST_MAX = 1 << 20         # bytes taken over from a file of the host at most


def host_file(name: str) -> bytes:
    """A file of the host's /proc; empty where there is none."""
    try:
        with open(f"/proc/{name}", "rb") as file:
            return file.read(_HOST_MAX)
    except OSError:
        return b""


def nothing(_fs: ProcFS) -> bytes:
    """A list of what this kernel has none of."""
    return b""


def cgroups(_fs: ProcFS) -> bytes:
    """No controller: everything is in the one group of /proc/PID/cgroup."""
    return b"#subsys_name\thierarchy\tnum_cgroups\tenabled\n"


def cmdline(_fs: ProcFS) -> bytes:
    """What this kernel was booted with."""
    return b"ring3\n"


def cpuinfo(_fs: ProcFS) -> bytes:
    """The CPUs are the host's own."""
    return host_file("cpuinfo")


def devices(_fs: ProcFS) -> bytes:
    """The major numbers that `vfs.dev` and the terminals use."""
    return (
        b"Character devices:\n  1 mem\n  4 tty\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n128 ptm\n136 pts\n"
        b"\nBlock devices:\n"
    )


def filesystems(_fs: ProcFS) -> bytes:
    """What /proc/mounts may show in its third column."""
    names = (b"tmpfs", b"proc", b"devtmpfs", b"sockfs", b"pipefs", b"devpts", b"overlay")
    return b"".join(b"nodev\t%s\n" % name for name in names)


def interrupts(fs: ProcFS) -> bytes:
    """The head of the table alone."""
    return b"           " + b"".join(b"CPU%-8d" % cpu for cpu in range(fs.system.facts.ncpus)) + b"\n"


def loadavg(fs: ProcFS) -> bytes:
    """The host's load; running and all threads, and the last id given, are this kernel's."""
    averages = host_file("loadavg").split()[:3] or [b"0.00"] * 3
    system = fs.system
    return b"%s %d/%d %d\n" % (b" ".join(averages), running(system), max(len(system.threads), 1), last_pid(system))


def running(system: System) -> int:
    """How many threads would use a CPU now."""
    resting = (ThreadState.SLEEPING, ThreadState.STOPPED, ThreadState.DEAD, ThreadState.NEW)
    return sum(t.state not in resting for t in system.threads.values())


def last_pid(system: System) -> int:
    """The highest id in use."""
    return max((*system.procs, *system.threads), default=1)


def meminfo(_fs: ProcFS) -> bytes:
    """The memory is the host's own."""
    return host_file("meminfo")


def partitions(_fs: ProcFS) -> bytes:
    """The head of the table alone."""
    return b"major minor  #blocks  name\n\n"


def stat(fs: ProcFS) -> bytes:
    """CPU times as the host has them; processes are this kernel's."""
    lines = []
    for line in host_file("stat").splitlines(keepends=True):
        key = line.split(b" ", 1)[0]
        if key.startswith(b"cpu") or key == b"btime":
            lines.append(line)
        elif key in (b"intr", b"ctxt"):
            lines.append(key + b" 0\n")
        elif key == b"processes":
            lines.append(b"processes %d\n" % last_pid(fs.system))
        elif key == b"procs_running":
            lines.append(b"procs_running %d\n" % max(running(fs.system), 1))
        elif key == b"procs_blocked":
            lines.append(b"procs_blocked 0\n")
        elif key == b"softirq":
            lines.append(b"softirq" + b" 0" * 11 + b"\n")
    return b"".join(lines)


def swaps(_fs: ProcFS) -> bytes:
    """The head of the table alone."""
    return b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


def uptime(_fs: ProcFS) -> bytes:
    """Since the host booted, as CLOCK_BOOTTIME tells a guest without asking this kernel."""
    text = host_file("uptime")
    if text:
        return text
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    return b"%.2f 0.00\n" % now


def version(fs: ProcFS) -> bytes:
    """What uname(2) tells the viewer, in one line."""
    t = fs.viewer
    personality = t.proc.personality if t is not None else next(iter(fs.system.personalities.values()), None)
    if personality is None:
        return b"\n"
    system, release, kernel = personality.sysname, personality.release, personality.version
    return f"{system} version {release} (ring3@ring3) (Python) {kernel}\n".encode()


def vmstat(_fs: ProcFS) -> bytes:
    """As `meminfo`."""
    return host_file("vmstat")
