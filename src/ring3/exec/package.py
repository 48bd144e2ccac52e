"""The exec package: what is known about one exec while it is being checked (NetBSD: struct exec_package).

A package looks and collects; it changes nothing of the calling process.  Its generator of randomness is its own: made
from the seed and the process's place in its history, so that asking twice gives the same plan.  What it becomes is an
`ExecPlan`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ring3.abi.flags import Access, Prot
from ring3.abi.x86 import Arch
from ring3.errors import EACCES, EINVAL, ENOEXEC, ENOMEM
from ring3.exec.arguments import Budget
from ring3.exec.plan import BASE, MAP, RELATIVE, WRITE, ZERO, ImageFile, VMCmd
from ring3.exec.rules import READ_IMPLIES_EXEC, ExecRules, Frame, Ids
from ring3.namedtuple import NamedTuple
from ring3.proc.lookup import find_emulation_root, namei_context
from ring3.proc.proc import Rlimit
from ring3.vfs.namei import NameiContext, namei
from ring3.vm.region import PAGE, page_ceil, page_floor

if TYPE_CHECKING:
    from ring3.abi.records import Attr
    from ring3.exec.switch import Format
    from ring3.proc.proc import Thread
    from ring3.protocols import Personality
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.file import File
    from ring3.vfs.vnode import Vnode
    from ring3.vm.layout import AddressModel
    from ring3.vm.traits import MasterTls


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
    """The new image as far as it has been laid out.  Formats fill it in; `commands` grows by `map`, `zero`, `write` and
    `queue`.

    Text and data are what a NetBSD image says of itself (addresses, bytes); `pax` are protections it asked for;
    `more_registers` are what its format adds to the registers its system sets, and may replace.
    """

    __slots__ = (
        "arch", "base", "brk_end", "commands", "daddr", "data_bytes", "dsize", "entry", "exec_stack", "frame",
        "has_interpreter", "interp_base", "interpreter", "is_dynamic", "is_queued", "load_bias", "model", "more_registers", "pax",
        "personality", "phdr_addr", "phdr_size", "phnum", "stack_limit", "stack_start", "stack_top", "start", "taddr",
        "tls", "tsize", "vdso_base", "word_size",
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
        self.taddr = self.tsize = self.daddr = self.dsize = 0
        self.pax = 0
        self.tls: MasterTls | None = None
        self.more_registers: tuple[tuple[int, int], ...] = ()
        self.base = 0                           # where the last BASE command goes
        self.is_queued = False                  # what it is made of shows only when it is run

    def map(self, file: ImageFile, addr: int, length: int, prot: int, offset: int, *, marks: int = 0) -> None:
        """Show a file; the room has been taken in the model."""
        self._cover(addr, addr + length)
        self._count_data(length, prot)
        self.commands.append(VMCmd(MAP, addr, length, prot, file, offset, marks=marks))

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

    def write(self, addr: int, data: bytes, label: bytes = b"") -> None:
        """Bytes where memory is by then: within one page, or on the stack."""
        if data:
            self.commands.append(VMCmd(WRITE, addr, len(data), data=data, label=label))

    def queue(self, command: VMCmd) -> VMCmd:
        """One command as NetBSD queues it: the address of a RELATIVE one is its distance from the last BASE one.  Nothing
        is asked of the model: whether it can be done shows when it is.  Gives the command with its address.
        """
        assert command.flags & (BASE | RELATIVE) != BASE | RELATIVE, "a command is a base or relative to one"
        if command.flags & RELATIVE:
            assert any(c.flags & BASE for c in self.commands), "a relative command needs a base"
            command = command._replace(addr=(self.base + command.addr) & (1 << 64) - 1)
        elif command.flags & BASE:
            self.base = command.addr
        self.commands.append(command)
        self.is_queued = True
        return command

    def rehearse(self) -> None:
        """Whether queued commands could be run, as far as can be told without a space.  Raises EINVAL for what must begin and
        end with pages and does not, ENOMEM beyond what a program may use or RLIMIT_AS.
        """
        total, low, top = 0, self.model.min_addr, self.model.user_top
        for command in self.commands:
            start, end = page_floor(command.addr), page_ceil(command.addr + command.length)
            if command.kind == MAP and (command.addr | command.length | command.offset) % PAGE:
                raise EINVAL(f"a segment at {command.addr:#x} does not begin and end with pages")
            if command.kind == ZERO and command.addr % PAGE:
                raise ENOMEM(f"fresh memory at {command.addr:#x} would cover what stands there")
            if command.length and (end > top or start < low or command.offset < 0 or command.offset + command.length >= 1 << 62):
                raise ENOMEM(f"{start:#x}-{end:#x} is not for programs, who have {low:#x}-{top:#x}")
            if command.kind != WRITE:
                total += end - start
        if total > self.frame.as_rlimit:
            raise ENOMEM("the image is larger than the limit on address space")

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
    """One exec in progress.  `file` is the file looked at now, `header` its first bytes (`header_valid` of them the
    file's); a script replaces both and goes round again.

    `step` says where it is (see rules.STEPS); `observe` is called at each, and may raise: tests make every step fail.
    `decided`: nothing more is asked.  `fakes` are the arguments a script puts in front where the caller's come later,
    without the caller's first then; `opens` what ExecPlan calls so; `pax` the protections an image's notes leave in force;
    `script_attr` the attributes of a script whose set-id bits count; `image_of` the personality as whose images files are
    looked up.
    """

    __slots__ = (
        "argv", "budget", "decided", "envp", "execfn", "fakes", "file", "format_name", "header", "header_size", "header_valid",
        "ids", "image", "image_of", "interp_name", "observe", "opens", "pax", "random", "request", "rules", "script",
        "script_attr", "step", "system", "thread", "unreadable",
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
        self.budget: Budget | None = None
        self.decided = False
        self.fakes: list[bytes] | None = None
        self.opens: tuple[tuple[int, ImageFile | None], ...] = ()
        self.pax = 0
        self.script_attr: Attr | None = None
        self.file: ImageFile
        self.header = b""
        self.header_valid = 0
        self.header_size = max(self.rules.header_size, self.system.execsw.header_size)      # as large as when it began
        self.image_of: str | None = None
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

    def formats(self) -> tuple[Format, ...]:
        """The formats to ask, in order."""
        return self.system.execsw.entries  # type: ignore[no-any-return]

    # --- files
    def open_first(self) -> ImageFile:
        """The file the request names.  Raises what namei does, and what `check_file` does."""
        request = self.request
        if request.file is not None:
            vnode = request.file.vnode
            if vnode is None:
                raise EACCES("not a regular file")
            veil, dentry = self.thread.proc.veil, request.file.dentry
            if veil is not None and dentry is not None:
                veil.check(dentry, b"", Access.EXECUTE)         # that it is open does not say that it may be run
            return self.check_file(vnode, dentry, request.file.label)
        return self.open(request.path, at=request.at, follow=request.follow)

    def open(self, path: bytes, *, at: Dentry | None = None, follow: bool = True) -> ImageFile:
        """The file at `path`, if it may be run: a program, or an interpreter."""
        dentry = namei(self.context(), path, at=at, follow=follow, access=Access.EXECUTE)
        return self.check_file(dentry.vnode, dentry, path)

    def context(self) -> NameiContext:
        """How files are looked up now: as the caller does, an image's interpreter as the image will (emul_find_interp)."""
        context = namei_context(self.thread)
        if self.image_of is None:
            return context
        root = find_emulation_root(self.thread.proc, self.system.personalities[self.image_of])
        return context._replace(emulation_root=root)

    def open_interpreter(self, path: bytes, personality: str | None = None) -> ImageFile:
        """The file a script names as its interpreter, or an image of `personality`; a relative one from the current
        directory.
        """
        if not path:
            raise self.rules.empty_interpreter("the interpreter has no name")
        if personality in self.system.personalities:
            self.image_of = personality
        return self.open(path)

    def emulation(self, personality: Personality) -> tuple[Dentry, Dentry] | None:
        """The emulation root of an image (Proc.emulation)."""
        root = find_emulation_root(self.thread.proc, personality)
        return None if root is None else (root, self.thread.proc.fs.root)

    def check_file(self, vnode: Vnode, dentry: Dentry | None, label: bytes) -> ImageFile:
        """A file of the exec, asked what the caller's system asks (`ExecRules.file_checks`), then by the kernel's
        policies.  Raises what they do.
        """
        path = dentry.path(self.thread.proc.fs.root) if dentry is not None else label
        file = ImageFile(vnode, dentry, path, vnode.getattr())
        for check in self.rules.file_checks:
            check(self, file)
        for policy in self.system.execsw.policies:
            policy(self.thread, self, file)
        return file

    def read_header(self) -> None:
        """The first bytes of the present file, padded with zeros."""
        size = self.header_size
        data = self.file.vnode.read(0, size)
        self.header_valid = len(data)
        self.header = data.ljust(size, b"\0")

    # --- what formats ask for
    def rewrite(self, interpreter: bytes, argv: list[bytes]) -> None:
        """The file is to be run by another one: go round again with it.

        `argv` replaces the first argument, now, or when the arguments are taken.  Raises E2BIG, and what opening the
        interpreter does.
        """
        if self.budget is None:
            self.fakes = argv
        else:
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
        if (exec_stack or flags & READ_IMPLIES_EXEC) and not self.grants("prot_exec"):
            exec_stack, flags = False, flags & ~READ_IMPLIES_EXEC
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

    def grants(self, promise: str) -> bool:
        """Whether the new program will hold a promise; where not, and not only to be reported, it does without."""
        confinement = self.thread.proc.confinement
        after = None if confinement is None else confinement.after_exec()
        return after is None or after.grants(self.thread, promise)

    def stack_rlimit(self) -> tuple[int, int]:
        """RLIMIT_STACK as the new image will have it: one that distrusts its caller may get less."""
        soft, hard = self.thread.proc.rlimits[Rlimit.STACK]
        return (min(soft, self.rules.secure_stack), hard) if self.ids.secure else (soft, hard)


def generator(t: Thread) -> random.Random:
    """Randomness for one exec: the host's, or one that follows from the kernel's seed and the process's history."""
    system = t.system
    if system.seed is None:
        return random.SystemRandom()
    return random.Random((system.seed & (1 << 64) - 1) << 64 | t.proc.pid << 32 | t.proc.exec_id)


