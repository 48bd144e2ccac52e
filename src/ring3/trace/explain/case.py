"""One failed (or doubtful) exec as the diagnoses see it: the explanation, what is at hand in the guest, and the words
to use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ring3.abi.flags import Access, FileType
from ring3.errors import Errno
from ring3.exec.first import DEFAULT_PATH
from ring3.namedtuple import NamedTuple
from ring3.proc.lookup import namei_context
from ring3.trace.explain.checks import REGULAR
from ring3.trace.explain.model import Arguments, Check, Explanation, Header, Hop, LookUp
from ring3.trace.explain.words import permitted, quoted
from ring3.vfs.namei import namei

if TYPE_CHECKING:
    from ring3.proc.proc import Thread
    from ring3.trace.explain.files import FileKind
    from ring3.vfs.dentry import Dentry

Answer = tuple[str, tuple[str, ...]]        # why, and what would help
_MOST_NAMES = 20_000


class Row(NamedTuple):
    """One diagnosis: `explain` gives its words, or None where this is not the case.  `errors`: the errors it is
    about; () for any.
    """

    key: str
    errors: tuple[str, ...]
    explain: Callable[[Case], Answer | None]


class Case:
    """What a diagnosis may ask.  Nothing here raises for what the guest's files are."""

    def __init__(self, t: Thread, explanation: Explanation) -> None:
        self.t = t
        self.it = explanation
        events = explanation.events
        self.looks = [e for e in events if isinstance(e, LookUp)]
        self.hops = [e for e in events if isinstance(e, Hop)]
        self.headers = [e for e in events if isinstance(e, Header)]
        self.arguments = next((e for e in events if isinstance(e, Arguments)), None)
        last = events[-1] if events else None
        self.failed_look = last if isinstance(last, LookUp) and last.error else None
        self.failed_check = _decisive([e for e in events if isinstance(e, Check) and not e.passed])

    @property
    def name(self) -> str:
        """The program as it was asked for."""
        return quoted(self.it.path)

    @property
    def kind(self) -> FileKind | None:
        """What the file is that the formats were asked about last."""
        return self.it.kinds[-1] if self.it.kinds else None

    @property
    def subject(self) -> str:
        """That file: "it" where it is the program itself, else its name."""
        return self.subject_of(self.headers[-1].path if self.headers else b"")

    def subject_of(self, path: bytes) -> str:
        """"it" for the program itself, else what the file is to it."""
        role = self.role(path)
        return role or "it"

    def role(self, path: bytes) -> str:
        """"its interpreter X" or "its loader X" for such a file; "" for the program."""
        for look in self.looks:
            if look.purpose != "program" and path in (look.found, look.path):
                return f"its {look.purpose} {quoted(look.path)}"
        return ""

    def spelled(self, path: bytes) -> str:
        """A file's path for people: the program as they typed it, any other in full."""
        look = self.looks[0] if self.looks else None
        return self.name if look is not None and path == look.found and not self.it.search else quoted(path)

    # --- what is at hand in the guest
    def find(self, path: bytes) -> Dentry | None:
        """The file at a path, as root would see it; None where there is none."""
        ctx = namei_context(self.t)
        privileged = self.t.proc.cred._replace(euid=0, fsuid=0)
        try:
            return namei(ctx._replace(cred=privileged, veil=None), path)
        except Errno:
            return None

    def exists(self, path: bytes) -> bool:
        """Whether there is anything at a path."""
        return self.find(path) is not None

    def is_directory(self, path: bytes) -> bool:
        """Whether there is a directory at a path."""
        found = self.find(path)
        return found is not None and found.vnode.type == FileType.DIR

    def is_file(self, path: bytes) -> bool:
        """Whether there is a regular file at a path."""
        found = self.find(path)
        return found is not None and found.vnode.type == FileType.REG

    def is_program(self, path: bytes) -> bool:
        """Whether there is a regular file at a path that may be executed."""
        found = self.find(path)
        try:
            return (
                found is not None and found.vnode.type == FileType.REG
                and permitted(self.t.proc.cred, found.vnode.getattr(), Access.EXECUTE)[0]
            )
        except Errno:
            return False

    def along_path(self, name: bytes) -> bytes | None:
        """Where a program of that name is, in the usual directories."""
        for directory in DEFAULT_PATH.split(b":"):
            path = directory + b"/" + name
            if self.is_program(path):
                return path
        return None

    def beginning(self, directories: Sequence[bytes], begin: bytes) -> str | None:
        """A name in one of the directories that begins so."""
        for directory in directories:
            found = self.find(directory)
            if found is not None and found.vnode.type == FileType.DIR:
                with suppress(Errno):
                    for entry in found.vnode.readdir()[:_MOST_NAMES]:
                        if entry.name.startswith(begin):
                            return quoted(directory + b"/" + entry.name)
        return None

    def similar(self, directories: Sequence[bytes], name: bytes) -> str | None:
        """A name in one of the directories that looks like this one."""
        names: dict[str, None] = {}
        for directory in directories:
            found = self.find(directory)
            if found is not None and found.vnode.type == FileType.DIR and len(names) < _MOST_NAMES:
                with suppress(Errno):
                    names |= {entry.name.decode("utf-8", "surrogateescape"): None for entry in found.vnode.readdir()[:_MOST_NAMES]}
        from difflib import get_close_matches

        near = get_close_matches(name[:255].decode("utf-8", "surrogateescape"), names, 1, 0.75)
        return quoted(near[0].encode("utf-8", "surrogateescape")) if near else None


def _decisive(failed: list[Check]) -> Check | None:
    """The check to speak of: what is no regular file is no program, whatever its bits are; else where the exec stopped."""
    return next((check for check in failed if check.question == REGULAR), failed[0] if failed else None)
