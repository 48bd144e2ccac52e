"""SerenityOS's exec rules: values and small functions, in the terms of `exec/rules.py`.

The caller's arguments are taken first, then the file is opened, scripts lead to other files, and the last one is an image.  What
the original only finds out behind its point of no return (arguments over their limits, a stack that is too small for them) ends
the process by SIGSEGV there; here too.  Source: Kernel/Syscalls/execve.cpp as the reference states it (sections 1.2 to 1.11).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from ring3.abi import elf, x86
from ring3.abi.flags import S_ISGID, S_ISUID, Access, FileType, MountFlags
from ring3.abi.signals import DEFAULT_ACTION, Signal
from ring3.abi.x86 import Arch
from ring3.errors import E2BIG, EACCES, EFAULT, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, ENOEXEC, Errno
from ring3.exec.check import ask_formats
from ring3.exec.formats.serenity import loader_descriptor, place
from ring3.exec.plan import ZERO, Aux, StackImage, VMCmd
from ring3.exec.rules import ArgumentLimits, ExecRules, Frame, Ids, ScriptLine
from ring3.exec.sigreset import default_caught
from ring3.personality.serenity.sigframe import trampoline
from ring3.proc.lookup import below
from ring3.vfs.access import permission
from ring3.vm.layout import AddressModel
from ring3.vm.region import PAGE, page_ceil
from ring3.vm.traits import STACK, SYSCALL

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage, Image
    from ring3.exec.plan import ImageFile
    from ring3.proc.proc import Thread

ARG_MAX: Final = 65536                      # strings, of arguments and of the environment each
BYTES_MAX: Final = 131072                   # of each of them, pointers included
PATH_MAX: Final = 4096
MAX_DEPTH: Final = 2                        # scripts that may lead to one another
USER_BASE: Final = 0x10000
USER_TOP: Final = 0x1F_FE00_0000
TICKS: Final = 250
AT_IGNORE: Final = 1
AT_EXECFD: Final = 2
PLATFORM: Final = b"x86_64"


# --- about the call
def check_counts(arguments: int, environment: int) -> None:
    """Raises E2BIG for too many strings, EINVAL for no argument at all."""
    if arguments > ARG_MAX or environment > ARG_MAX:
        raise E2BIG("more than 65536 strings")
    if arguments == 0:
        raise EINVAL("no arguments: the program's name is the least")


def check_path(path: bytes) -> None:
    """Raises EINVAL for an empty path, ENAMETOOLONG over 4096 bytes."""
    if not path:
        raise EINVAL("an empty path")
    if len(path) > PATH_MAX:
        raise ENAMETOOLONG


def take_strings(package: ExecPackage) -> None:
    """sys$execve: counts, the path, the strings, in this order.  The call has copied them already."""
    package.at_step("arguments")
    request = package.request
    assert not isinstance(request.argv, int)
    assert not isinstance(request.envp, int)
    check_counts(len(request.argv), len(request.envp))
    check_path(request.path)
    package.argv, package.envp = list(request.argv), list(request.envp)
    if package.system.instruments:
        package.system.tell("exec_strings", package.thread, tuple(package.argv), tuple(package.envp))


def find_image(package: ExecPackage) -> None:
    """exec: open the file, and the one its `#!` names, until it is an image.

    Raises ELOOP before a third script's interpreter is looked for, EACCES, ENOEXEC under three bytes, and what opening does.
    """
    path = package.request.path
    for depth in range(MAX_DEPTH + 2):
        if depth > MAX_DEPTH:
            raise ELOOP("scripts are nested too deep")
        package.at_step("lookup")
        package.file = package.open(path)
        if package.file.size < 3:
            raise ENOEXEC("shorter than #! and a name")
        package.at_step("header")
        package.read_header()
        words = shebang(package.header[: min(package.header_valid, PAGE)])
        if not words:
            break
        package.at_step("script")
        package.script.append(package.file.path)
        package.argv[:1] = [*words, path]
        path = words[0]
    package.interp_name = path
    package.at_step("format")
    ask_formats(package, package.formats())


def shebang(page: bytes) -> list[bytes]:
    r"""The words of a script's first line, split on spaces alone: a tab belongs to its word.  None for what is no script.

    >>> shebang(b"#! /bin/sh  -e\tx\n")
    [b'/bin/sh', b'-e\tx']
    """
    if len(page) <= 2 or page[:2] != b"#!":
        return []
    return [word for word in page[2:].partition(b"\n")[0].split(b" ") if word]


def executable(package: ExecPackage, file: ImageFile) -> None:
    """Raises EACCES unless the caller may run it; root may run anything, without an x bit too."""
    cred = package.thread.proc.cred
    if cred.euid != 0:
        permission(cred, file.attr, Access.EXECUTE)


def mount_runs(package: ExecPackage, file: ImageFile) -> None:
    """Raises EACCES on a mount that is noexec, or has no regular files to be opened."""
    del package
    if file.dentry is not None and file.dentry.mount.flags & (MountFlags.NOEXEC | MountFlags.NOREGULAR):
        raise EACCES("the file system is mounted noexec")


def of_a_kind(package: ExecPackage, file: ImageFile) -> None:
    """Raises EINVAL for a FIFO, EACCES for everything else that is not regular."""
    del package
    if file.vnode.type == FileType.FIFO:
        raise EINVAL("a FIFO")
    if file.vnode.type != FileType.REG:
        raise EACCES("not a regular file")


def new_ids(package: ExecPackage) -> Ids:
    """Set-id bits count unless the mount says nosuid; effective and saved ids change."""
    old, file = package.thread.proc.cred, package.file
    mode = file.attr.mode
    nosuid = file.dentry is not None and bool(file.dentry.mount.flags & MountFlags.NOSUID)
    uid = file.attr.uid if mode & S_ISUID and not nosuid else None
    gid = file.attr.gid if mode & S_ISGID and not nosuid else None
    new = old if uid is None and gid is None else old.set_id(uid, gid)
    return Ids(new, new.ruid != new.euid or new.rgid != new.egid, uid is not None or gid is not None)


def dumpable(package: ExecPackage, ids: Ids) -> int:
    """A set-id image is not; any other is again."""
    del package
    return 0 if ids.setid else 1


def comm(package: ExecPackage) -> bytes:
    """The program's own name: the binary's, whatever script led to it."""
    return package.file.path.rpartition(b"/")[2]


def reset_signals(t: Thread) -> None:
    """Caught signals and SIGCHLD get their default action, other ignored ones stay so; the alternate stack goes."""
    default_caught(t)
    t.proc.actions.table[Signal.SIGCHLD] = DEFAULT_ACTION


def death(step: str, error: Errno) -> int:
    """What stands on the stack is checked behind the point of no return: the process runs into nowhere."""
    del error
    return int(Signal.SIGSEGV) if step in ("stack", "copyargs") else 0


def _no_scripts(header: bytes) -> ScriptLine:
    """Scripts have been dealt with before formats are asked."""
    del header
    raise ENOEXEC("no script")


def _no_arguments(package: ExecPackage, line: ScriptLine) -> list[bytes]:
    del package, line
    raise ENOEXEC("no script")


def _limits(package: ExecPackage) -> ArgumentLimits:
    """What arguments and the environment may take; counted behind the point of no return (`check_sizes`)."""
    del package
    return ArgumentLimits(BYTES_MAX, 2 * BYTES_MAX, 1 << 62, 0)


# --- about the image
def arrange(frame: Frame) -> tuple[AddressModel, int]:
    """An empty space, its lower end random by a MiB; the stack's place is chosen when its size is known."""
    low = max(USER_BASE + (frame.random.getrandbits(1) << 20 if frame.randomise else 0), frame.min_addr)
    model = AddressModel(min_addr=low, user_top=USER_TOP, mmap_base=low, legacy=True)
    return model, USER_TOP


def stack_extent(package: ExecPackage, image: Image) -> tuple[int, int]:
    """A page, for the time being: the format gives it its size and place."""
    del package
    return image.stack_top - PAGE, PAGE


def stack_commands(image: Image, stack: StackImage) -> list[VMCmd]:
    """The region, which does not grow.  Raises EFAULT where what is to stand on it does not fit."""
    if stack.sp < image.stack_start:
        raise EFAULT("the arguments do not fit on the stack")
    size = image.stack_top - image.stack_start
    return [VMCmd(ZERO, image.stack_start, size, 3, label=b"Stack (Main thread)", marks=STACK)]


def check_sizes(argv: list[bytes], envp: list[bytes], strings: tuple[bytes, ...]) -> None:
    """validate_stack_size.  Raises E2BIG."""
    for what in (argv, envp):
        if sum(len(string) + 1 for string in what) + 8 * (len(what) + 1) > BYTES_MAX:
            raise E2BIG("over 128 KiB of strings")
    if sum(_padded(len(string) + 1) for string in strings) + 16 + 16 * 15 > BYTES_MAX:
        raise E2BIG("over 128 KiB for the auxiliary vector")


def _padded(nbytes: int) -> int:
    return (nbytes + 7) & ~7


def build_stack(package: ExecPackage, image: Image) -> StackImage:
    """make_userspace_context_for_main_thread: strings downwards, the auxiliary vector, envp, argv; no argc on the stack.

    Raises E2BIG, and what `loader_descriptor` does.
    """
    execfn, random = _told_name(package, image), image.frame.random
    check_sizes(package.argv, package.envp, (PLATFORM, execfn))
    noise = random.getrandbits(32) % PAGE if image.frame.randomise else 0
    at = image.stack_top - ((noise + 15) & ~15)
    pieces: list[tuple[int, bytes]] = []

    def push(data: bytes) -> int:
        nonlocal at
        at -= _padded(len(data) + 1)
        pieces.append((at, data + b"\0"))
        return at

    arguments = [push(string) for string in package.argv]
    arg_start, arg_end = at, image.stack_top
    environment = [push(string) for string in package.envp]
    env_start = at
    platform, noise_at = push(PLATFORM), push(random.getrandbits(128).to_bytes(16, "little"))
    name = push(execfn)
    auxv = _auxv(package, image, platform, noise_at, name)
    block = struct.pack(f"<{2 * len(auxv)}Q", *(word & x86.MASK64 for entry in auxv for word in entry))
    for words in (block, _pointers(environment), _pointers(arguments)):
        at -= len(words)
        pieces.append((at, words))
    argv_at, envp_at = at, at + 8 * (len(arguments) + 1)
    sp = at & ~15
    image.more_registers = (
        *image.more_registers, (x86.RDI, len(arguments)), (x86.RSI, argv_at), (x86.RDX, envp_at),
    )
    data = bytearray(image.stack_top - sp)
    for start, piece in pieces:
        data[start - sp : start - sp + len(piece)] = piece
    return StackImage(
        sp=sp, data=bytes(data), arg_start=arg_start, arg_end=arg_end, env_start=env_start, env_end=arg_start, auxv=auxv,
        auxv_bytes=block, kept=(tuple(package.argv), tuple(package.envp)),
    )


def _told_name(package: ExecPackage, image: Image) -> bytes:
    """The program's path as it may call itself: where it lies below the emulation root, without that."""
    emulation = package.emulation(image.personality)
    return package.file.path if emulation is None else below(emulation[0].path(emulation[1]), package.file.path)


def _pointers(addresses: list[int]) -> bytes:
    return struct.pack(f"<{len(addresses) + 1}Q", *addresses, 0)


def _auxv(package: ExecPackage, image: Image, platform: int, noise: int, name: int) -> tuple[Aux, ...]:
    cred = package.ids.cred
    descriptor = Aux(AT_EXECFD, loader_descriptor(package)) if image.has_interpreter else Aux(AT_IGNORE, 0)
    return (
        Aux(elf.AT_PAGESZ, PAGE),
        Aux(elf.AT_BASE, image.interp_base),
        Aux(elf.AT_ENTRY, image.entry),
        Aux(elf.AT_UID, cred.ruid),
        Aux(elf.AT_EUID, cred.euid),
        Aux(elf.AT_GID, cred.rgid),
        Aux(elf.AT_EGID, cred.egid),
        Aux(elf.AT_PLATFORM, platform),
        Aux(elf.AT_HWCAP, package.system.facts.hwcap),
        Aux(elf.AT_CLKTCK, TICKS),
        Aux(elf.AT_SECURE, int(package.ids.secure)),
        Aux(elf.AT_RANDOM, noise),
        Aux(elf.AT_EXECFN, name),
        descriptor,
        Aux(elf.AT_NULL, 0),
    )


def registers(image: Image, sp: int) -> tuple[tuple[int, int], ...]:
    """The entry; everything else is zero, where the original leaves what was there."""
    return (x86.RIP, image.start), (x86.RSP, sp), (x86.EFLAGS, 0x202), (x86.SS, x86.SS_USER), (x86.CS, x86.CS_64)


def _flags_after(package: ExecPackage, arch: Arch, setid: bool, exec_stack: bool | None) -> int:
    del package, arch, setid, exec_stack
    return 0


def _randomises(package: ExecPackage, flags: int) -> bool:
    del flags
    return bool(package.system.execsw.randomise)


def _no_base(frame: Frame) -> int:
    del frame
    return 0


def _no_brk(frame: Frame, end: int, loader: bool) -> int:
    """There is no brk; the heap is mmap's."""
    del frame, loader
    return page_ceil(end)


SERENITY: Final = ExecRules(
    stages=(take_strings, find_image),
    file_checks=(executable, mount_runs, of_a_kind),
    max_depth=MAX_DEPTH + 1,
    header_size=PAGE,
    keeps_searching=False,
    empty_argv=None,
    empty_interpreter=ENOENT,
    death=death,
    split_script=_no_scripts,
    script_arguments=_no_arguments,
    limits=_limits,
    new_ids=new_ids,
    dumpable=dumpable,
    comm=comm,
    reset_signals=reset_signals,
    flags_after=_flags_after,
    randomises=_randomises,
    arrange=arrange,
    stack_extent=stack_extent,
    stack_commands=stack_commands,
    pie_base=_no_base,
    place_brk=_no_brk,
    build_stack=build_stack,
    registers=registers,
    vdso=False,
    opens_close=True,
    sigcode=trampoline,
    place_sigcode=place,
    sigcode_name=(b"Signal trampoline", SYSCALL),
    unmarked="serenity",
)
