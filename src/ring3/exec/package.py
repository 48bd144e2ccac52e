"""The exec package: what is known about one exec while it is being checked (NetBSD: struct exec_package).

A package looks and collects; it changes nothing of the calling process.  Its generator of randomness is its own: made
from the seed and the process's place in its history, so that asking twice gives the same plan.  What it becomes is an
`ExecPlan`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ring3.abi.flags import Access, FileType, MountFlags, Prot
from ring3.abi.x86 import Arch
from ring3.errors import EACCES, ELOOP, ENOEXEC, ENOMEM, ETXTBSY
from ring3.exec.arguments import Budget
from ring3.exec.plan import MAP, WRITE, ZERO, ImageFile, VMCmd
from ring3.exec.rules import ExecRules, Frame, Ids
from ring3.proc.lookup import namei_context
from ring3.proc.proc import Rlimit
from ring3.vfs.access import permission
from ring3.vfs.namei import namei

if TYPE_CHECKING:
    from ring3.proc.proc import Thread
    from ring3.protocols import Personality
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.file import File
    from ring3.vfs.vnode import Vnode
    from ring3.vm.layout import AddressModel


class ExecRequest(NamedTuple):
    """What is asked for.  `argv` and `envp` are addresses in the caller's memory (words of `word_size` bytes), or
    lists.

    `at` is where a relative path begins; `file` an open file to run instead of a path (AT_EMPTY_PATH); `name` what
    the program is told it is called where that is not the path ("/dev/fd/N…"); `inaccessible`: that name will be gone
    after the exec.
    """

    path: bytes
    argv: int | Sequence[bytes]
    envp: int | Sequence[bytes]
    word_size: int = 8
    at: Dentry | None = None
    file: File | None = None
    follow: bool = True
    name: bytes | None = None
    inaccessible: bool = False
    check_only: bool = False


class Image:
    """The new image as far as it has been laid out.  Formats fill it in; `commands` grows by `map`, `zero` and
    `write`.
    """

    __slots__ = (
        "arch", "brk_end", "commands", "data_bytes", "entry", "exec_stack", "frame", "has_interpreter", "interp_base",
        "interpreter", "is_dynamic", "load_bias", "model", "personality", "phdr_addr", "phdr_size", "phnum",
        "stack_limit", "stack_start", "stack_top", "start", "vdso_base", "word_size",
    )

    def __init__(
        self, personality: Personality, frame: Frame, model: AddressModel, stack_top: int, *, exec_stack: bool | None
    ) -> None:
        self.personality = personality
        self.interpreter: ImageFile | None = None
        self.arch = frame.arch
        self.word_size = frame.word_size
        self.frame = frame
        self.model = model
        self.stack_top = stack_top
        self.stack_start = stack_top
        self.stack_limit = frame.stack_rlimit
        self.exec_stack = exec_stack            # what the file asks for; None: nothing
        self.commands: list[VMCmd] = []
        self.data_bytes = 0
        self.entry = self.start = 0
        self.load_bias = self.interp_base = 0
        self.has_interpreter = self.is_dynamic = False
        self.phdr_addr = self.phdr_size = self.phnum = 0
        self.brk_end = 0
        self.vdso_base = 0

    def map(self, file: ImageFile, addr: int, length: int, prot: int, offset: int) -> None:
        """Show a file; the room has been taken in the model."""
        self._cover(addr, addr + length)
        self._count_data(length, prot)
        self.commands.append(VMCmd(MAP, addr, length, prot, file, offset))

    def zero(self, addr: int, length: int, prot: int) -> None:
        """Fresh memory."""
        if length:
            self._cover(addr, addr + length)
            self._count_data(length, prot)
            self.commands.append(VMCmd(ZERO, addr, length, prot))

    def _count_data(self, length: int, prot: int) -> None:
        """Raises ENOMEM when private writable memory is more than RLIMIT_DATA allows (mm/mmap.c: may_expand_vm)."""
        if prot & Prot.WRITE:
            self.data_bytes += length
            if self.data_bytes > self.frame.data_rlimit:
                raise ENOMEM("more data than RLIMIT_DATA allows")

    def write(self, addr: int, data: bytes) -> None:
        """Bytes within one page."""
        if data:
            self.commands.append(VMCmd(WRITE, addr, len(data), data=data))

    def _cover(self, start: int, end: int) -> None:
        """Writes happen after all mappings: those that the next mapping replaces are forgotten."""
        self.commands = [c for c in self.commands if c.kind != WRITE or not start <= c.addr < end]

    def mapped_at(self, addr: int) -> VMCmd | None:
        """The mapping that shows `addr`."""
        for command in reversed(self.commands):
            if command.kind in (MAP, ZERO) and command.addr <= addr < command.addr + command.length:
                return command
        return None


class ExecPackage:
    """One exec in progress.  `file` is the file looked at now, `header` its first bytes; a script replaces both and
    goes round again.

    `step` says where it is (see rules.STEPS); `observe` is called at each, and may raise: tests make every step fail.
    """

    __slots__ = (
        "argv", "budget", "envp", "execfn", "file", "format_name", "header", "ids", "image", "interp_name", "observe",
        "random", "request", "rules", "script", "step", "system", "thread", "unreadable",
    )

    def __init__(self, t: Thread, request: ExecRequest, observe: Callable[[str], None] | None = None) -> None:
        self.thread = t
        self.system = t.system
        self.request = request
        self.rules: ExecRules = t.proc.personality.exec
        self.observe = observe
        self.step = ""
        self.execfn = request.path if request.name is None else request.name
        self.interp_name = self.execfn
        self.argv: list[bytes] = []
        self.envp: list[bytes] = []
        self.budget: Budget
        self.file: ImageFile
        self.header = b""
        self.format_name = ""
        self.script: list[bytes] = []
        self.unreadable = False
        self.ids: Ids
        self.image: Image | None = None
        self.random = generator(t)

    def at_step(self, step: str) -> None:
        """The exec comes to this step."""
        self.step = step
        if self.observe is not None:
            self.observe(step)

    # --- files
    def open_first(self) -> ImageFile:
        """The file the request names.  Raises what namei does, and EACCES, ELOOP, ETXTBSY as `check_file`."""
        request = self.request
        if request.file is not None:
            vnode = request.file.vnode
            if vnode is None:
                raise EACCES("not a regular file")
            return self.check_file(vnode, request.file.dentry, request.file.label)
        return self.open(request.path, at=request.at, follow=request.follow)

    def open(self, path: bytes, *, at: Dentry | None = None, follow: bool = True) -> ImageFile:
        """The file at `path`, if it may be run: a program, or an interpreter."""
        dentry = namei(namei_context(self.thread), path, at=at, follow=follow, access=Access.EXECUTE)
        return self.check_file(dentry.vnode, dentry, path)

    def open_interpreter(self, path: bytes) -> ImageFile:
        """The file a script or an image names as its interpreter; a relative one from the current directory."""
        if not path:
            raise self.rules.empty_interpreter("the interpreter has no name")
        return self.open(path)

    def check_file(self, vnode: Vnode, dentry: Dentry | None, label: bytes) -> ImageFile:
        """fs/namei.c:may_open for execution.  Raises ELOOP for a link, EACCES (kind, noexec mount, mode), ETXTBSY
        (open for writing).
        """
        if vnode.type == FileType.LNK:
            raise ELOOP
        if vnode.type != FileType.REG:
            raise EACCES("not a regular file")
        if dentry is not None and dentry.mount.flags & MountFlags.NOEXEC:
            raise EACCES("the file system is mounted noexec")
        cred = self.thread.proc.cred
        attr = vnode.getattr()
        permission(cred, attr, Access.EXECUTE)
        if vnode.writers > 0:
            raise ETXTBSY
        if not cred.privileged:
            try:
                permission(cred, attr, Access.READ)
            except EACCES:
                self.unreadable = True
        path = dentry.path(self.thread.proc.fs.root) if dentry is not None else label
        file = ImageFile(vnode, dentry, path, attr.size)
        for policy in self.system.execsw.policies:
            policy(self.thread, self, file)
        return file

    def read_header(self) -> None:
        """The first bytes of the present file, padded with zeros."""
        size = max(self.rules.header_size, self.system.execsw.header_size)
        self.header = self.file.vnode.read(0, size).ljust(size, b"\0")

    # --- what formats ask for
    def rewrite(self, interpreter: bytes, argv: list[bytes]) -> None:
        """The file is to be run by another one: go round again with it.

        `argv` replaces the first argument.  Raises E2BIG, and what opening the interpreter does.
        """
        if self.argv:
            self.budget.drop(self.argv.pop(0))
        for argument in reversed(argv):
            self.budget.add(argument)
        self.argv[:0] = argv
        self.script.append(self.file.path)
        self.interp_name = interpreter
        self.file = self.open_interpreter(interpreter)

    def begin_image(self, arch: Arch, personality: str, *, exec_stack: bool | None) -> Image:
        """The file is an image: an empty address space, with the place of its stack.  From here on its own
        personality's rules build.

        Raises ENOEXEC when nobody knows the personality, and what `arrange` does.
        """
        t = self.thread
        chosen = self.system.personalities.get(personality)
        if chosen is None:
            raise ENOEXEC(f"no personality {personality!r}")
        self.ids = self.rules.new_ids(self)
        self.at_step("arrange")
        rules: ExecRules = chosen.exec
        facts = self.system.facts
        flags = rules.flags_after(self, arch, self.ids.setid, exec_stack)
        frame = Frame(
            arch=arch,
            word_size=arch.word_size,
            host_top=facts.user_top,
            min_addr=facts.min_addr,
            flags=flags,
            stack_rlimit=self.stack_rlimit()[0],
            as_rlimit=t.proc.rlimit(Rlimit.AS),
            data_rlimit=t.proc.rlimit(Rlimit.DATA) or t.proc.rlimits[Rlimit.DATA][1],     # 0 counts as none (may_expand_vm)
            randomise=rules.randomises(self, flags),
            random=self.random,
        )
        model, stack_top = rules.arrange(frame)
        image = Image(chosen, frame, model, stack_top, exec_stack=exec_stack)
        image.stack_start, image.stack_limit = rules.stack_extent(self, image)
        model.fix(image.stack_start, stack_top - image.stack_start, replace=False)
        self.image = image
        return image

    def stack_rlimit(self) -> tuple[int, int]:
        """RLIMIT_STACK as the new image will have it: an image that distrusts its caller gets no more than 8 MiB."""
        soft, hard = self.thread.proc.rlimits[Rlimit.STACK]
        return (min(soft, 8 << 20), hard) if self.ids.secure else (soft, hard)


def generator(t: Thread) -> random.Random:
    """Randomness for one exec: the host's, or one that follows from the kernel's seed and the process's history."""
    system = t.system
    if system.seed is None:
        return random.SystemRandom()
    return random.Random((system.seed & (1 << 64) - 1) << 64 | t.proc.pid << 32 | t.proc.exec_id)


