"""What this host offers its programs, as `MachineFacts`.

Sources: getauxval(3), vdso(7), proc_pid_maps(5).  The clock pages are looked up when somebody asks for them.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.x86 import Arch
from ring3.machine.base import MachineFacts, VdsoImage
from ring3.machine.native import code, zygote

if TYPE_CHECKING:
    from ring3.machine.native.machine import NativeMachine

_VDSO_PROBE_AT: Final = 0x2000_0000

AT_HWCAP: Final = 16
AT_PLATFORM: Final = 15
AT_CLKTCK: Final = 17
AT_HWCAP2: Final = 26
AT_HWCAP3: Final = 29
AT_SYSINFO_EHDR: Final = 33
AT_MINSIGSTKSZ: Final = 51


class LazyVdso(dict[Arch, VdsoImage]):
    """The clock pages by instruction set; each is looked up when it is first asked for, by `find`."""

    def __init__(self, find: Callable[[Arch], VdsoImage | None]) -> None:
        super().__init__()
        self._find = find
        self._asked: set[Arch] = set()

    def _look(self, *keys: object) -> None:
        for arch in Arch:
            if arch not in self._asked and (not keys or arch in keys):
                self._asked.add(arch)
                image = self._find(arch)
                if image is not None:
                    self[arch] = image

    def __getitem__(self, key: Arch) -> VdsoImage:
        self._look(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._look(key)
        return super().__contains__(key)

    def get(self, key: Arch, default: Any = None) -> Any:
        """As `dict.get`."""
        self._look(key)
        return super().get(key, default)

    def __iter__(self) -> Iterator[Arch]:
        self._look()
        return super().__iter__()

    def __len__(self) -> int:
        self._look()
        return super().__len__()

    def keys(self) -> Any:
        """As `dict.keys`."""
        self._look()
        return super().keys()

    def values(self) -> Any:
        """As `dict.values`."""
        self._look()
        return super().values()

    def items(self) -> Any:
        """As `dict.items`."""
        self._look()
        return super().items()

    def __repr__(self) -> str:
        return f"<clock pages of {', '.join(arch.value for arch in self)}>"


def read_auxv() -> dict[int, int]:
    """The auxiliary vector this Python was started with."""
    with open("/proc/self/auxv", "rb", buffering=0) as file:
        return dict(struct.iter_unpack("<QQ", file.read(4096)))


def host_facts(ncpus: int, xstate_size: int, xfeatures: int, vdso: LazyVdso) -> MachineFacts:
    """The facts of this host for a machine with these extended-state figures."""
    auxv = read_auxv()
    with open("/proc/sys/vm/mmap_min_addr", "rb", buffering=0) as file:
        min_addr = int(file.read(32))
    return MachineFacts(
        name="native",
        page_size=code.PAGE,
        user_top=code.USER_TOP,
        min_addr=-(-min_addr // code.PAGE) * code.PAGE,
        ncpus=ncpus,
        hwcap=auxv.get(AT_HWCAP, 0),
        hwcap2=auxv.get(AT_HWCAP2, 0),
        hwcap3=auxv.get(AT_HWCAP3),
        platform=ctypes.string_at(auxv[AT_PLATFORM]) if AT_PLATFORM in auxv else b"x86_64",
        minsigstksz=auxv.get(AT_MINSIGSTKSZ, 2048),
        xstate_size=xstate_size,
        xfeatures=xfeatures,
        clock_ticks=auxv.get(AT_CLKTCK, 100),
        vdso=vdso,
    )


def find_vdso(machine: NativeMachine, arch: Arch) -> VdsoImage | None:
    """The clock pages for `arch`: this process's own, or those of a scratch stub that is told to map them."""
    if not machine.has_vdso:
        return None
    if arch is Arch.X86_64 and (own := vdso_ranges("self")) is not None:
        data, start, end = own
        return VdsoImage(start - data, end - start, ctypes.string_at(start, end - start))
    try:
        space = machine.new_space()
    except OSError:
        return None
    try:
        which = zygote.ARCH_MAP_VDSO_64 if arch is Arch.X86_64 else zygote.ARCH_MAP_VDSO_32
        machine.tracer.call(space.spare, zygote.NR_ARCH_PRCTL, which, _VDSO_PROBE_AT)
        ranges = vdso_ranges(space.spare)
        if ranges is None:
            return None
        data, start, end = ranges
        return VdsoImage(start - data, end - start, space.read(start, end - start))
    except OSError:
        return None                                  # a host built without it
    finally:
        space.close()


def vdso_ranges(pid: int | str) -> tuple[int, int, int] | None:
    """Start of the clock data, start and end of the code in the space of `pid` ("self" too), or None without a vDSO."""
    data = start = end = 0
    with open(f"/proc/{pid}/maps", "rb") as file:
        for line in file:
            if b"[v" not in line:
                continue
            first, _, last = line.partition(b" ")[0].partition(b"-")
            if line.rstrip().endswith((b"[vvar]", b"[vvar_vclock]")):
                data = data or int(first, 16)
            elif line.rstrip().endswith(b"[vdso]"):
                start, end = int(first, 16), int(last, 16)
    return (data or start, start, end) if start else None
