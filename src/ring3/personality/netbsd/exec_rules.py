"""NetBSD's exec rules: values and small functions, in the terms of `exec/rules.py`; for amd64 images and i386 ones (netbsd32).

The order is the seed's (kern_exec.c 1.185): the file and every question about the image come first, then the arguments, then the
room for them.  Numbers, notes and the auxiliary vector are those of present NetBSD, whose programs are what is run.

Two things that NetBSD has and this kernel has no calls for are kept all the same, where an exec would look for them: scheduler
activations and profil(2).  Not reproduced: what the seed does wrong itself (a buffer freed twice when the trampoline cannot be
mapped).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.abi import elf, x86
from ring3.abi.flags import S_ISGID, S_ISUID, Access
from ring3.abi.signals import Signal
from ring3.abi.table import read_table
from ring3.abi.x86 import Arch
from ring3.errors import EACCES, EFTYPE, EMFILE, ENOENT, ENOEXEC, ENOMEM, Errno
from ring3.exec import check, files, sigreset
from ring3.exec.arguments import take_in_order
from ring3.exec.plan import STACK, ZERO, Aux, ImageFile, Sizes, StackImage, VMCmd
from ring3.exec.rules import ArgumentLimits, ExecRules, Frame, Ids, ScriptLine
from ring3.personality.netbsd import stack
from ring3.proc.proc import Rlimit
from ring3.vfs.access import permission
from ring3.vm.layout import AddressModel
from ring3.vm.region import PAGE, page_ceil, page_floor

if TYPE_CHECKING:
    from ring3.abi.records import Attr
    from ring3.exec.package import ExecPackage, Image

MAXINTERP: Final = 1024                     # PATH_MAX
SCRIPT_HEADER: Final = 2 + MAXINTERP + 2    # SCRIPT_HDR_SIZE: a script's first line ends in here
NCARGS: Final = 262144                      # bytes of all strings; pointers are not counted
MAXCOMLEN: Final = 16
USER_TOP: Final = {Arch.X86_64: 0x7F7F_FFFF_F000, Arch.I386: 0xFFFF_F000}       # USRSTACK, USRSTACK32
MAX_TEXT: Final = {Arch.X86_64: 8 << 30, Arch.I386: 256 << 20}                  # MAXTSIZ
MAX_DATA: Final = {Arch.X86_64: 8 << 30, Arch.I386: 3 << 30}                    # MAXDSIZ: RLIMIT_DATA is never more
MAX_STACK: Final = {Arch.X86_64: 128 << 20, Arch.I386: 64 << 20}                # MAXSSIZ
_STACK_BITS: Final = {Arch.X86_64: 12, Arch.I386: 8}    # random pages: below MAXSSIZ/8
_MMAP_BITS: Final = {Arch.X86_64: 32, Arch.I386: 16}
_SETID: Final = S_ISUID | S_ISGID
_ADDR_NO_RANDOMIZE: Final = 0x0040000       # of personality(2): a Linux caller switched it off
_CLEARED: Final = 0x0740000                 # of personality(2): gone when set-id bits count
_ABORT: Final = frozenset({"run vmcmds", "copyargs", "ps_strings", "descriptors"})


def death(step: str, error: Errno) -> int:
    """exec_abort: the errno where an exit code would be, and SIGABRT.  A trampoline that cannot be mapped has left none."""
    if step in _ABORT:
        number = next((number for number, name in read_table("netbsd/errno").items() if name == error.name), 22)
        return number << 8 | Signal.SIGABRT
    return int(Signal.SIGABRT) if step == "sigcode" else 0


# --- scripts
def split_script(header: bytes) -> ScriptLine:
    r"""exec_script_makecmds: the line must end within the header; one argument, everything behind the name, blanks and all.

    Raises ENOEXEC.

    >>> split_script(b"#! /bin/sh  -e x \n".ljust(1028, b"\0"))
    ScriptLine(interpreter=b'/bin/sh', argument=b'-e x ')
    """
    end = header.find(b"\n", 2)
    if end < 0:
        raise ENOEXEC("the first line does not end in time")
    line = header[2:end].split(b"\0", 1)[0].lstrip(b" \t")
    if not line:
        raise ENOEXEC("no interpreter's name")
    stop = min((at for at in (line.find(b" "), line.find(b"\t")) if at >= 0), default=len(line))
    return ScriptLine(line[:stop], line[stop:].lstrip(b" \t") or None)


def script_arguments(package: ExecPackage, line: ScriptLine) -> list[bytes]:
    """The interpreter, its argument, and the script: by its path, or by a descriptor where its caller could not read it or
    its set-id bits count (FDSCRIPTS, SETUIDSCRIPTS).  Raises ENOEXEC for a script behind a script, EMFILE.
    """
    if package.script:
        raise ENOEXEC("the interpreter of a script is a script")
    name, p = package.interp_name, package.thread.proc
    attr = package.file.attr
    unreadable = False
    try:
        permission(p.cred, attr, Access.READ)
    except EACCES:
        unreadable = True
    if attr.mode & _SETID:
        package.script_attr = attr
    if unreadable or attr.mode & _SETID:
        fd = p.fds.lowest()
        if fd >= p.rlimit(Rlimit.NOFILE):
            raise EMFILE("no descriptor for the script")
        package.opens = ((fd, package.file),)
        name = b"/dev/fd/%d" % fd
    if line.argument is None:
        return [line.interpreter, name]
    return [line.interpreter, line.argument, name]


# --- the call
def approve(package: ExecPackage) -> None:
    """The end of check_exec: the entry point, then limits, whose refusal overrides.  Raises ENOEXEC, ENOMEM."""
    package.at_step("limits")
    image = package.image
    assert image is not None
    p, arch = package.thread.proc, image.arch
    if image.tsize > MAX_TEXT[arch]:
        raise ENOMEM("more text than a program may have")
    if image.dsize > min(p.rlimit(Rlimit.DATA), MAX_DATA[arch]):
        raise ENOMEM("more data than RLIMIT_DATA allows")
    if not image.model.min_addr <= image.start < image.model.user_top:
        raise ENOEXEC("the entry point lies outside user memory")


def copy_arguments(package: ExecPackage) -> None:
    """The script's arguments, then the caller's, then the environment, into a buffer of NCARGS bytes.  Raises EINVAL without
    an argument vector, EFAULT, E2BIG.
    """
    package.at_step("arguments")
    package.argv, package.envp = take_in_order(package.thread, package.request, package.fakes, NCARGS)


def limits(package: ExecPackage) -> ArgumentLimits:
    """For who wants to know: all strings together, one as long as all."""
    return ArgumentLimits(NCARGS, NCARGS, min(package.thread.proc.rlimit(Rlimit.STACK), MAX_STACK[Arch.X86_64]), 0)


def attributes(package: ExecPackage) -> Attr:
    """Those that set-id goes by: the program's, with the bits of a script added, whose owner or group counts then."""
    attr, lent = package.file.attr, package.script_attr
    if lent is None:
        return attr
    return attr._replace(
        mode=attr.mode | lent.mode & _SETID,
        uid=lent.uid if lent.mode & S_ISUID else attr.uid,
        gid=lent.gid if lent.mode & S_ISGID else attr.gid,
    )


def new_ids(package: ExecPackage) -> Ids:
    """Set-id counts where it makes a difference, for a process that nobody traces; saved ids are the effective ones."""
    t = package.thread
    old, attr = t.proc.cred, attributes(package)
    by_user, by_group = bool(attr.mode & S_ISUID), bool(attr.mode & S_ISGID)
    counts = t.trace is None and not t.proc.no_new_privs and (
        (by_user and old.euid != attr.uid) or (by_group and old.egid != attr.gid)
    )
    new = old.set_id(attr.uid if counts and by_user else None, attr.gid if counts and by_group else None)
    return Ids(new, counts, counts)


def dumpable(package: ExecPackage, ids: Ids) -> int:
    """P_SUGID: a process whose ids changed is nobody's to look into."""
    return 0 if ids.setid or package.unreadable else 1


def comm(package: ExecPackage) -> bytes:
    """p_comm: the last name that was looked up, which of a script is its interpreter's."""
    file = package.file
    return (file.path.rpartition(b"/")[2] if file.dentry is None else file.dentry.name)[:MAXCOMLEN]


def opens(package: ExecPackage) -> tuple[tuple[int, ImageFile | None], ...]:
    """fdcheckstd: a set-id program finds its first three descriptors open, on the null device where they were not."""
    if not package.ids.setid:
        return ()
    fds = package.thread.proc.fds
    taken = {fd for fd, _ in package.opens}
    return tuple((fd, None) for fd in range(3) if (fd not in fds or fd in fds.cloexec) and fd not in taken)


# --- the image
def flags_after(package: ExecPackage, arch: Arch, setid: bool, exec_stack: bool | None) -> int:
    """personality(2)'s flags mean nothing here and are kept for a Linux program that may come later."""
    del arch, exec_stack
    flags = package.thread.proc.personality_flags
    return flags & ~_CLEARED if setid else flags


def randomises(package: ExecPackage, flags: int) -> bool:
    """Where PaX ASLR is in force, unless a Linux caller or the kernel's maker switched randomness off."""
    return bool(package.pax & 1) and not flags & _ADDR_NO_RANDOMIZE and bool(package.system.execsw.randomise)


def arrange(frame: Frame) -> tuple[AddressModel, int]:
    """exec_setup_stack: the space ends where the stack does, or a random distance above; mmap goes down from its far end."""
    arch, top = frame.arch, min(USER_TOP[frame.arch], page_floor(frame.host_top))
    stack_random = mmap_random = 0
    if frame.randomise:
        stack_random = frame.random.getrandbits(_STACK_BITS[arch]) * PAGE
        mmap_random = frame.random.getrandbits(_MMAP_BITS[arch]) * PAGE
    stack_top = top - stack_random
    mmap_base = stack_top - MAX_STACK[arch] - mmap_random
    model = AddressModel(min_addr=max(frame.min_addr, PAGE), user_top=top, mmap_base=mmap_base)
    return model, stack_top


def stack_extent(package: ExecPackage, image: Image) -> tuple[int, int]:
    """ep_maxsaddr and ep_ssize: the lowest address the stack may ever reach, and how much of it is there."""
    del package
    largest = MAX_STACK[image.arch]
    return image.stack_top - largest, min(page_floor(image.frame.stack_rlimit), largest)


def stack_commands(image: Image, found: StackImage) -> list[VMCmd]:
    """Out of reach below the limit, memory above."""
    del found
    bottom = image.stack_top - image.stack_limit
    most = 3 if image.pax & 2 else 7
    commands = []
    if bottom > image.stack_start:
        commands.append(
            VMCmd(ZERO, image.stack_start, bottom - image.stack_start, 0, flags=STACK, label=b"[stack]", max_prot=most)
        )
    commands.append(VMCmd(ZERO, bottom, image.stack_top - bottom, 3, flags=STACK, label=b"[stack]", max_prot=most))
    return commands


def sizes(image: Image, found: StackImage) -> Sizes:
    """vm_taddr and its like; sizes in pages."""
    return Sizes(
        image.taddr, page_ceil(image.tsize) // PAGE, image.daddr, page_ceil(image.dsize) // PAGE,
        page_ceil(image.stack_top - found.sp) // PAGE, image.stack_start, image.stack_top,
    )


def auxv(package: ExecPackage, image: Image, path_at: int) -> list[Aux]:
    """elf_copyargs.  The effective ids are those the mode bits promise, whether or not somebody traces the process."""
    cred, attr = package.ids.cred, attributes(package)
    entries = [
        Aux(elf.AT_PHDR, image.phdr_addr),
        Aux(elf.AT_PHENT, image.phdr_size),
        Aux(elf.AT_PHNUM, image.phnum),
        Aux(elf.AT_PAGESZ, PAGE),
        Aux(elf.AT_BASE, image.interp_base),
        Aux(elf.AT_FLAGS, 0),
        Aux(elf.AT_ENTRY, image.entry),
        Aux(elf.AT_NETBSD_EUID, attr.uid if attr.mode & S_ISUID else cred.euid),
        Aux(elf.AT_NETBSD_RUID, cred.ruid),
        Aux(elf.AT_NETBSD_EGID, attr.gid if attr.mode & S_ISGID else cred.egid),
        Aux(elf.AT_NETBSD_RGID, cred.rgid),
        Aux(elf.AT_STACKBASE, image.stack_top),
    ]
    if path_at:
        entries.append(Aux(elf.AT_SUN_EXECNAME, path_at))
    return entries


def build_stack(package: ExecPackage, image: Image) -> StackImage:
    """copyargs and ps_strings.  Images that are not ELF have no auxiliary vector.  Raises ENOMEM."""
    return stack.build(
        top=image.stack_top,
        limit=image.stack_limit,
        word_size=image.word_size,
        argv=package.argv,
        envp=package.envp,
        sigcode=len(image.personality.exec.sigcode(image)),
        path=package.file.path,
        auxv=(lambda path_at: auxv(package, image, path_at)) if image.phnum else None,
    )


def registers(image: Image, sp: int) -> tuple[tuple[int, int], ...]:
    """setregs: ps_strings in rbx (ebx), no clean-up function in rdx, everything else zero.

    Selectors are the host's, which the CPU runs with; what getcontext tells is the calls' affair.
    """
    told = image.stack_top - stack.ps_strings_size(image.word_size)
    common = ((x86.RIP, image.start), (x86.RSP, sp), (x86.RBX, told), (x86.EFLAGS, 0x202), (x86.SS, x86.SS_USER))
    if image.arch is Arch.X86_64:
        return (*common, (x86.CS, x86.CS_64))
    return (*common, (x86.CS, x86.CS_32), (x86.DS, x86.SS_USER), (x86.ES, x86.SS_USER))


NETBSD: Final = ExecRules(
    stages=(check.find_file, check.find_image, approve, copy_arguments),
    file_checks=(files.regular, files.executable, files.mount_runs, files.drop_setid, files.note_unreadable),
    max_depth=2,
    header_size=SCRIPT_HEADER,
    keeps_searching=True,
    empty_argv=(),
    empty_interpreter=ENOENT,
    death=death,
    split_script=split_script,
    script_arguments=script_arguments,
    limits=limits,
    new_ids=new_ids,
    dumpable=dumpable,
    comm=comm,
    reset_signals=sigreset.drop_ignored,
    flags_after=flags_after,
    randomises=randomises,
    arrange=arrange,
    stack_extent=stack_extent,
    stack_commands=stack_commands,
    pie_base=lambda _: 0,
    place_brk=lambda _frame, end, _loader: page_ceil(end),
    build_stack=build_stack,
    registers=registers,
    vdso=False,
    probe_mismatch=EFTYPE,
    opens=opens,
    sizes=sizes,
)
