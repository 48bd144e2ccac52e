"""What kern.proc2, kern.lwp, vm.proc.map, vm.uvmexp2 and vm.vmmeter are made of: members in their order, each with its code of
`struct`.

The structs are the same for both word sizes and may only grow; members nobody sets are 0.  Source: sys/sysctl.h, uvm/uvm_extern.h,
sys/vmmeter.h of NetBSD 10.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

_POINTERS: Final = ("forw", "back", "paddr", "addr", "fd", "cwdi", "stats", "limit", "vmspace", "sigacts", "sess", "tsess", "ru")
_IDS: Final = ("eflag", "exitsig", "flag", "pid", "ppid", "sid", "pgid", "tpgid")
_RUSAGE: Final = (
    "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt", "nswap", "inblock", "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw",
    "nivcsw",
)
_UVMEXP: Final = (
    "pagesize", "pagemask", "pageshift", "npages", "free", "active", "inactive", "paging", "wired", "zeropages",
    "reserve_pagedaemon", "reserve_kernel", "freemin", "freetarg", "inactarg", "wiredmax", "nswapdev", "swpages", "swpginuse",
    "swpgonly", "nswget", "unused", "cpuhit", "cpumiss", "faults", "traps", "intrs", "swtch", "softs", "syscalls",
)
_UVMEXP_REST: Final = 59               # counters of a pager that is not here


class Members:
    """One struct: which members it has, and how its values become bytes."""

    __slots__ = ("form", "unset")

    def __init__(self, **codes: str) -> None:
        self.unset: dict[str, int | bytes] = {name: b"" if code.endswith("s") else 0 for name, code in codes.items()}
        self.form = struct.Struct("<" + "".join(codes.values()))

    def pack(self, values: Mapping[str, int | bytes]) -> bytes:
        """The struct with these values.  Raises KeyError for a member it has not, struct.error for a value that does not fit."""
        for name in values:
            self.unset[name]
        return self.form.pack(*{**self.unset, **values}.values())


def _all(code: str, names: tuple[str, ...]) -> dict[str, str]:
    return dict.fromkeys(names, code)


KINFO_PROC2: Final = Members(
    **_all("Q", _POINTERS), **_all("i", _IDS), **_all("I", ("uid", "ruid", "gid", "rgid")), groups="64s", ngroups="h", jobc="h",
    tdev="I", estcpu="I", rtime_sec="I", rtime_usec="I", cpticks="i", pctcpu="I", swtime="I", slptime="I", schedflags="i",
    uticks="Q", sticks="Q", iticks="Q", tracep="Q", traceflag="i", holdcnt="i",
    siglist="16s", sigmask="16s", sigignore="16s", sigcatch="16s", stat="b", priority="B", usrpri="B", nice="B", xstat="H",
    acflag="H", comm="24s", wmesg="8s", wchan="Q", login="24s", vm_rssize="i", vm_tsize="i", vm_dsize="i", vm_ssize="i", uvalid="q",
    ustart_sec="I", ustart_usec="I", uutime_sec="I", uutime_usec="I", ustime_sec="I", ustime_usec="I",
    **_all("Q", _RUSAGE), uctime_sec="I", uctime_usec="I", cpuid="Q", realflag="Q", nlwps="Q", nrlwps="Q", realstat="Q",
    svuid="I", svgid="I", ename="16s", vm_vsize="q", vm_msize="q",
)
KINFO_LWP: Final = Members(
    forw="Q", back="Q", laddr="Q", addr="Q", lid="i", flag="i", swtime="I", slptime="I", schedflags="i", holdcnt="i", priority="B",
    usrpri="B", stat="b", pad="5s", wmesg="8s", wchan="Q", cpuid="Q", rtime_sec="I", rtime_usec="I", cpticks="I", pctcpu="I",
    pid="I", name="20s",
)
KINFO_VMENTRY: Final = Members(
    start="Q", end="Q", offset="Q", type="I", flags="I", count="I", wired_count="I", advice="I", attributes="I", protection="I",
    max_protection="I", ref_count="I", inheritance="I", fileid="Q", vsize="Q", fsid="Q", rdev="Q", vtype="I",
    mode="I", path="1024s",
)
UVMEXP2: Final = Members(**_all("q", _UVMEXP), rest=f"{8 * _UVMEXP_REST}s")
VMTOTAL: Final = Members(
    rq="h", dw="h", pw="h", sl="h", reserved="4s", vm="i", avm="i", rm="i", arm="i", vmshr="i", avmshr="i", rmshr="i", armshr="i",
    free="i",
)
