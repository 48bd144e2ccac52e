"""Exec rules: everything about exec in which systems differ, as values and small functions of one record.

The rules of the *calling* process's personality govern the call (what may be run, limits, errors, how a script line
splits); those of the *new image's* personality govern what is built (layout, stack, registers).  Values stand in
`personality/*/exec_rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from ring3.abi.x86 import Arch
from ring3.errors import Errno
from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage, Image
    from ring3.exec.plan import ImageFile, Sizes, StackImage, VMCmd
    from ring3.proc.cred import Cred
    from ring3.proc.proc import Thread
    from ring3.vm.layout import AddressModel

# The steps of an exec, as Linux meets them; what `death` is asked about, and where faults are injected.
STEPS = (
    "lookup", "arguments", "credentials", "header", "format", "script", "interpreter", "arrange", "map",
    "map interpreter", "vdso", "stack", "space", "run vmcmds", "copyargs", "thread",
)
# Those only some images or callers meet: the image is approved of, the strings' place is told, descriptors, the trampoline.
MORE_STEPS = ("limits", "ps_strings", "descriptors", "sigcode")
# Steps behind the place where others are told that there is a new program: they have been told when it dies there.
ANNOUNCED = frozenset({"sigcode"})
# Of personality(2)'s flags: what may be read may be executed.
READ_IMPLIES_EXEC: Final = 0x0400000


class ScriptLine(NamedTuple):
    """What a `#!` line says: the interpreter, and its one argument (None without)."""

    interpreter: bytes
    argument: bytes | None


class ArgumentLimits(NamedTuple):
    """What argv and envp may take, in bytes: `string` for one with its zero; `total` for pointers and strings together.

    `stack` is how far the stack may grow while the strings are copied; `reserved` lie above the first string.
    """

    string: int
    total: int
    stack: int
    reserved: int


class Ids(NamedTuple):
    """The outcome for ids: the new ones, whether the image must distrust its environment, whether a set-id bit
    counted.
    """

    cred: Cred
    secure: bool
    setid: bool


class Frame(NamedTuple):
    """What the rules for one architecture's layout work with."""

    arch: Arch
    word_size: int
    host_top: int
    min_addr: int
    flags: int                      # personality(2)
    stack_rlimit: int
    as_rlimit: int
    data_rlimit: int
    randomise: bool
    random: Random


# What a file of an exec is asked: raises the refusal.  (package, file, whose attributes it may change)
FileCheck = Callable[["ExecPackage", "ImageFile"], None]
# One stage of an exec, which looks and fills in the package.  Raises the refusal.
Stage = Callable[["ExecPackage"], None]


def in_a_gap(package: ExecPackage, image: Image, nbytes: int) -> int:
    """Where a mapping without a wish goes.  Raises ENOMEM."""
    del package
    return image.model.place(nbytes)


class ExecRules(NamedTuple):
    """One system's rules.  Sizes in bytes, addresses of the guest.

    stages: what is looked at in which order (exec/check.py and the system's own), until the package is `decided`.
    file_checks: what every file is asked, in order, before the kernel's policies are.
    max_depth: how many files one exec may go through, the program itself included; one more is ELOOP.
    header_size: how much of a file is read to recognise it; shorter ones are padded with zeros.
    keeps_searching: formats after one that failed with another error than ENOEXEC are still asked (NetBSD);
        the first such error counts.
    empty_argv: what an empty argument list becomes; None refuses it with EINVAL.
    empty_interpreter: what looking for an interpreter without a name answers.
    """

    stages: tuple[Stage, ...]
    file_checks: tuple[FileCheck, ...]
    max_depth: int
    header_size: int
    keeps_searching: bool
    empty_argv: tuple[bytes, ...] | None
    empty_interpreter: type[Errno]
    death: Callable[[str, Errno], int]                  # (step, error) -> the wait status it dies with; 0: a refusal
    # about the call
    split_script: Callable[[bytes], ScriptLine]         # a script's header; raises ENOEXEC
    script_arguments: Callable[[ExecPackage, ScriptLine], list[bytes]]      # what replaces argv[0]; raises ENOENT …
    limits: Callable[[ExecPackage], ArgumentLimits]
    new_ids: Callable[[ExecPackage], Ids]
    dumpable: Callable[[ExecPackage, Ids], int]         # what prctl(PR_GET_DUMPABLE) will say
    comm: Callable[[ExecPackage], bytes]                # the process's new name
    reset_signals: Callable[[Thread], None]             # what handlers and pending signals become; raises nothing
    # about the new image
    flags_after: Callable[[ExecPackage, Arch, bool, bool | None], int]      # (…, set-id, executable stack) -> personality(2)
    randomises: Callable[[ExecPackage, int], bool]
    arrange: Callable[[Frame], tuple[AddressModel, int]]                    # an empty space, and where its stack ends
    stack_extent: Callable[[ExecPackage, Image], tuple[int, int]]           # its lowest address at first, its limit
    stack_commands: Callable[[Image, StackImage], list[VMCmd]]              # its memory once all stands on it; raises EFAULT
    pie_base: Callable[[Frame], int]                    # where a position-independent program with an interpreter goes
    place_brk: Callable[[Frame, int, bool], int]        # (…, end of the program, it is its own loader)
    build_stack: Callable[[ExecPackage, Image], StackImage]
    registers: Callable[[Image, int], tuple[tuple[int, int], ...]]          # … (index in abi.x86, value); others 0
    secure_stack: int = (1 << 64) - 1                   # RLIMIT_STACK of an image that distrusts its caller is at most this
    unmarked: str = "linux"                             # whose images those are that do not say whose they are
    probe_mismatch: type[Errno] | None = None           # what a probe says to a file of its kind not its own; None: no probes
    vdso: bool = True                                   # whether images get the machine's clock page
    opens: Callable[[ExecPackage], tuple[tuple[int, ImageFile | None], ...]] = lambda _: ()     # see ExecPlan
    opens_close: bool = False                           # what its images get opened is close-on-exec
    sizes: Callable[[Image, StackImage], Sizes | None] = lambda _image, _stack: None
    sigcode: Callable[[Image], bytes] = lambda _: b""   # the trampoline images are shown; empty: none
    place_sigcode: Callable[[ExecPackage, Image, int], int] = in_a_gap     # where that goes; raises ENOMEM
    sigcode_name: tuple[bytes, int] = (b"", 0)          # its region's name and marks (vm/traits.py)
