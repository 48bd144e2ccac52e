"""A process of SerenityOS's on the stage of the calls' tests: calls by name, four registers, structs of parameters in memory.

    fd = g.call("open", g.params("<i4xQQiH2x", -100, "/f", 0x1 | 0x8, 0o644))
    assert g.refusal("close", 99) == "EBADF"
"""

from __future__ import annotations

import struct
from typing import Any

from ring3.abi import x86
from ring3.abi.flags import Prot
from ring3.abi.table import read_table
from ring3.abi.x86 import Arch
from ring3.calls.trap import finish, trap
from ring3.errors import Errno
from ring3.personality.serenity import serenity_personality
from ring3.personality.serenity.exec_rules import USER_TOP
from ring3.proc.lifecycle import clone_thread
from ring3.proc.proc import ThreadState
from ring3.vm import traits as marks
from ring3.vm.region import Region
from ring3.vm.traits import Traits
from tests.unit.calls.stage import BASE, ROOM, STACK, Guest, Sleeper, Stage

NUMBERS = {name: number for number, name in read_table("serenity/amd64").items()}
ERRORS = read_table("serenity/errno")
AT_FDCWD = -100
O_RDONLY, O_WRONLY, O_RDWR, O_EXEC = 1, 2, 3, 4
O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NONBLOCK = 0x8, 0x10, 0x40, 0x80, 0x100
O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC = 0x200, 0x400, 0x800


class SerenityGuest(Guest):
    """One thread of a SerenityOS program."""

    def string(self, text: str | bytes) -> tuple[int, int]:
        """(address, length) of a string in fresh memory; no zero byte behind it."""
        data = text if isinstance(text, bytes) else text.encode()
        return self.put(data + b"\xaa"), len(data)

    def params(self, codes: str, *fields: int | str | bytes) -> int:
        """The address of a struct of parameters: `codes` as the call declares it; a string stands for its two words."""
        words: list[int] = []
        for field in fields:
            words.extend(self.string(field) if isinstance(field, str | bytes) else (field,))
        packed = []
        for word, code in zip(words, _fields(codes), strict=True):
            packed.append(word & x86.MASK64 if code == "Q" else word & 0xFFFFFFFF if code == "I" else word)
        return self.put(struct.pack(codes, *packed))

    def start(self, name: str, *args: int | str | bytes, arch: Arch = Arch.X86_64) -> Any:
        """Make a call from the test; a result, or the coroutine of one that may sleep.  Raises its refusal.

        A string among the arguments takes two registers: its address and its length.
        """
        t = self.t
        t.cpu.arch = arch
        t.system.current = t
        self.place(*args)
        t.call_number = NUMBERS[name]
        return t.abi.sysent[t.call_number].invoke(t, t.cpu.regs)

    def place(self, *args: int | str | bytes) -> None:
        """Arguments where they belong."""
        words: list[int] = []
        for arg in args:
            words.extend(self.string(arg) if isinstance(arg, str | bytes) else (arg,))
        regs, registers = self.t.cpu.regs, self.t.abi.argument_registers
        assert len(words) <= len(registers)
        for register, word in zip(registers, (*words, 0, 0, 0, 0), strict=False):
            regs[register] = word & x86.MASK64

    def call(self, name: str, *args: int | str | bytes, arch: Arch = Arch.X86_64) -> int:
        """The result of a call that does not sleep."""
        result = self.start(name, *args, arch=arch)
        if not isinstance(result, int):
            sleeper = Sleeper(result)
            assert sleeper.is_done, f"{name} sleeps"
            return int(sleeper.result)
        return result

    def refusal(self, name: str, *args: int | str | bytes) -> str:
        """The name of the errno a call is refused with."""
        try:
            result = self.call(name, *args)
        except Errno as refusal:
            return ERRORS[self.t.abi.errno[type(refusal)]]
        raise AssertionError(f"{name} answered {result}")

    def sleep(self, name: str, *args: int | str | bytes, arch: Arch = Arch.X86_64) -> Sleeper:
        """A call that has gone to sleep."""
        sleeper = Sleeper(self.start(name, *args, arch=arch))
        assert not sleeper.is_done, f"{name} does not sleep"
        self._sleepers.append(sleeper)
        return sleeper

    def trap(self, number: int | str, *args: int | str | bytes) -> int:
        """A whole trap, by number or name: the result as a signed word, -errno for a refusal (SerenityOS's numbers)."""
        t = self.t
        t.cpu.arch = t.abi.arch
        self.place(*args)
        regs = t.cpu.regs
        regs[x86.ORIG_RAX] = regs[x86.RAX] = (NUMBERS[number] if isinstance(number, str) else number) & x86.MASK64
        regs[x86.EFLAGS] |= 0x202
        trap(t)
        t.state = ThreadState.SERVED
        word = regs[x86.RAX]
        return word - (1 << 64) if word >> 63 else word

    def finish(self, result: int | Errno) -> None:
        """The end of a call that slept."""
        finish(self.t, result)

    def show(self, name: str, *args: int | str | bytes, result: int | None = None) -> str:
        """How strace would print it, before or after."""
        self.place(*args)
        bound = self.t.abi.sysent[NUMBERS[name]]
        return str(bound.show(self.t, bound.decode(self.t, self.t.cpu.regs), result))

    def open(self, path: str | bytes, options: int = O_RDWR | O_CREAT, mode: int = 0o644, *, dirfd: int = AT_FDCWD) -> int:
        """open, made if need be."""
        return self.call("open", self.params("<i4xQQiH2x", dirfd, path, options, mode))

    def another_thread(self) -> SerenityGuest:
        """One more thread of the same process, which runs nothing."""
        child = clone_thread(self.t)
        child.state = ThreadState.SERVED
        return SerenityGuest(child)


def _fields(codes: str) -> str:
    """The letter of each field.

    >>> _fields("<i4x2Qh")
    'iQQh'
    """
    letters, count = "", ""
    for code in codes.lstrip("<"):
        if code.isdigit():
            count += code
            continue
        letters += "" if code == "x" else code * int(count or 1)
        count = ""
    return letters


def serenity_guest(stage: Stage) -> SerenityGuest:
    """A process of root's, nothing pledged, nothing veiled."""
    t = stage.thread()
    t.proc.personality = serenity_personality()
    t.abi = t.proc.personality.abis[Arch.X86_64]
    vm = t.proc.vm
    vm.mmap_base, vm.user_top = vm.min_addr, USER_TOP
    for region in vm.split(STACK - 0x7000, BASE + ROOM):            # what is looked at before every call
        region.traits = Traits(marks.STACK, region.prot)
    vm.map(Region(BASE - 0x1000, BASE, Prot.READ | Prot.EXEC))
    t.cpu.regs[x86.RIP] = BASE - 0x1000
    return SerenityGuest(t)
