"""Emulation roots: how a process of another system finds its own files first (NetBSD: TRYEMULROOT, /emul/NAME).

    the process asks for      tried first                    then
    /etc/group                /emul/netbsd/etc/group         /etc/group
    /../etc/group             -                              /etc/group, and nothing else
    etc/group                 -                              relative paths begin where they always do
    /                         -                              the emulation root itself is never seen: it is the real root

Once a look-up from the emulation root has failed, the whole of it is done again from the real root; not where a symbolic
link could not be followed.  Absolute links stay below the emulation root, but for those that say "/../".  ".." at the
emulation root leads to the directory it stands in, and never above the process's own root.  Where a name is to be made,
the directory has to be there below the emulation root and to take it; where one is to go, the name too.  A few files that have
one name on both systems and mean two things are never looked for in the real tree.

Source: NetBSD's vfs_lookup.c (namei_getstartdir, namei_follow, namei_oneroot, namei_tryemulroot).  Not here: whose root
it is (`proc/lookup.py`), the walking itself (`namei.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.abi.flags import Access
from ring3.errors import EBUSY, ENOENT, EROFS
from ring3.vfs.access import permission
from ring3.vfs.namei import DOTS, NameiContext, Resolve, Tracker, Walk, unveiled

if TYPE_CHECKING:
    from ring3.vfs.dentry import Dentry


def tries_emulation_root(path: bytes) -> bool:
    """Whether a path is one of those that are looked for below the emulation root.

    >>> [tries_emulation_root(path) for path in (b"/etc", b"etc", b"/../etc", b"/..", b"/")]
    [True, False, False, True, True]
    """
    return path[:1] == b"/" and path[:4] != b"/../"


class EmulatedWalk(Walk):
    """One look-up from the emulation root.  `emul` is None once a link has led out of it for good."""

    __slots__ = ("alone", "ctx", "emul", "following")

    def __init__(self, ctx: NameiContext, at: Dentry | None, resolve: Resolve) -> None:
        super().__init__(ctx, at, resolve)
        self.ctx = ctx
        self.emul = ctx.emulation_root
        self.following = False          # between coming to a link and having followed it
        self.alone = False              # a file of this system's alone (`LookupRules.own_files`)

    @property
    def may_retry(self) -> bool:
        """Whether what failed now is to be tried from the real root."""
        return self.emul is not None and not self.following and not self.alone

    def start(self, path: bytes, base: Dentry) -> Dentry:
        """The emulation root for absolute paths and links; the real one from the first "/../" on."""
        self.following = False
        self.alone = self.alone or path in self.rules.own_files
        start = super().start(path, base)
        if self.emul is None or path[0] != 0x2F:
            return start
        if tries_emulation_root(path):
            return self.emul
        self.emul = None
        return start

    def count_link(self) -> None:
        self.following = True
        super().count_link()

    def jump(self, link: Dentry) -> Dentry | None:
        target = super().jump(link)
        if target is not None:
            self.following = False
        return target

    def to_file(self, path: bytes, *, follow: bool) -> Dentry:
        """As everywhere; the emulation root itself is shown as the real one."""
        found = super().to_file(path, follow=follow)
        if self.emul is not None and found.vnode is self.emul.vnode:
            return self.root
        unveiled(self.ctx, found, b"", Access.EXISTS)           # what is hidden does not exist
        return found

    def to_parent(self, path: bytes, *, exists: bool) -> tuple[Dentry, bytes, bool]:
        """Raises also what says that the name cannot be made, or is not there to go: then the real root is tried."""
        here, name, slash = super().to_parent(path, exists=exists)
        if name in DOTS:
            return (self.root if name == b"/" else here), name, slash
        unveiled(self.ctx, here, name, Access.EXISTS)
        self.search(here)
        try:
            child = here.child(name)
        except ENOENT:
            if exists:
                raise
            if here.mount.readonly:
                raise EROFS from None
            if self.checked:
                permission(self.cred, here.vnode.getattr(), Access.WRITE)
            return here, name, slash
        if child.mounted is not None:
            raise EBUSY
        if exists and here.mount.readonly:
            raise EROFS
        return here, name, slash


class EmulatedTracker(Tracker, EmulatedWalk):
    """One that knows where it is when it fails."""

    __slots__ = ()
