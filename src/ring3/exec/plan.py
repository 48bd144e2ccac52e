"""The plan of one exec: everything that will be done, as a frozen value.

`check` makes it and changes nothing; `load` runs its VMCmds into a space on the side; `commit` applies the rest.  Two
plans of the same program with the same randomness are equal; `show` prints one.  Not here: how a plan comes to be
(`check.py`, `formats/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.x86 import Arch
from ring3.namedtuple import NamedTuple
from ring3.proc.cred import Cred

if TYPE_CHECKING:
    from ring3.abi.records import Attr
    from ring3.protocols import Personality
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.vnode import Vnode
    from ring3.vm.traits import MasterTls


class ImageFile:
    """A file an image is made of.  Equal when path and size are: what the plan says, not which object says it.

    `dentry` is None for a file without a name (memfd).  `attr` are its attributes as the exec goes by them: a mount may have
    taken set-id bits away, a script may have lent its own.
    """

    __slots__ = ("attr", "dentry", "path", "size", "vnode")

    def __init__(self, vnode: Vnode, dentry: Dentry | None, path: bytes, attr: Attr) -> None:
        self.vnode = vnode
        self.dentry = dentry
        self.path = path
        self.attr = attr
        self.size = attr.size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImageFile) and (self.path, self.size) == (other.path, other.size)

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"ImageFile({self.path!r})"


MAP, READ, ZERO, WRITE, VDSO = "map", "read", "zero", "write", "vdso"

# Labels of what is written last, and what an exec that fails there fails at (rules.STEPS).
ARGUMENTS, PS_STRINGS = b"[arguments]", b"[ps_strings]"

# How a command was queued (NetBSD: VMCMD_*): RELATIVE to the last BASE, exactly where it says, part of the stack.
BASE, RELATIVE, FIXED, STACK = 1, 2, 4, 8


class VMCmd(NamedTuple):
    """One step in building a space; address and length in bytes, page-aligned but for READ and WRITE.

    MAP shows `file` from `offset` on, READ is fresh memory with a copy of those bytes in it, ZERO is fresh memory, WRITE
    puts `data` there, VDSO the clock page of the image's architecture.  What a later one covers of an earlier one is
    replaced.  `addr` is where it goes, whatever `flags` (BASE, RELATIVE …) say of how that came about; `max_prot` is
    what mprotect may give at most, `marks` what its system remembers of the region (vm/traits.py).
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
    flags: int = 0
    max_prot: int = 7
    marks: int = 0

    def show(self) -> str:
        """One line, as `explain` prints it."""
        prot = "".join(letter if self.prot & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))
        where = f"{self.addr:#014x}-{self.addr + self.length:#014x}"
        if self.kind in (MAP, READ):
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
    entry included.  `ps_strings` is where a NetBSD image finds its own ps_strings, the last thing in `data`; 0: none.
    `kept`: arguments and environment, where the kernel keeps them instead of reading them there (SerenityOS).
    """

    sp: int
    data: bytes
    arg_start: int
    arg_end: int
    env_start: int
    env_end: int
    auxv: tuple[Aux, ...]
    auxv_bytes: bytes
    ps_strings: int = 0
    kept: tuple[tuple[bytes, ...], tuple[bytes, ...]] | None = None


class Sizes(NamedTuple):
    """What a NetBSD space says of itself (vm_taddr …): addresses of text and data, sizes in pages, the stack's far end
    and its fixed one.
    """

    taddr: int
    tsize: int
    daddr: int
    dsize: int
    ssize: int
    maxsaddr: int
    minsaddr: int


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
    sizes: Sizes | None = None
    ps_strings: int = 0             # where the program's strings are told of, 0 where the system has no such thing
    sigcode: int = 0                # where the signal trampoline is shown, 0 without one
    tls: MasterTls | None = None    # what every thread's private memory begins as, where the kernel makes it


class ExecPlan(NamedTuple):
    """An exec that can go on.  `path` is as asked; `execfn` what AT_EXECFN shows; `exe` is /proc/self/exe.

    `entry` is the program's own entry point, `start` where the first instruction is fetched (the interpreter's entry,
    if there is one). `closes` are the descriptors that close, `opens` those that are added then: on a file of the exec's
    own, or on the null device (None).  `script` are the `#!` files passed through, outermost first.  `setid`: set-id
    bits count, so that who watches on the caller's behalf must stop.  `emulation`: where it looks for files first.  `asked`:
    the arguments before scripts changed them, of an exec that no call of a program asked for.
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
    setid: bool = False
    opens: tuple[tuple[int, ImageFile | None], ...] = ()
    pax: int = 0
    sigcode: bytes = b""
    emulation: tuple[Dentry, Dentry] | None = None
    asked: tuple[bytes, ...] = ()

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
    """An exec that its system would only find impossible behind the point of no return: the process ends with the wait
    status `status`.
    """

    status: int
    step: str
    error: str

    @property
    def signal(self) -> int:
        """The signal it dies by."""
        return self.status & 0x7F

    def show(self) -> str:
        """One line."""
        return f"dies by signal {self.signal} at step {self.step!r}: {self.error}"
