"""What an explanation is made of: values, in the order in which things happened.

Paths are the guest's, as bytes; errors are names as errno(3) spells them, "" for none.  Not here: how they come to be
(`watch.py`), how they look (`text.py`, `asjson.py`, `ashtml.py`: an `Explanation` knows the way there).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ring3.namedtuple import NamedTuple

if TYPE_CHECKING:
    from ring3.exec.plan import ExecPlan
    from ring3.proc.cred import Cred
    from ring3.trace.explain.files import FileKind


class FileFacts(NamedTuple):
    """What a look-up found.  `kind` is "regular", "directory", "link" …; `mode` permission and set-id bits; size in
    bytes.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int


class MountFacts(NamedTuple):
    """Where a file system stands: its mount point, its type, its options as in /proc/mounts."""

    path: bytes
    fs: str
    options: str


class WalkStep(NamedTuple):
    """One component of a path.  `path` is where it stands, from the root; `name` the component as it was written.

    `kind`: "start" (the root or the current directory), "name", "link", "magic link", "up", "stay" ("."), "mount"
    (the name is a mount point, and the walk goes on inside).  `target` is what a link says.  `error` is set on the
    step where the walk ended.
    """

    kind: str
    name: bytes
    path: bytes
    file: FileFacts | None = None
    target: bytes = b""
    mount: MountFacts | None = None
    error: str = ""
    reason: str = ""


class LookUp(NamedTuple):
    """One path, walked.  `purpose`: "program", "interpreter" (of a script), "loader" (of an image).

    `found` is the file's own path, empty where there is none; `tree` the alternate root it was looked for in first
    (/emul/…).
    """

    purpose: str
    path: bytes
    steps: tuple[WalkStep, ...]
    found: bytes
    file: FileFacts | None
    mount: MountFacts | None
    error: str = ""
    reason: str = ""
    tree: bytes = b""
    more_steps: int = 0         # steps that are not listed: the walk was long


class Check(NamedTuple):
    """One question about a file, its answer, and the rule behind the answer.  `error` is what a "no" means."""

    about: bytes
    question: str
    passed: bool
    rule: str
    error: str = ""


class Arguments(NamedTuple):
    """What argv and the environment take: counts, bytes of strings with their zeros, bytes of pointers, and the
    limits in bytes.
    """

    argc: int
    envc: int
    strings: int
    pointers: int
    limit: int
    string_limit: int
    longest: int
    rule: str
    error: str = ""
    reason: str = ""


class Header(NamedTuple):
    """The first bytes of the file that the formats are asked about, and what kind of file that is, in words."""

    path: bytes
    first: bytes
    kind: str


class FormatSaid(NamedTuple):
    """What one format said of the file.  `verdict`: "mine", "rewritten" (another file is to be run), "not mine",
    "refused".
    """

    format: str
    verdict: str
    reason: str
    error: str = ""


class Hop(NamedTuple):
    """A script that another file is to run.  `number` of `limit` files in a row; `line` is the first line as it
    stands there.
    """

    script: bytes
    line: bytes
    interpreter: bytes
    arguments: tuple[bytes, ...]
    number: int
    limit: int


Event = LookUp | Check | Arguments | Header | FormatSaid | Hop


def is_known(found: Explanation) -> bool:
    """Whether the program itself was found, whatever failed then, or is there and hidden."""
    return any(isinstance(event, LookUp) and event.purpose == "program" and bool(event.found) for event in found.events)


class Rule(NamedTuple):
    """Something that would change this exec: what it is, how it stands here, and what difference it would make."""

    name: str
    state: str
    effect: str


class Diagnosis(NamedTuple):
    """Why, in one or two sentences, and what would help.  `key` names the row of the table it comes from."""

    key: str
    why: str
    helps: tuple[str, ...] = ()


class Library(NamedTuple):
    """A shared library the loader will look for after the exec: the name it is wanted by, by which file, where it is ("" for
    nowhere), and why the loader looks there.
    """

    name: bytes
    wanted_by: bytes
    path: bytes
    how: str


class Tried(NamedTuple):
    """One candidate along PATH that was passed over."""

    path: bytes
    error: str


class Explanation(NamedTuple):
    """One exec, explained.

    `outcome`: "runs", "refused" (`error`, `reason`, at `step`), "dies" (by `signal`, past the point of no return).
    `libraries` are what the loader looks for afterwards.  `diagnosis` says why, where it does not run; `warnings` what would go
    wrong afterwards.  `kinds`, `heads` and `sizes` are about the files whose headers were read, in order.  `code` are the bytes of
    the first instructions.
    """

    personality: str
    program: bytes
    path: bytes
    argv: tuple[bytes, ...]
    envp: tuple[bytes, ...]
    before: Cred
    outcome: str
    events: tuple[Event, ...]
    plan: ExecPlan | None
    step: str = ""
    error: str = ""
    reason: str = ""
    signal: int = 0
    diagnosis: Diagnosis | None = None
    warnings: tuple[Diagnosis, ...] = ()
    rules: tuple[Rule, ...] = ()
    descriptors: tuple[int, ...] = ()
    search: tuple[Tried, ...] = ()
    kinds: tuple[FileKind, ...] = ()
    heads: tuple[bytes, ...] = ()
    sizes: tuple[int, ...] = ()
    libraries: tuple[Library, ...] = ()
    code: bytes = b""

    def __repr__(self) -> str:
        verdict = f"{self.outcome} {self.error}" if self.error else self.outcome
        return f"<Explanation of {self.program!r} for {self.personality}: {verdict}>"

    def __str__(self) -> str:
        return self.text()

    @property
    def ok(self) -> bool:
        """Whether the program would run."""
        return self.outcome == "runs"

    def text(self, width: int = 100, *, colour: bool = False, everything: bool = False) -> str:
        """As `ring3 explain` prints it; `everything`: long lists in full."""
        from ring3.trace.explain.text import render

        return render(self, width, colour=colour, everything=everything)

    def as_dict(self) -> dict[str, Any]:
        """As plain values: one of the `explanations` of `ring3 explain --json` (docs/explain.md has the fields)."""
        from ring3.trace.explain.asjson import plain

        return plain(self)

    def json(self) -> str:
        """What `ring3 explain --json` prints."""
        from ring3.trace.explain.asjson import dumps

        return dumps([self])

    def html(self) -> str:
        """A self-contained page, as `ring3 explain --html` writes it."""
        from ring3.trace.explain.ashtml import page

        return page([self])
