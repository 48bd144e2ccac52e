"""The texts of SerenityOS's /sys about the kernel and the machine.

CPUs, memory and times are the host's, read from its own /proc; the kernel's heap is ring3's own process; mounts and jails are this
kernel's.  Source: Kernel/FileSystem/SysFS/Subsystems/Kernel (keys and their order).
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from ring3.errors import Errno
from ring3.namedtuple import NamedTuple
from ring3.personality.serenity.flags import outward_mount_flags
from ring3.personality.serenity.view.process import as_json, text_of
from ring3.proc.procfs.kernelfacts import host_file

if TYPE_CHECKING:
    from ring3.personality.serenity.view.fs import SysFS
    from ring3.vfs.mount import Mount

_PAGE: Final = 4096
_CLASSES: Final = {b"proc": "ProcFS", b"sysfs": "SysFS", b"tmpfs": "TmpFS", b"devpts": "DevPtsFS", b"devtmpfs": "RAMFS"}


class CpuTimes(NamedTuple):
    """Of all CPUs since the host began, ns: all time there was, and of it what kernels and nobody used."""

    total: int
    kernel: int
    idle: int


def cpu_times() -> CpuTimes:
    """As the host counts them."""
    words = host_file("stat").split(b"\n", 1)[0].split()[1:]
    tick = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    ticks = [int(word) * tick for word in words[:8]] + [0] * (8 - len(words[:8]))
    return CpuTimes(sum(ticks), ticks[2] + ticks[5] + ticks[6], ticks[3] + ticks[4])


def stats(_fs: SysFS) -> bytes:
    """How CPU time was spent."""
    times = cpu_times()
    return as_json({
        "total_time": times.total, "kernel_time": times.kernel, "user_time": times.total - times.kernel, "idle_time": times.idle,
    })


def memstat(_fs: SysFS) -> bytes:
    """The kernel's heap in bytes, the machine's memory in pages."""
    pages = {key: int(rest.split()[0]) // 4 for key, _, rest in (
        line.partition(b":") for line in host_file("meminfo").splitlines()
    ) if rest.strip()}
    total, free = pages.get(b"MemTotal", 0), pages.get(b"MemAvailable", 0)
    words = host_file("self/statm").split()
    return as_json({
        "kmalloc_allocated": int(words[1]) * _PAGE if len(words) > 1 else 0,
        "kmalloc_available": 0,
        "physical_allocated": total - free,
        "physical_available": free,
        "physical_committed": 0,
        "physical_uncommitted": free,
        "kmalloc_call_count": sys.getallocatedblocks(),
        "kfree_call_count": 0,
    })


def cpuinfo(_fs: SysFS) -> bytes:
    """A row for each CPU."""
    found = []
    for block in host_file("cpuinfo").decode(errors="replace").split("\n\n"):
        facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        if "processor" in facts:
            found.append({
                "processor": _number(facts, "processor"),
                "vendor_id": facts.get("vendor_id", ""),
                "family": _number(facts, "cpu family"),
                "features": facts.get("flags", "").split(),
                "model": _number(facts, "model"),
                "stepping": _number(facts, "stepping"),
                "type": 0,
                "brand": facts.get("model name", ""),
                "caches": {},
            })
    return as_json(found)


def _number(facts: dict[str, str], key: str) -> int:
    text = facts.get(key, "")
    return int(text) if text.isdigit() else 0


def uptime(_fs: SysFS) -> bytes:
    """Whole seconds since the host began, as the guest's own clocks have it."""
    return b"%d\n" % int(time.clock_gettime(time.CLOCK_BOOTTIME))


def command_line(_fs: SysFS) -> bytes:
    """What this kernel was booted with."""
    return b"ring3\n"


def system_mode(_fs: SysFS) -> bytes:
    """There is no display."""
    return b"text\n"


def nothing(_fs: SysFS) -> bytes:
    """A list of what this kernel has none of."""
    return as_json([])


def keymap(fs: SysFS) -> bytes:
    """The name of the keyboard's map."""
    known = fs.system.keymap
    return as_json({"keymap": text_of(known.name) if known is not None else "en-us"})


def jails(fs: SysFS) -> bytes:
    """All jails; from inside of one: none, not even that."""
    t = fs.viewer
    known = fs.system.jails if t is None or t.proc.jail is None else ()
    return as_json([{"index": jail.index, "name": text_of(jail.name)} for jail in known])


def mounts(fs: SysFS) -> bytes:
    """The file systems below the viewer's root, and how full."""
    t = fs.viewer
    root = t.proc.fs.root if t is not None else fs.system.mounts.root
    system = t.proc.lookups.system if t is not None else ""
    rows = []
    for mount in fs.system.mounts.seen_by(system):
        place = mount.path(root)
        if place.startswith(b"/") and mount.root.top(system) is mount.root:       # what something else covers is not seen
            rows.append(_mounted(mount, place))
    return as_json(rows)


def _mounted(mount: Mount, place: bytes) -> dict[str, Any]:
    try:
        told = mount.fs.statfs()
        sizes = (told.blocks, told.bfree, told.files, told.ffree, told.bsize)
    except Errno:
        sizes = (0, 0, 0, 0, 0)
    return {
        "class_name": _CLASSES.get(mount.fs.name, text_of(mount.fs.name)),
        "total_block_count": sizes[0],
        "free_block_count": sizes[1],
        "total_inode_count": sizes[2],
        "free_inode_count": sizes[3],
        "mount_point": text_of(place),
        "block_size": sizes[4],
        "readonly": mount.readonly,
        "mount_flags": outward_mount_flags(mount.flags),
        "source": "none",
    }
