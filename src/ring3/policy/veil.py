"""The veil: which paths a process may see, and what it may do with each (unveil(2)).

A tree of path components.  A node has permissions; the deepest node along a path decides, and what lies below it inherits.  A
process without a veil sees everything; once something is unveiled, or the veil is locked, everything else is gone.

The tree, its states and its errors are SerenityOS's (reference section 3); what a look-up asks for is said by `Access`, and
asked in one place, `vfs/namei.py`.  Invariant: a verdict is about a dentry, found by walking; its path is that from the root of all
names, whatever the process's own root, so no chroot and no link changes what the veil says.

Not here: the call (`calls/`), who has which veil (`confinement.py`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from ring3.abi.flags import Access
from ring3.errors import EACCES, EINVAL, ENOENT, EPERM
from ring3.vfs.dentry import Orphan

if TYPE_CHECKING:
    from ring3.vfs.dentry import Dentry

LETTERS: Final = "rwxcb"
READ, WRITE, EXECUTE, CREATE, BROWSE = (1 << bit for bit in range(len(LETTERS)))
_NAMELESS: Final = READ | WRITE | EXECUTE        # a pipe, a memfd: no name could be unveiled, and who comes to it has it open


class VeilState(enum.IntEnum):
    """How far a veil has come."""

    NONE = 0
    DROPPED = 1             # something was unveiled; more may follow
    LOCKED = 2
    LOCKED_INHERITED = 3    # locked by whoever made it before exec: asking for more is ignored, not refused


def parse_permissions(text: str) -> int:
    """The permissions of letters out of "rwxcb".  Raises EINVAL.

    >>> parse_permissions("rx")
    5
    """
    mask = 0
    for letter in text:
        if letter not in LETTERS:
            raise EINVAL(f"{letter!r} is no permission: r w x c b")
        mask |= 1 << LETTERS.index(letter)
    return mask


def show_permissions(mask: int) -> str:
    """The letters of permissions.

    >>> show_permissions(5)
    'rx'
    """
    return "".join(letter for bit, letter in enumerate(LETTERS) if mask >> bit & 1)


class Node:
    """One component of an unveiled path, or of the way there."""

    __slots__ = ("children", "explicit", "permissions")

    def __init__(self, permissions: int) -> None:
        self.permissions = permissions
        self.explicit = False
        self.children: dict[bytes, Node] = {}

    def copy(self) -> Node:
        """The same tree, of its own."""
        top = Node(self.permissions)
        pending = [(self, top)]                 # no recursion: a guest says how deep it goes
        while pending:
            old, new = pending.pop()
            new.explicit = old.explicit
            for name, child in old.children.items():
                new.children[name] = Node(child.permissions)
                pending.append((child, new.children[name]))
        return top


# Whose it is, how many renames ago, the permissions, and the node of this very path where something below it is unveiled by itself.
Verdict = tuple[object, int, int, Node | None]
Refused = Callable[[bytes, int, int], None]        # (path, permissions that are missing, permissions it has)


class Veil:
    """A veil.  `root` is the root of all names; `refused` hears of every refusal before it is raised.

    >>> from ring3.vfs.memory import MemoryFS
    >>> from ring3.vfs.mount import MountTable
    >>> veil = Veil(MountTable().mount(MemoryFS(), None).root)
    >>> veil.unveil(b"/usr", parse_permissions("rx"))
    >>> show_permissions(veil.permissions(b"/usr/bin/env")), show_permissions(veil.permissions(b"/etc"))
    ('rx', '')
    """

    __slots__ = ("_refused", "_renames", "_root", "_token", "_tree", "state")

    def __init__(self, root: Dentry, refused: Refused | None = None) -> None:
        self._root = root
        self._renames = root.mount.renames
        self._tree = Node(0)
        self._refused = refused
        self._token = object()          # another one whenever the tree changes: what dentries remember of it is void then
        self.state = VeilState.NONE

    def fork(self) -> Veil:
        """The same veil for a child."""
        other = Veil(self._root, self._refused)
        other._tree = self._tree.copy()
        other.state = self.state
        return other

    # --- what is asked
    def check(self, dentry: Dentry, name: bytes, access: Access) -> None:
        """Whether `dentry`, or the name `name` in it, may be used so.  Raises ENOENT for what is hidden, EACCES for too much."""
        known = dentry.verdict          # what was found out is remembered there until something is renamed
        if known is None and dentry.parent is not None:
            known = dentry.parent.verdict           # a name met anew: as its directory, unless something below that is unveiled
            if known is not None and known[3] is not None:
                known = None
        if known is None or known[0] is not self._token or known[1] != self._renames.count:
            known = self._judge(dentry)
        permissions = _below(known, name)[0] if name else known[2]
        missing = WANTS[access] & ~permissions
        if permissions and (not missing or (missing == BROWSE and permissions & READ)):
            return
        self._refuse(dentry, name, missing, permissions)

    def check_link(self, dentry: Dentry, access: Access) -> None:
        """Links on the way need not be unveiled; what they lead to is asked for."""

    def check_open(self, dentry: Dentry, access: Access) -> None:
        """A file that is open was unveiled for what it was opened for; anything more is asked for.  Raises as `check` does."""
        self.check(dentry, b"", access)

    def hides(self, dentry: Dentry) -> bool:
        """Whether neither a dentry nor anything below it is unveiled: to whom the veil is put on, it is not there."""
        known = self._judge(dentry)
        return not known[2] and known[3] is None

    def _refuse(self, dentry: Dentry, name: bytes, missing: int, permissions: int) -> None:
        if self._refused is not None:
            path = self._path(dentry) or b"(unreachable)"
            self._refused(path.rstrip(b"/") + b"/" + name if name else path, missing or BROWSE, permissions)
        raise EACCES("not unveiled for this") if permissions else ENOENT("not unveiled")

    def _judge(self, dentry: Dentry) -> Verdict:
        """From the nearest dentry above of which something is known, down."""
        pending: list[Dentry] = []
        here: Dentry | None = dentry
        token, count = self._token, self._renames.count
        if isinstance(dentry, Orphan):
            return token, count, _NAMELESS, None
        known: Verdict | None = None
        while here is not None:
            if here is self._root:
                known = (token, count, self._tree.permissions, self._tree)
                break
            known = here.verdict
            if known is not None and known[0] is token and known[1] == count:
                break
            pending.append(here)
            here = here.parent if here.parent is not None else here.mount.covered
        if here is None:
            return token, count, 0, None
        assert known is not None
        for below in reversed(pending):
            if below.parent is not None:            # the root of a mount is where it is mounted
                permissions, node = _below(known, below.name)
                known = (token, count, permissions, node)
            below.verdict = known
        return known

    def _path(self, dentry: Dentry) -> bytes | None:
        """The dentry's path from the root of all names; None for what lies outside."""
        path = dentry.path(self._root)
        return path if path.startswith(b"/") else None

    def permissions(self, path: bytes) -> int:
        """What the deepest node along an absolute path without dots says."""
        node = self._tree
        for part in path.split(b"/"):
            if part:
                below = node.children.get(part)
                if below is None:
                    break
                node = below
        return node.permissions

    def holds_together(self, path: bytes) -> bool:
        """Whether nothing below an absolute path has permissions of its own: such a directory may be renamed."""
        node: Node | None = self._tree
        for part in path.split(b"/"):
            if part and node is not None:
                node = node.children.get(part)
        return node is None or not node.children

    def may_move(self, dentry: Dentry) -> None:
        """Raises EACCES for a directory on whose path unveiled names depend: renaming it would give them other permissions."""
        path = self._path(dentry)
        if path is not None and not self.holds_together(path):
            raise EACCES("names below it are unveiled")

    def may_become(self, here: Dentry, name: bytes, there: Dentry, new_name: bytes) -> None:
        """Raises EACCES for a file that its new name would show more of: to read, to write, to run what cannot be copied."""
        had = _below(self._judge(here), name)[0]
        gained = _most(*_below(self._judge(there), new_name)) & ~had & (READ | WRITE if had & READ else READ | WRITE | EXECUTE)
        if gained:
            self._refuse(here, name, gained, had)

    # --- what is said
    def unveil(self, path: bytes, permissions: int) -> None:
        """Add a path, which is absolute and has no dots.  Raises EPERM for a locked veil, and for more than was given before."""
        if self.state is VeilState.LOCKED_INHERITED:
            return
        if self.state is VeilState.LOCKED:
            raise EPERM("the veil is locked")
        node, matched = self._tree, True
        parts = [part for part in path.split(b"/") if part]
        for part in parts:
            below = node.children.get(part)
            if below is None:
                matched = False
                below = node.children[part] = Node(node.permissions)
            node = below
        if matched and node.explicit and permissions & ~node.permissions:
            raise EPERM("more than was unveiled before")
        if matched and node.permissions != permissions:
            _inherit(node, permissions)
        node.permissions, node.explicit = permissions, True
        self.state = VeilState.DROPPED
        self._token = object()

    def lock(self) -> None:
        """Nothing more is unveiled from now on."""
        self.state = VeilState.LOCKED

    def rows(self) -> Iterator[tuple[bytes, int]]:
        """(path, permissions) of everything that was unveiled, in order."""
        pending = [(b"", self._tree)]
        while pending:
            path, node = pending.pop()
            if node.explicit:
                yield path or b"/", node.permissions
            pending += [(path + b"/" + name, child) for name, child in sorted(node.children.items(), reverse=True)]


def _below(known: Verdict, name: bytes) -> tuple[int, Node | None]:
    """The permissions of one name in what a verdict is about, and its node: None where nothing below is unveiled by itself."""
    node = known[3].children.get(name) if known[3] is not None else None
    return (known[2], None) if node is None else (node.permissions, node if node.children else None)


def _most(permissions: int, node: Node | None) -> int:
    """All that anything at a path, or below it, may have."""
    pending = [] if node is None else [node]
    while pending:
        for child in pending.pop().children.values():
            permissions |= child.permissions
            pending.append(child)
    return permissions


def _inherit(node: Node, permissions: int) -> None:
    """What was only on the way to something takes the new permissions."""
    pending = [node]
    while pending:
        for child in pending.pop().children.values():
            if not child.explicit:
                child.permissions = permissions
                pending.append(child)


def _wants(access: Access) -> int:
    wanted = 0
    for bit, permission in (
        (Access.READ, READ), (Access.WRITE, WRITE), (Access.EXECUTE, EXECUTE), (Access.CREATE, CREATE), (Access.BROWSE, BROWSE),
    ):
        if access & bit:
            wanted |= permission
    return wanted


# What each `Access` asks of a veil.
WANTS: Final = tuple(_wants(Access(bits)) for bits in range(32))
