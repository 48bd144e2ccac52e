"""Linux's exec rules for x86: values and small functions, in the terms of `exec/rules.py`.

Sources: fs/exec.c, fs/binfmt_script.c, fs/binfmt_elf.c, arch/x86/mm/mmap.c, security/commoncap.c as execve(2),
execveat(2), vdso(7), getauxval(3), proc(5) and credentials(7) describe them; judged against a running 6.x kernel by
tests/unit/exec/test_linux_rows.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ring3.abi import elf, x86
from ring3.abi.flags import S_ISGID, S_ISUID, MountFlags
from ring3.abi.signals import Signal
from ring3.abi.x86 import Arch
from ring3.errors import EACCES, EFAULT, ENOENT, ENOEXEC, ENOMEM, Errno
from ring3.exec import check, files, sigreset
from ring3.exec.formats.elf import symbol
from ring3.exec.plan import ZERO, Aux, StackImage, VMCmd
from ring3.exec.rules import READ_IMPLIES_EXEC, ArgumentLimits, ExecRules, Frame, Ids, ScriptLine
from ring3.exec.stack import ABOVE, Pointers, build, string_bytes
from ring3.proc.proc import Rlimit
from ring3.vfs.access import in_group
from ring3.vm.layout import AddressModel
from ring3.vm.region import PAGE, page_ceil, page_floor

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage, Image

HEADER: Final = 256                         # BINPRM_BUF_SIZE
MAX_ARG_STRLEN: Final = 131072
ARG_MAX: Final = 131072                     # what arguments may always take
STACK_DEFAULT: Final = 8 << 20              # _STK_LIM
STACK_EXPAND: Final = 131072                # room below the strings that a new stack has at once
MMAP_GAP_MIN: Final = 128 << 20
STACK_GUARD: Final = 256 * PAGE
TASK_TOP_32: Final = 0xFFFF_E000            # IA32_PAGE_OFFSET
TASK_TOP_32_3GB: Final = 0xC000_0000
DYN_BASE_64: Final = 0x7FFF_FFFF_F000 // 3 * 2
DYN_ABOVE_32: Final = 0x0100_0000           # above a third of what a 32-bit program has
RSEQ_FEATURE_SIZE: Final = 28               # offsetof(struct rseq, end)
RSEQ_ALIGN: Final = 32

# Flags of personality(2).
ADDR_NO_RANDOMIZE: Final = 0x0040000
MMAP_PAGE_ZERO: Final = 0x0100000
ADDR_COMPAT_LAYOUT: Final = 0x0200000
ADDR_LIMIT_3GB: Final = 0x8000000
CLEAR_ON_SETID: Final = READ_IMPLIES_EXEC | ADDR_NO_RANDOMIZE | ADDR_COMPAT_LAYOUT | MMAP_PAGE_ZERO

_MMAP_BITS: Final[Mapping[Arch, int]] = MappingProxyType({Arch.X86_64: 28, Arch.I386: 8})
_FATAL_STEPS: Final = frozenset({
    "arrange", "map", "map interpreter", "vdso", "stack", "run vmcmds", "copyargs", "ps_strings", "descriptors", "sigcode",
})


def death(step: str, error: Errno) -> int:
    """Everything behind begin_new_exec ends in SIGSEGV, whatever went wrong there."""
    del error
    return Signal.SIGSEGV if step in _FATAL_STEPS else 0


# --- scripts
def split_script(header: bytes) -> ScriptLine:
    r"""The first line of a script, by the letter of fs/binfmt_script.c: 255 bytes count, one argument, blanks and tabs.

    A name that may have been cut off is refused; an argument may be cut.  Raises ENOEXEC.

    >>> split_script(b"#! /bin/sh  -e x \n".ljust(256, b"\0"))
    ScriptLine(interpreter=b'/bin/sh', argument=b'-e x')
    """
    last = HEADER - 1
    end = header.find(b"\n", 0, HEADER)
    if end < 0:
        end = _skip_blanks(header, 2, last)
        if end < 0:
            raise ENOEXEC("nothing but blanks behind #!")
        if _terminator(header, end, last) < 0:
            raise ENOEXEC("the interpreter's name is cut off")
        end = last
    while header[end - 1] in b" \t":
        end -= 1
    start = _skip_blanks(header, 2, end)
    if start < 0 or start == end:
        raise ENOEXEC("no interpreter's name")
    line = header[:end] + b"\0" * (HEADER + 1 - end)
    stop = _terminator(header, start, end)
    argument = None
    if stop >= 0 and header[stop]:
        at = _skip_blanks(header, stop, end)
        if at >= 0:
            argument = line[at : line.index(0, at)]
            line = line[:stop] + b"\0"
    return ScriptLine(line[start : line.index(0, start)], argument)


def _skip_blanks(line: bytes, first: int, last: int) -> int:
    return next((i for i in range(first, last + 1) if line[i] not in b" \t"), -1)


def _terminator(line: bytes, first: int, last: int) -> int:
    return next((i for i in range(first, last + 1) if line[i] in b" \t\0"), -1)


def script_arguments(package: ExecPackage, line: ScriptLine) -> list[bytes]:
    """The interpreter, its argument, and the script as it was called.  Raises ENOENT for a name that will be gone."""
    if package.request.inaccessible:
        raise ENOENT("the script's descriptor is closed by this very exec")
    if line.argument is None:
        return [line.interpreter, package.interp_name]
    return [line.interpreter, line.argument, package.interp_name]


# --- the call
def limits(package: ExecPackage) -> ArgumentLimits:
    """A quarter of the stack limit, never over 6 MiB nor under 128 KiB; and what the stack may grow to meanwhile."""
    stack = package.thread.proc.rlimit(Rlimit.STACK)
    total = max(min(STACK_DEFAULT // 4 * 3, stack // 4), ARG_MAX)
    return ArgumentLimits(MAX_ARG_STRLEN, total, stack, ABOVE)


def new_ids(package: ExecPackage) -> Ids:
    """bprm_fill_uid and cap_bprm_creds_from_file (as of 6.17): set-id bits count, unless mount or no_new_privs forbid.

    Who shares its directory with others, or is traced, gets no more than it had.  An image is secure when ids changed,
    even if they were put back, and when effective and real ones differ.
    """
    p = package.thread.proc
    old, file = p.cred, package.file
    attr = file.vnode.getattr()
    new, counted = old, False
    nosuid = file.dentry is None or bool(file.dentry.mount.flags & MountFlags.NOSUID)
    if attr.mode & (S_ISUID | S_ISGID) and not nosuid and not p.no_new_privs:
        if attr.mode & S_ISUID:
            new, counted = new._replace(euid=attr.uid), True
        if attr.mode & (S_ISGID | 0o010) == S_ISGID | 0o010:
            new, counted = new._replace(egid=attr.gid), True
    changed = new.euid != old.euid or not in_group(old, new.egid)
    traced = package.thread.trace is not None
    if changed and (traced or p.no_new_privs or p.fs.refs > 1) and (not old.privileged or p.no_new_privs):
        new = new._replace(euid=new.ruid, egid=new.rgid)
    new = new._replace(suid=new.euid, fsuid=new.euid, sgid=new.egid, fsgid=new.egid)
    return Ids(new, changed or new.euid != new.ruid or new.egid != new.rgid, counted)


def dumpable(package: ExecPackage, ids: Ids) -> int:
    """1; suid_dumpable (0) when the file could not be read, or ids differ or change."""
    old, new = package.thread.proc.cred, ids.cred
    changed = (old.euid, old.egid, old.fsuid, old.fsgid) != (new.euid, new.egid, new.fsuid, new.fsgid)
    distinct = old.euid != old.ruid or old.egid != old.rgid
    return 0 if package.unreadable or changed or distinct else 1


def comm(package: ExecPackage) -> bytes:
    """The last part of the name it was called by; the file's own where a descriptor alone said it.  15 bytes."""
    request = package.request
    if request.file is not None:
        dentry = package.file.dentry
        return (package.file.path.rpartition(b"/")[2] if dentry is None else dentry.name)[:15]
    return package.execfn.rpartition(b"/")[2][:15]


# --- the image
def flags_after(package: ExecPackage, arch: Arch, setid: bool, exec_stack: bool | None) -> int:
    """personality(2)'s flags in the new image."""
    flags = package.thread.proc.personality_flags
    if setid:
        flags &= ~CLEAR_ON_SETID
    if arch is Arch.X86_64:
        return flags & ~READ_IMPLIES_EXEC
    return flags | READ_IMPLIES_EXEC if exec_stack is None else flags


def randomises(package: ExecPackage, flags: int) -> bool:
    """Unless the process or the kernel's maker switched it off."""
    return not flags & ADDR_NO_RANDOMIZE and bool(package.system.execsw.randomise)


def _top(frame: Frame) -> int:
    if frame.arch is Arch.X86_64:
        return frame.host_top
    return TASK_TOP_32_3GB if frame.flags & ADDR_LIMIT_3GB else TASK_TOP_32


def arrange(frame: Frame) -> tuple[AddressModel, int]:
    """arch_pick_mmap_layout, randomize_stack_top, setup_arg_pages: the empty space and the end of its stack.  Raises
    ENOMEM.
    """
    wide, top, draw = frame.arch is Arch.X86_64, _top(frame), frame.random.getrandbits
    mmap_random = stack_random = shift = stack_span = 0
    if frame.randomise:
        mmap_random = draw(_MMAP_BITS[frame.arch]) * PAGE
        stack_random = draw(22 if wide else 11) * PAGE
        stack_span = (0x3FFFFF if wide else 0x7FF) * PAGE
        shift = draw(13)
    legacy = bool(frame.flags & ADDR_COMPAT_LAYOUT)
    if legacy:
        mmap_base = page_ceil(top // 3) + mmap_random
    else:
        gap = frame.stack_rlimit
        if gap < (1 << 64) - (stack_span + STACK_GUARD):
            gap += stack_span + STACK_GUARD
        gap = min(max(gap, MMAP_GAP_MIN), top // 6 * 5)
        mmap_base = page_ceil(top - gap - mmap_random)
    stack_top = page_ceil((page_ceil(top) - stack_random - shift) & ~15)
    model = AddressModel(min_addr=frame.min_addr, user_top=top, mmap_base=mmap_base, legacy=legacy, limit=frame.as_rlimit)
    return model, stack_top


def stack_extent(package: ExecPackage, image: Image) -> tuple[int, int]:
    """Where a new stack begins, 128 KiB below the strings if its limit allows, and how far it may grow."""
    strings = page_ceil(string_bytes(package.execfn, package.argv, package.envp) + ABOVE)
    limit = image.frame.stack_rlimit
    size = max(min(page_floor(min(limit, 1 << 62)), strings + STACK_EXPAND), strings)
    if size >= image.stack_top - image.frame.min_addr:
        raise ENOMEM
    return image.stack_top - size, limit


def stack_commands(image: Image, stack: StackImage) -> list[VMCmd]:
    """The stack with its pointers in it.  Raises EFAULT where its limit or something mapped is in the way."""
    bottom = min(image.stack_start, page_floor(stack.sp))
    if bottom < image.stack_start and image.stack_top - bottom > max(image.stack_limit, PAGE):
        raise EFAULT("the arguments' pointers do not fit into the stack")
    if any(c.addr < image.stack_top and c.addr + c.length > bottom for c in image.commands):
        raise EFAULT("the image lies where the stack is")
    return [VMCmd(ZERO, bottom, image.stack_top - bottom, stack_prot(image), label=b"[stack]", growsdown=True)]


def stack_prot(image: Image) -> int:
    """Executable where the file asks for it, or (32-bit) says nothing."""
    implied = image.exec_stack is None and bool(image.frame.flags & READ_IMPLIES_EXEC)
    return 7 if image.exec_stack or implied else 3


def pie_base(frame: Frame) -> int:
    """ELF_ET_DYN_BASE, randomised."""
    return _dyn_base(frame) + (frame.random.getrandbits(_MMAP_BITS[frame.arch]) * PAGE if frame.randomise else 0)


def _dyn_base(frame: Frame) -> int:
    if frame.arch is Arch.X86_64:
        return DYN_BASE_64
    return page_ceil(_top(frame) // 3) + DYN_ABOVE_32


def place_brk(frame: Frame, end: int, loader: bool) -> int:
    """Behind the program, up to 1 GiB (32-bit: 32 MiB) away; of a program that loads itself, in the room programs
    would have.
    """
    brk = page_ceil(_dyn_base(frame) if loader else end)
    if frame.randomise:
        if not loader:
            brk += PAGE
        brk += frame.random.randrange((1 << 30 if frame.arch is Arch.X86_64 else 1 << 25) // PAGE) * PAGE
    return brk


def auxv(package: ExecPackage, image: Image, at: Pointers) -> list[Aux]:
    """The vector in Linux's order: the architecture's first (vDSO), then create_elf_tables'."""
    facts, cred = package.system.facts, package.ids.cred
    entries = []
    if image.vdso_base:
        if image.arch is Arch.I386:
            entries.append(Aux(elf.AT_SYSINFO, image.vdso_base + symbol(facts.vdso[Arch.I386].image, b"__kernel_vsyscall")))
        entries.append(Aux(elf.AT_SYSINFO_EHDR, image.vdso_base))
    entries += [
        Aux(elf.AT_MINSIGSTKSZ, facts.minsigstksz),
        Aux(elf.AT_HWCAP, facts.hwcap),
        Aux(elf.AT_PAGESZ, facts.page_size),
        Aux(elf.AT_CLKTCK, facts.clock_ticks),
        Aux(elf.AT_PHDR, image.phdr_addr),
        Aux(elf.AT_PHENT, image.phdr_size),
        Aux(elf.AT_PHNUM, image.phnum),
        Aux(elf.AT_BASE, image.interp_base),
        Aux(elf.AT_FLAGS, 0),
        Aux(elf.AT_ENTRY, image.entry),
        Aux(elf.AT_UID, cred.ruid),
        Aux(elf.AT_EUID, cred.euid),
        Aux(elf.AT_GID, cred.rgid),
        Aux(elf.AT_EGID, cred.egid),
        Aux(elf.AT_SECURE, int(package.ids.secure)),
        Aux(elf.AT_RANDOM, at.random),
        Aux(elf.AT_HWCAP2, facts.hwcap2),
    ]
    if facts.hwcap3 is not None:
        entries.append(Aux(elf.AT_HWCAP3, facts.hwcap3))
    entries += [
        Aux(elf.AT_EXECFN, at.execfn),
        Aux(elf.AT_PLATFORM, at.platform),
        Aux(elf.AT_RSEQ_FEATURE_SIZE, RSEQ_FEATURE_SIZE),
        Aux(elf.AT_RSEQ_ALIGN, RSEQ_ALIGN),
    ]
    return entries


def build_stack(package: ExecPackage, image: Image) -> StackImage:
    """create_elf_tables."""
    frame = image.frame
    return build(
        top=image.stack_top,
        word_size=image.word_size,
        execfn=package.execfn,
        argv=package.argv,
        envp=package.envp,
        platform=package.system.facts.platform if image.arch is Arch.X86_64 else b"i686",
        shuffle=frame.random.getrandbits(13) if frame.randomise else 0,
        random_bytes=frame.random.getrandbits(128).to_bytes(16, "little"),
        auxv=lambda at: auxv(package, image, at),
    )


def registers(image: Image, sp: int) -> tuple[tuple[int, int], ...]:
    """start_thread: everything else is zero."""
    common = ((x86.RIP, image.start), (x86.RSP, sp), (x86.EFLAGS, 0x202), (x86.SS, x86.SS_USER))
    if image.arch is Arch.X86_64:
        return (*common, (x86.CS, x86.CS_64))
    return (*common, (x86.CS, x86.CS_32), (x86.DS, x86.SS_USER), (x86.ES, x86.SS_USER))


LINUX: Final = ExecRules(
    stages=(check.find_file, check.take_arguments, check.decide_on_file, check.find_image),
    file_checks=(
        files.no_link, files.regular, files.mount_runs, files.executable, files.nobody_writes, files.note_unreadable,
    ),
    max_depth=6,
    header_size=HEADER,
    keeps_searching=False,
    empty_argv=(b"",),
    empty_interpreter=EACCES,               # an empty name walks to the current directory
    death=death,
    split_script=split_script,
    script_arguments=script_arguments,
    limits=limits,
    new_ids=new_ids,
    dumpable=dumpable,
    comm=comm,
    reset_signals=sigreset.default_caught,
    randomises=randomises,
    flags_after=flags_after,
    arrange=arrange,
    stack_extent=stack_extent,
    stack_commands=stack_commands,
    pie_base=pie_base,
    place_brk=place_brk,
    build_stack=build_stack,
    registers=registers,
    secure_stack=STACK_DEFAULT,
)
