"""NetBSD images made by hand, and a kernel whose process is a NetBSD one."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from ring3.abi.elf import EM_386, EM_X86_64, PF_R, PT_NOTE, Phdr
from ring3.errors import Errno
from ring3.exec.check import check_exec
from ring3.exec.execute import execute
from ring3.exec.package import ExecPackage, ExecRequest
from ring3.exec.plan import ExecDeath, ExecPlan
from ring3.exec.switch import Priority
from ring3.personality.netbsd import netbsd32_personality, netbsd_personality
from ring3.proc.cred import Cred
from ring3.proc.proc import Thread
from ring3.proc.terminal import device_file_systems, make_devices
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.pipe import AnonymousInodes
from tests.unit.exec.bench import Bench
from tests.unit.exec.images import BASE, interp, program

VERSION = 903000000
NOTES_AT = 0x900


def note(name: bytes, kind: int, desc: bytes) -> bytes:
    """One note, padded."""
    def pad(data: bytes) -> bytes:
        return data.ljust(-(-len(data) // 4) * 4, b"\0")

    return struct.pack("<III", len(name), len(desc), kind) + pad(name) + pad(desc)


IDENT = note(b"NetBSD\0", 1, struct.pack("<I", VERSION))


def pax(flags: int) -> bytes:
    """The note that asks for protections, or to do without."""
    return note(b"PaX\0", 3, struct.pack("<I", flags))


def branded(
    *extra: Phdr, notes: bytes = IDENT, before: Sequence[Phdr] = (), parts: Sequence[tuple[int, bytes]] = (), base: int = BASE,
    machine: int = EM_X86_64, **fields: int | bytes | None,
) -> bytes:
    """A NetBSD program: headers, notes and code in one segment, `extra` headers behind it."""
    where = Phdr(PT_NOTE, PF_R, NOTES_AT, base + NOTES_AT, 0, len(notes), len(notes), 4)
    return program(
        *extra, before=(where, *before), parts=((NOTES_AT, notes), *parts), base=base, machine=machine, **fields,  # type: ignore[arg-type]
    )


def dynamic(name: bytes, *extra: Phdr, machine: int = EM_X86_64) -> bytes:
    """One with this interpreter."""
    phdr, part = interp(name)
    return branded(*extra, before=(phdr,), parts=(part,), machine=machine)


class NetbsdBench(Bench):
    """One kernel, and one process of NetBSD's."""

    def __init__(self) -> None:
        super().__init__()
        system = self.system
        system.anonymous = AnonymousInodes()
        root = system.mounts.root
        for fs, path, flags in device_file_systems(system, make_devices(system)):
            if path == "/dev":
                system.mounts.mount(fs, namei(NameiContext(root, root, Cred()), b"/dev"), flags)

    def process(self, cred: Cred | None = None, personality: str = "netbsd") -> Thread:
        system = self.system
        for name, make in (("netbsd", netbsd_personality), ("netbsd32", netbsd32_personality)):
            if name not in system.personalities:
                system.personalities[name] = make()
        t = super().process(cred)
        t.proc.personality = system.personalities[personality]
        return t

    def user(self, uid: int = 1000) -> Thread:
        """The process is one of this user's from now on."""
        self.t = self.process(Cred(uid, uid, uid, uid, uid, uid, uid, uid))
        return self.t

    def refuse(self, request: ExecRequest) -> str:
        """The name of the refusal."""
        try:
            verdict = check_exec(self.t, request)
        except Errno as refusal:
            return refusal.name
        return f"{type(verdict).__name__}"

    def run(self, request: ExecRequest) -> None:
        """The whole exec."""
        execute(self.t, request)

    def poke(self, *strings: bytes | None) -> int:
        """A vector in the process's memory: addresses of the strings, then zero; None is a bad address."""
        vm = self.t.proc.vm
        at = vm.stack_top - 0x200000
        addresses = []
        for string in strings:
            addresses.append(0x10 if string is None else at)
            if string is not None:
                vm.copyout(at, string + b"\0")
                at += len(string) + 1
        vector = vm.stack_top - 0x210000
        vm.copyout(vector, struct.pack(f"<{len(addresses) + 1}Q", *addresses, 0))
        return vector


def put(path: Path, data: bytes, mode: int = 0o755) -> bytes:
    """A file; its path as a guest names it."""
    path.write_bytes(data)
    path.chmod(mode)
    return bytes(path)


class Stub:
    """A format that does what a function says."""

    header_size = 4
    personality = None

    def __init__(self, name: str, answer: object, priority: Priority = Priority.FIRST) -> None:
        self.name = name
        self.answer = answer
        self.priority = priority
        self.asked = 0

    def recognise(self, package: ExecPackage) -> bool:
        self.asked += 1
        if isinstance(self.answer, Errno):
            raise self.answer
        return bool(self.answer(package))  # type: ignore[operator]


__all__ = ["EM_386", "ExecDeath", "ExecPlan", "NetbsdBench", "Stub", "branded", "dynamic", "note", "pax", "put"]
