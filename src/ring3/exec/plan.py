"""The plan of one exec: everything that will be done, as a frozen value.

`check` makes it and changes nothing; `load` runs its VMCmds into a space on the side; `commit` applies the rest.  Two
plans of the same program with the same randomness are equal; `show` prints one.  Not here: how a plan comes to be
(`check.py`, `formats/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ring3.abi.x86 import Arch
from ring3.proc.cred import Cred

if TYPE_CHECKING:
    from ring3.protocols import Personality
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.vnode import Vnode


class ImageFile:
    """A file an image is made of.  Equal when path and size are: what the plan says, not which object says it.

    `dentry` is None for a file without a name (memfd).
    """

    __slots__ = ("dentry", "path", "size", "vnode")

    def __init__(self, vnode: Vnode, dentry: Dentry | None, path: bytes, size: int) -> None:
        self.vnode = vnode
        self.dentry = dentry
        self.path = path
        self.size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageFile) and (self.path, self.size) == (other.path, other.size)

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"ImageFile({self.path!r})"


MAP, ZERO, WRITE, VDSO = "map", "zero", "write", "vdso"


class VMCmd(NamedTuple):
    """One step in building a space; address and length in bytes, page-aligned but for WRITE.

    MAP shows `file` from `offset` on, ZERO is fresh memory, WRITE puts `data` there, VDSO the clock page of the
    image's architecture. What a later one covers of an earlier one is replaced.
    """

    kind: str
    addr: int
    length: int
    prot: int = 0
    file: ImageFile | None = None
    offset: int = 0
    data: bytes = b""
    label: bytes = b""
    growsdown: bool = False

    def show(self) -> str:
        """One line, as `explain` prints it."""
        prot = "".join(letter if self.prot & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))
        where = f"{self.addr:#014x}-{self.addr + self.length:#014x}"
        if self.kind == MAP:
            assert self.file is not None
            what = f"{self.file.path.decode(errors='backslashreplace')} @{self.offset:#x}"
        elif self.kind == WRITE:
            what = f"{self.length} bytes" + (" of zeros" if not any(self.data) else "")
        else:
            what = self.label.decode(errors="backslashreplace") or "zeroed memory"
        return f"{self.kind:5} {where} {prot} {what}"


class Aux(NamedTuple):
    """One entry of the auxiliary vector."""

    type: int
    value: int


class StackImage(NamedTuple):
    """The initial stack: `data` stands at `sp` and reaches up to `top`.

    The addresses of the strings are where /proc/PID/cmdline and environ read.  `auxv` holds its own bytes, the end
    entry included.
    """

    sp: int
    data: bytes
    arg_start: int
    arg_end: int
    env_start: int
    env_end: int
    auxv: tuple[Aux, ...]
    auxv_bytes: bytes


class Layout(NamedTuple):
    """Where things stand in the new space, and how it may grow."""

    min_addr: int
    user_top: int
    mmap_base: int
    legacy: bool
    brk: int
    stack_top: int
    stack_limit: int
    vdso_base: int = 0              # the code's address, 0 without one


class ExecPlan(NamedTuple):
    """An exec that can go on.  `path` is as asked; `execfn` what AT_EXECFN shows; `exe` is /proc/self/exe.

    `entry` is the program's own entry point, `start` where the first instruction is fetched (the interpreter's entry,
    if there is one). `closes` are the descriptors that close; `script` the `#!` files passed through, outermost
    first.
    """

    path: bytes
    execfn: bytes
    argv: tuple[bytes, ...]
    envp: tuple[bytes, ...]
    exe: ImageFile
    interpreter: ImageFile | None
    script: tuple[bytes, ...]
    format: str
    personality: Personality
    arch: Arch
    vmcmds: tuple[VMCmd, ...]
    layout: Layout
    entry: int
    start: int
    load_bias: int
    interp_base: int
    stack: StackImage
    registers: tuple[tuple[int, int], ...]
    cred: Cred
    secure: bool
    dumpable: int
    closes: tuple[int, ...]
    comm: bytes
    personality_flags: int
    stack_rlimit: tuple[int, int]

    def show(self) -> str:
        """The whole plan as text, a line for each fact."""
        def text(data: bytes) -> str:
            return data.decode(errors="backslashreplace")

        lines = [
            f"program     {text(self.exe.path)} ({self.format}, {self.personality.name}/{self.arch.value})",
            *(f"script      {text(name)}" for name in self.script),
            f"interpreter {text(self.interpreter.path)} at {self.interp_base:#x}" if self.interpreter else "interpreter none",
            f"argv        {[text(a) for a in self.argv]}",
            f"bias        {self.load_bias:#x}, entry {self.entry:#x}, starts at {self.start:#x}",
            *(f"vmcmd       {cmd.show()}" for cmd in self.vmcmds),
            f"brk         {self.layout.brk:#x}",
            f"stack       {self.stack.sp:#x}-{self.layout.stack_top:#x}",
            *(f"auxv        {aux.type:3} {aux.value:#x}" for aux in self.stack.auxv),
            f"ids         {self.cred}{' secure' if self.secure else ''}",
            f"closes      {list(self.closes)}",
            f"comm        {text(self.comm)}",
        ]
        return "\n".join(lines)


class ExecDeath(NamedTuple):
    """An exec that its system would only find impossible behind the point of no return: death by `signal`."""

    signal: int
    step: str
    error: str

    def show(self) -> str:
        """One line."""
        return f"dies by signal {self.signal} at step {self.step!r}: {self.error}"
