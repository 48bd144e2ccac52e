"""The watched exec: the real check and plan, by a package that notes what it is asked and what comes of it.

`WatchedPackage` overrides what formats and checks go through and calls the original each time, so that what is shown
is what `exec/` does; only the sentences are ours.  The process that asks is left as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ring3.abi.elf import MAGIC
from ring3.errors import ENOEXEC, Errno
from ring3.exec.check import judge
from ring3.exec.package import ExecPackage, ExecRequest
from ring3.exec.plan import ExecDeath, ExecPlan
from ring3.trace.elfimage import reader
from ring3.trace.explain.checks import file_checks
from ring3.trace.explain.code import first_bytes
from ring3.trace.explain.files import HEAD, FileKind, kind_of
from ring3.trace.explain.model import Arguments, Event, Explanation, FormatSaid, Header, Hop, Tried
from ring3.trace.explain.walk import look_up
from ring3.trace.explain.words import NO_LIMIT, size

if TYPE_CHECKING:
    from ring3.exec.plan import ImageFile
    from ring3.exec.switch import Format
    from ring3.proc.proc import Thread
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.vnode import Vnode

_SHOWN_HEAD: Final = 16


class WatchedPackage(ExecPackage):
    """An `ExecPackage` that keeps `events`.  `kinds` says what each file whose header was read is, by its path."""

    __slots__ = ("argc", "events", "heads", "hops", "kinds", "purpose", "rewriting", "sizes")

    def __init__(self, t: Thread, request: ExecRequest) -> None:
        super().__init__(t, request)
        self.events: list[Event] = []
        self.kinds: list[FileKind] = []
        self.heads: list[bytes] = []
        self.sizes: list[int] = []
        self.purpose = "program"
        self.rewriting = False
        self.hops = 0
        self.argc = 0                   # arguments before the script at hand was found to be one

    def at_step(self, step: str) -> None:
        """See `ExecPackage`."""
        super().at_step(step)
        if step == "arguments":
            self.events.append(arguments(self))

    def open(self, path: bytes, *, at: Dentry | None = None, follow: bool = True) -> ImageFile:
        """See `ExecPackage`."""
        if len(self.script) > self.hops:            # a system that sees to scripts itself, before it asks the formats
            self._hop(self.script[-1], path, tuple(self.argv[: len(self.argv) - self.argc + 1]))
            self.purpose = "interpreter"
        self.argc = len(self.argv)
        self.events += look_up(self.context(), path, self.purpose, at=at, follow=follow)
        return super().open(path, at=at, follow=follow)

    def open_interpreter(self, path: bytes, personality: str | None = None) -> ImageFile:
        """See `ExecPackage`."""
        self.purpose = "interpreter" if self.rewriting else "loader"
        return super().open_interpreter(path, personality)

    def check_file(self, vnode: Vnode, dentry: Dentry | None, label: bytes) -> ImageFile:
        """See `ExecPackage`."""
        try:
            file = super().check_file(vnode, dentry, label)
        except Errno as refusal:
            self.events += file_checks(self, vnode, dentry, label, refusal)
            raise
        self.events += file_checks(self, vnode, dentry, label, None)
        return file

    def read_header(self) -> None:
        """See `ExecPackage`."""
        super().read_header()
        read = reader(self.file.vnode)
        head = read(0, HEAD)
        found = kind_of(head, read)
        self.kinds.append(found)
        self.heads.append(head)
        self.sizes.append(self.file.size)
        self.events.append(Header(self.file.path, head[:_SHOWN_HEAD], found.words))

    def formats(self) -> tuple[Format, ...]:
        """See `ExecPackage`."""
        return tuple(WatchedFormat(entry) for entry in super().formats())

    def rewrite(self, interpreter: bytes, argv: list[bytes]) -> None:
        """See `ExecPackage`."""
        self._hop(self.file.path, interpreter, tuple(argv))
        self.rewriting = True
        super().rewrite(interpreter, argv)
        self.rewriting = False

    def _hop(self, script: bytes, interpreter: bytes, argv: tuple[bytes, ...]) -> None:
        line = self.header.split(b"\n", 1)[0].rstrip(b"\0")
        self.hops += 1
        self.events.append(Hop(script, line, interpreter, argv, self.hops, self.rules.max_depth - 1))


class WatchedFormat:
    """A format of the switch whose answers are noted in the package it is asked about."""

    __slots__ = ("header_size", "inner", "name", "personality")

    def __init__(self, inner: Format) -> None:
        self.inner = inner
        self.name = inner.name
        self.header_size = inner.header_size
        self.personality = inner.personality

    def recognise(self, package: ExecPackage) -> bool:
        """See `Format`."""
        assert isinstance(package, WatchedPackage)
        at = len(package.events)            # what it says comes before what follows from it
        try:
            again = self.inner.recognise(package)
        except Errno as refusal:
            package.events.insert(at, self._refused(package, refusal))
            raise
        verdict = "rewritten" if again else "mine"
        package.events.insert(at, FormatSaid(self.name, verdict, _detail(package.kinds[-1])))
        return again

    def _refused(self, package: WatchedPackage, refusal: Errno) -> FormatSaid:
        kind = package.kinds[-1]
        if package.step != "format":
            verdict = "rewritten" if package.step == "script" else "mine"
            return FormatSaid(self.name, verdict, _detail(kind), refusal.name)
        if isinstance(refusal, ENOEXEC):
            return FormatSaid(self.name, "not mine", refusal.reason or _not_its(package.header), refusal.name)
        return FormatSaid(self.name, "refused", str(refusal), refusal.name)


def _not_its(header: bytes) -> str:
    """Why a format that gives no reason leaves a file to others."""
    return "an ELF file, but not one for it" if header[:4] == MAGIC else f"the first bytes are {header[:4].hex(' ')}"


def _detail(kind: FileKind) -> str:
    return kind.elf.words() if kind.elf is not None else kind.words


def arguments(package: ExecPackage) -> Arguments:
    """What argv and the environment of the request take, and what they may."""
    argv, envp = package.request.argv, package.request.envp
    assert not isinstance(argv, int), "an explained exec is asked for with lists"
    assert not isinstance(envp, int), "an explained exec is asked for with lists"
    limits = package.rules.limits(package)
    strings = [*argv, *envp, package.execfn]
    return Arguments(
        argc=len(argv),
        envc=len(envp),
        strings=sum(map(len, strings)) + len(strings),
        pointers=(max(len(argv), 1) + len(envp)) * 8,
        limit=limits.total,
        string_limit=limits.string,
        longest=max(map(len, strings)) + 1,
        rule=_limit_rule(limits.total, limits.stack),
    )


def _limit_rule(total: int, stack: int) -> str:
    """Where a limit comes from, by the numbers."""
    if total >= NO_LIMIT:
        return "this system counts no bytes"
    if total == stack // 4:
        return f"a quarter of the stack limit, {size(stack)}"
    if total > stack // 4:
        return "the least any program gets, whatever the stack limit"
    return "the most any program gets, however large the stack limit"


def explain(t: Thread, request: ExecRequest, *, program: bytes | None = None, search: Sequence[Tried] = ()) -> Explanation:
    """What would become of `request`, made by `t`.  `program` is what was typed where that is not the path; `search`
    what was tried along PATH before.  Raises nothing the guest's files could cause.
    """
    package = WatchedPackage(t, request)
    plan: ExecPlan | None = None
    outcome, error, reason, signal, step = "refused", "", "", 0, ""
    try:
        verdict = judge(package)
    except Errno as refusal:
        error, reason, step = refusal.name, refusal.reason or "", package.step
    else:
        if isinstance(verdict, ExecDeath):
            outcome, signal, step = "dies", verdict.signal, verdict.step
            error, _, reason = verdict.error.partition(": ")
        else:
            outcome, plan = "runs", verdict
    argv, envp = request.argv, request.envp
    assert not isinstance(argv, int)
    assert not isinstance(envp, int)
    return Explanation(
        personality=t.proc.personality.name, program=request.path if program is None else program, path=request.path,
        argv=tuple(argv), envp=tuple(envp), before=t.proc.cred, outcome=outcome, events=tuple(package.events), plan=plan, step=step,
        error=error, reason=reason, signal=signal, search=tuple(search),
        kinds=tuple(package.kinds), heads=tuple(package.heads), sizes=tuple(package.sizes),
        code=first_bytes(plan) if plan is not None else b"",
    )
