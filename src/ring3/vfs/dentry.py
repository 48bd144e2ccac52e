"""Dentries: the names by which vnodes were reached, as a tree, so that a file knows its path.

Invariant: there is one live dentry per (parent, name), so renaming a directory mends every path below it at once.
Dentries are made by looking up and die when nobody holds them (a parent knows its children weakly); each mount keeps
the directories it met last alive.  A dentry is no promise that the name still exists: `child` asks the file system
every time.

Not here: walking a path, permissions (`namei.py`), what a mount forbids (`mount.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from ring3.abi.flags import FileType
from ring3.errors import ENAMETOOLONG, ENOENT

if TYPE_CHECKING:
    from ring3.vfs.mount import Mount
    from ring3.vfs.vnode import Vnode

NAME_MAX = 255
_NOBODYS = (None, -1, 0, None)          # a verdict that no veil gave


class Dentry:
    """A vnode under one name.  `parent` is None for the root of a mount; `mounted` is the mount that covers it, if one
    does.

    `deleted` is set when the name was taken away (or given to another file) while somebody still held the dentry.
    """

    __slots__ = ("__weakref__", "children", "deleted", "mount", "mounted", "name", "parent", "verdict", "vnode")

    def __init__(self, parent: Dentry | None, name: bytes, vnode: Vnode, mount: Mount) -> None:
        self.parent = parent
        self.name = name
        self.vnode = vnode
        self.mount = mount
        self.mounted: Mount | None = None
        self.deleted = False
        self.children: dict[bytes, ref[Dentry]] = {}    # weak; a dead one is taken out by its own end
        self.verdict: Any = None            # what a veil found out last (policy/veil.py)

    def __del__(self) -> None:
        parent = self.parent
        if parent is not None:
            mine = parent.children.get(self.name)
            if mine is not None and mine() is None:
                del parent.children[self.name]

    # --- going down
    def child(self, name: bytes) -> Dentry:
        """The dentry called `name` in this directory, mounts not crossed.

        Raises ENAMETOOLONG, ENOENT, ENOTDIR and what the file system does.
        """
        if len(name) > NAME_MAX:
            raise ENAMETOOLONG
        try:
            vnode = self.vnode.lookup(name)
        except ENOENT:
            self.forget(name)
            raise
        known = self.children.get(name)
        if known is not None:
            found = known()
            if found is not None and (found.vnode is vnode or found.mounted is not None):
                return found        # a covered name stays, whatever lies below
        return self.adopt(name, vnode)

    def adopt(self, name: bytes, vnode: Vnode) -> Dentry:
        """The dentry of a vnode that was just found, or made, under `name`."""
        old = self.cached(name)
        if old is not None:
            old.drop()
        found = Dentry(self, name, vnode, self.mount)
        self.children[name] = ref(found)
        if vnode.type == FileType.DIR:
            self.mount.keep(found)
        return found

    def nameless(self, vnode: Vnode, label: bytes) -> Dentry:
        """A dentry for a file without a name (O_TMPFILE): shown as `label` in this directory, deleted from the
        start.
        """
        found = Dentry(self, label, vnode, self.mount)
        found.deleted = True
        return found

    def orphan(self, vnode: Vnode, label: bytes) -> Orphan:
        """The same for what has no directory either: `label` is all that is ever shown of it."""
        found = Orphan(self, label, vnode, self.mount)
        found.deleted = True
        found.verdict = _NOBODYS            # that of this directory means nothing for it
        return found

    def cached(self, name: bytes) -> Dentry | None:
        """The live dentry of `name`, without asking the file system."""
        known = self.children.get(name)
        return None if known is None else known()

    def top(self, system: str = "") -> Dentry:
        """The dentry itself, or the root of what is mounted on it (and on that), as programs of `system` see it."""
        here = self
        while here.mounted is not None and here.mounted.only in ("", system):
            here = here.mounted.root
        return here

    # --- going up
    def up(self, root: Dentry) -> Dentry:
        """Where ".." leads for a process whose root is `root`: never above it; out of a mount through what it
        covers.
        """
        here = self
        while here is not root:
            if here.parent is not None:
                return here.parent.top()
            if here.mount.covered is None:
                break
            here = here.mount.covered
        return here

    def above(self) -> Dentry | None:
        """One step up the tree of all names; None at the very top."""
        return self.mount.covered if self.parent is None else self.parent

    def is_under(self, other: Dentry) -> bool:
        """Whether `other` is this dentry or lies above it, across mounts."""
        here: Dentry | None = self
        while here is not None:
            if here is other:
                return True
            here = here.above()
        return False

    def path(self, root: Dentry, *, mark_deleted: bool = False) -> bytes:
        """The absolute path seen from `root`; with `mark_deleted` a lost name ends in " (deleted)", as in /proc.

        What does not lie under `root` begins with "(unreachable)", as getcwd(2) has it.
        """
        names: list[bytes] = []
        here: Dentry | None = self
        while here is not None and here is not root:
            if here.parent is not None:
                names.append(here.name)
            here = here.above()
        path = b"/" + b"/".join(reversed(names))
        if here is None:
            path = b"(unreachable)" + path
        return path + b" (deleted)" if mark_deleted and self.deleted else path

    # --- names that change
    def forget(self, name: bytes) -> None:
        """The name is gone: whoever still holds its dentry holds a deleted one."""
        if self.children:
            old = self.cached(name)
            if old is not None and old.mounted is None:
                old.drop()

    def drop(self) -> None:
        """Leave the tree; the parent stays known, for ".."."""
        self.deleted = True
        self.mount.unkeep(self)
        self.detach()

    def detach(self) -> None:
        """Leave the parent's list, if it is this dentry that has the name there."""
        if self.parent is not None and self.parent.cached(self.name) is self:
            del self.parent.children[self.name]

    def attach(self, parent: Dentry, name: bytes) -> None:
        """Take a place in the tree."""
        self.parent, self.name = parent, name
        parent.children[name] = ref(self)

    def move(self, name: bytes, target: Dentry, target_name: bytes) -> None:
        """The child `name` of this directory is now `target_name` in `target`; what had that name is deleted."""
        self.mount.renames.count += 1
        target.forget(target_name)
        child = self.cached(name)
        if child is not None:
            child.detach()
            child.attach(target, target_name)

    def exchange(self, name: bytes, target: Dentry, target_name: bytes) -> None:
        """Two children swap their names (RENAME_EXCHANGE)."""
        self.mount.renames.count += 1
        one, two = self.cached(name), target.cached(target_name)
        for child in (one, two):
            if child is not None:
                child.detach()
        if one is not None:
            one.attach(target, target_name)
        if two is not None:
            two.attach(self, name)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}{' (deleted)' if self.deleted else ''}>"


class Orphan(Dentry):
    """What stands in no directory and is reached through /proc/PID/fd alone: a pipe, a stream, a memfd."""

    __slots__ = ()
