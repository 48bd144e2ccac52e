"""Learning: what one run needed, as the smallest promises and unveil list under which it would have gone the same way.

A `Learner` stands where a confinement stands and forbids nothing.  Promises are noted when a call is first used and when its
arguments ask for more; paths when a look-up has found them, or is about to make them.

What a run needed is not what every run needs: another input takes other branches.  Names that the run made and took away again, and
what lies in /proc under a process's number, are given by their directory, since the next run will call them something else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.flags import Access
from ring3.errors import Errno
from ring3.policy import promises
from ring3.policy.veil import BROWSE, CREATE, READ, WANTS, WRITE, show_permissions
from ring3.vfs.dentry import Orphan

if TYPE_CHECKING:
    from ring3.abi.x86 import Arch
    from ring3.protocols import Abi, Personality
    from ring3.vfs.dentry import Dentry

CROWD: Final = 4                    # so many files of one directory, with the same permissions, are the directory
NUMBERED: Final = (b"/proc", b"/dev/pts")       # where names are numbers that change


class Learner:
    """Stands for a confinement (`policy/confinement.py`) and a veil (`policy/veil.py`) of every process of one run."""

    def __init__(self, gate: Callable[[Personality, Learner], Mapping[Arch, Abi]]) -> None:
        self._gate = gate
        self._gated: dict[str, Mapping[Arch, Abi]] = {}
        self._any_of: set[frozenset[str]] = set()
        self._asked: set[str] = set()
        self.promises = None            # it holds nobody to any
        self.veil = LearningVeil()

    def abis(self, personality: Personality) -> Mapping[Arch, Abi]:
        """The personality's, with every first use noted."""
        found = self._gated.get(personality.name)
        if found is None:
            found = self._gated[personality.name] = self._gate(personality, self)
        return found

    def fork(self) -> Learner:
        """Itself: what a child needs is needed too."""
        return self

    def after_exec(self) -> Learner:
        """Itself: what the next program needs is needed too."""
        return self

    def ask(self, t: Any, *words: str) -> None:
        """The arguments of a call need all these promises."""
        self._asked.update(words)

    def grants(self, t: Any, word: str) -> bool:
        """Held, and noted."""
        self.ask(t, word)
        return True

    def ask_any(self, t: Any, words: frozenset[str]) -> None:
        """A call that stands for several others needs any of these promises."""
        del t
        self.called(words)

    def called(self, words: frozenset[str]) -> None:
        """A call needs any of these promises."""
        if words:
            self._any_of.add(words)

    def needed(self) -> str:
        """The smallest promises: those that were asked for, then for every call that none of them allows the first that does."""
        held = set(self._asked)
        for words in sorted(self._any_of, key=len):
            if not words & held:
                held.update([word for word in promises.BITS if word in words][:1])
        return promises.show(promises.mask_of(held))


class LearningVeil:
    """Sees every look-up and hides nothing."""

    def __init__(self) -> None:
        self.seen: dict[bytes, int] = {}
        self.made: set[bytes] = set()           # of those the ones that were not there before
        self._root: Dentry | None = None

    def check(self, dentry: Dentry, name: bytes, access: Access) -> None:
        """Note what was looked up."""
        if isinstance(dentry, Orphan):
            return                      # unveiled for whoever has it open
        path = dentry.path(self._top(dentry))
        if not path.startswith(b"/"):
            return
        if name:
            path = path.rstrip(b"/") + b"/" + name
        wanted, known = WANTS[access] or BROWSE, self.seen.get(path, 0)
        if name and wanted & ~known & CREATE and not _has(dentry, name):
            self.made.add(path)
        self.seen[path] = known | wanted

    def check_link(self, dentry: Dentry, access: Access) -> None:
        """Links on the way need not be unveiled."""

    def check_open(self, dentry: Dentry, access: Access) -> None:
        """Note what an open file is used for."""
        self.check(dentry, b"", access)

    def hides(self, dentry: Dentry) -> bool:
        """Nothing; who is led through it needs to know of it."""
        self.check(dentry, b"", Access.EXISTS)
        return False

    def may_move(self, dentry: Dentry) -> None:
        """Any directory may."""

    def may_become(self, here: Dentry, name: bytes, there: Dentry, new_name: bytes) -> None:
        """Any file may; by its new name it may be read and written, so it must be by its old one."""
        del there, new_name
        self.check(here, name, Access.READ | Access.WRITE)

    def _top(self, dentry: Dentry) -> Dentry:
        """The root of all names."""
        if self._root is None:
            here: Dentry | None = dentry
            while here is not None:
                self._root, here = here, here.above()
        assert self._root is not None
        return self._root


def _has(directory: Dentry, name: bytes) -> bool:
    try:
        directory.child(name)
    except Errno:
        return False
    return True


def unveil_list(
    seen: Mapping[bytes, int], is_there: Callable[[bytes], bool], *, made: Collection[bytes] = (), exact: bool = False
) -> list[tuple[bytes, int]]:
    """(path, permissions) to unveil, so that everything seen is allowed.

    What lies in a directory that the run made is given by that.  `exact`: directories are not put for crowds of files.

    >>> unveil_list({b"/etc/a": READ, b"/etc/b": READ | WRITE}, lambda path: True)
    [(b'/etc/a', 1), (b'/etc/b', 3)]
    """
    places: dict[bytes, int] = {}
    for path, permissions in seen.items():
        place = next((top for top in NUMBERED if path.startswith(top + b"/")), path) if exact else _outermost(path, made)
        if permissions & CREATE and not is_there(path):
            place = path.rpartition(b"/")[0] or b"/"
            permissions |= READ | WRITE                 # what happened to it later went by the name it lost
        places[place] = places.get(place, 0) | permissions
    if not exact:
        places = _gather(places)
    return sorted(_without_the_covered(places).items())


def _outermost(path: bytes, made: Collection[bytes]) -> bytes:
    """The directory that stands for a path: one whose names are numbers, or the outermost that was made; else itself."""
    at = path.find(b"/", 1)
    while at > 0:
        if path[:at] in NUMBERED or path[:at] in made:
            return path[:at]
        at = path.find(b"/", at + 1)
    return path


def _gather(places: dict[bytes, int]) -> dict[bytes, int]:
    """Directories instead of the many files in them, where those have the same permissions and none may make names."""
    while True:
        crowds: dict[tuple[bytes, int], list[bytes]] = {}
        for path, permissions in places.items():
            directory = path.rpartition(b"/")[0]
            if directory.count(b"/") > 1 and not permissions & CREATE:
                crowds.setdefault((directory, permissions & ~BROWSE or BROWSE), []).append(path)
        crowded = {key: paths for key, paths in crowds.items() if len(paths) >= CROWD}
        if not crowded:
            return places
        for (directory, permissions), paths in crowded.items():
            for path in paths:
                del places[path]
            places[directory] = places.get(directory, 0) | permissions


def _without_the_covered(places: dict[bytes, int]) -> dict[bytes, int]:
    """Those whose directory is not unveiled for as much already."""
    kept: dict[bytes, int] = {}
    for path in sorted(places):
        wanted = places[path] & ~BROWSE if places[path] & READ else places[path]
        above = _above(kept, path)
        if wanted & ~(above | BROWSE if above else 0):
            kept[path] = wanted
    return kept


def _above(kept: Mapping[bytes, int], path: bytes) -> int:
    """The permissions that a path has from a directory over it."""
    while path != b"/":
        path = path.rpartition(b"/")[0] or b"/"
        if path in kept:
            return kept[path]
    return 0


def command_line(
    words: str, unveils: Iterable[tuple[bytes, int]], program: Iterable[str], options: Iterable[Iterable[str]] = (),
) -> str:
    """The command that runs the program under what it needed, ready to paste; `options` are others, each with its value."""
    import os
    import shlex

    lines = [f'ring3 run --pledge "{words}"', *(" ".join(map(shell_word, option)) for option in options)]
    lines += [f"--unveil {shell_word(f'{os.fsdecode(path)}:{show_permissions(permissions)}')}" for path, permissions in unveils]
    lines.append(f"-- {shlex.join(program)}")
    return " \\\n    ".join(lines)


def shell_word(text: str) -> str:
    r"""One word of a shell's command line, with nothing in it that a terminal would obey: a guest may have chosen it.

    >>> print(shell_word("/a b"), shell_word("/100%\x1b[31m"))
    '/a b' "$(printf '/100%%\033[31m')"
    """
    import os
    import shlex

    if text.isprintable():
        return shlex.quote(text)
    octal = "".join(f"\\{byte:03o}" if not 0x20 <= byte < 0x7F or byte in b"'\\" else chr(byte) for byte in os.fsencode(text))
    return f"\"$(printf '{octal.replace('%', '%%')}')\""
