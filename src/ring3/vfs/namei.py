"""namei: from a path to a dentry.  The only path walker; hence where permissions, links, mounts and the veil act.

A path is walked component by component, with a stack of components still to go: following a link pushes what it says.
What has been walked is a dentry, never a string, so no rename or link can carry a guest above its root: ".." at the
root is the root, and a file system is only ever asked for single names.

The order of refusals is Linux's: fs/namei.c (link_path_walk), path_resolution(7), openat2(2).  A process of another
system may have an emulation root: absolute paths are tried below it first (`emulroot.py`).  Not here: open(2)
(`opening.py`), the calls that change names (`names.py`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ring3.abi.flags import Access, FileType
from ring3.errors import EACCES, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EXDEV, Errno
from ring3.namedtuple import NamedTuple
from ring3.protocols import LINUX_LOOKUPS
from ring3.vfs.access import check_guarded, permission

if TYPE_CHECKING:
    from ring3.protocols import Credentials, FileGuard, LookupRules, Veil
    from ring3.vfs.dentry import Dentry

T = TypeVar("T")

PATH_MAX = 4096         # the terminating zero included

DOTS = (b".", b"..", b"/")      # last components that are no names


class Resolve(enum.IntFlag):
    """openat2(2): how far a look-up may go."""

    NONE = 0
    NO_XDEV = 0x01
    NO_MAGICLINKS = 0x02
    NO_SYMLINKS = 0x04
    BENEATH = 0x08
    IN_ROOT = 0x10


_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x01, 0x02, 0x04, 0x08
_SCOPED = 0x18              # BENEATH or IN_ROOT


class NameiContext(NamedTuple):
    """Who looks up, from where.  `emulation_root` is tried first for absolute paths (`emulroot.py`)."""

    root: Dentry
    cwd: Dentry
    cred: Credentials
    veil: Veil | None = None
    emulation_root: Dentry | None = None
    guard: FileGuard | None = None
    told: Callable[[bytes], None] | None = None         # hears of each path before it is walked
    rules: LookupRules = LINUX_LOOKUPS


class Walk:
    """One look-up: the links followed so far, and the limits it goes under."""

    __slots__ = ("access", "base", "checked", "cred", "here", "linked", "links", "resolve", "root", "rules", "veil")

    def __init__(self, ctx: NameiContext, at: Dentry | None, resolve: Resolve, root: Dentry | None = None) -> None:
        self.cred = ctx.cred
        self.here: Dentry                           # a `Tracker`'s alone
        self.base = ctx.cwd if at is None else at
        self.resolve = int(resolve)                 # mostly 0, and an integer is quick to ask
        self.root = self.base if self.resolve & _SCOPED else root or ctx.root
        self.links = 0
        self.rules = ctx.rules
        self.veil = ctx.veil
        self.linked: Dentry | None = None           # where the last link stood that was followed
        self.access = Access.EXISTS                 # what the veil is told of links on the way
        self.checked = not ctx.cred.privileged      # whether search permission needs asking

    def start(self, path: bytes, base: Dentry) -> Dentry:
        """Where a path begins.  Raises EXDEV for an absolute one that must stay beneath."""
        if path[0] != 0x2F:
            return base
        if self.resolve & _BENEATH:
            raise EXDEV
        if self.resolve & _NO_XDEV and self.root.mount is not self.base.mount:
            raise EXDEV
        return self.root

    def count_link(self) -> None:
        """Raises ELOOP after too many, and where links are forbidden."""
        self.links += 1
        if self.links > self.rules.max_links or self.resolve & _NO_SYMLINKS:
            raise ELOOP

    def wanting(self, access: Access) -> Walk:
        """The same look-up, of which the veil is told that the file is wanted for this."""
        self.access = access
        return self

    def up(self, here: Dentry) -> Dentry:
        """One "..".  Raises EXDEV; ENOENT in a directory that is hidden, unless the way there was not by its name."""
        if self.resolve & _BENEATH and here is self.root:
            raise EXDEV
        if self.veil is not None and not self._stands_below(here) and self.veil.hides(here):
            raise ENOENT
        above = here.up(self.root)
        if self.resolve & _NO_XDEV and above.mount is not here.mount:
            raise EXDEV
        return above

    def _stands_below(self, here: Dentry) -> bool:
        """Whether the look-up began below `here`, or followed a link there."""
        return self.base.is_under(here) or (self.linked is not None and self.linked.is_under(here))

    def down(self, here: Dentry, name: bytes) -> Dentry:
        """One name, mounts crossed, links not followed.  Raises ENAMETOOLONG, ENOENT, EXDEV."""
        child = here.child(name)
        if child.mounted is not None:
            child = child.top(self.rules.system)
            if self.resolve & _NO_XDEV:
                raise EXDEV
        return child

    def jump(self, link: Dentry) -> Dentry | None:
        """Where a magic link leads at once; None for an ordinary link.  Raises ELOOP, EXDEV where those are
        forbidden, ENOENT and EACCES where a veil hides links.
        """
        if self.veil is not None:
            self.veil.check_link(link, self.access)
        target = link.vnode.follow()
        if target is not None:
            if self.resolve & _NO_MAGICLINKS:
                raise ELOOP
            if self.resolve & _SCOPED:
                raise EXDEV
            if self.resolve & _NO_XDEV and target.mount is not link.mount:
                raise EXDEV
        return target

    def search(self, here: Dentry) -> None:
        """Raises ENOTDIR, or EACCES unless the directory may be searched."""
        if here.vnode.type != FileType.DIR:
            raise ENOTDIR
        if self.checked:
            permission(self.cred, here.vnode.getattr(), 1)

    def target(self, link: Dentry) -> bytes:
        """What an ordinary link says.  Raises ENOENT for nothing, ENAMETOOLONG; EACCES where it is guarded."""
        if self.rules.guards_links and link.parent is not None:
            check_guarded(self.cred, link.vnode.getattr(), link.parent.vnode.getattr())
        self.linked = link.parent
        text = link.vnode.readlink()
        if not text:
            raise ENOENT
        if len(text) >= PATH_MAX:
            raise ENAMETOOLONG
        return text

    def walk(self, path: bytes, base: Dentry, *, follow: bool, parent: bool) -> tuple[Dentry, bytes, bool]:
        """(dentry, last component, trailing slash).

        With `parent` the last component is not looked at: a name, ".", "..", or "/" for the root itself.  Without, it
        is empty and the dentry is the file's; a trailing slash has been obeyed.
        """
        if not path or len(path) >= PATH_MAX or b"\0" in path:
            check_path(path, self.rules.max_path)
        here = self.start(path, base)
        pending = [name for name in path.split(b"/") if name]
        pending.reverse()
        slash = path.endswith(b"/")
        if parent and not pending:
            return here, b"/", True
        while pending:
            name = pending.pop()
            self.search(here)
            if parent and not pending and not (slash and self.rules.slash_follows and self.is_link(here, name)):
                return here, name, slash
            if name == b".":
                continue
            if name == b"..":
                here = self.up(here)
                continue
            child = self.down(here, name)
            if child.vnode.type == FileType.LNK and (pending or follow or slash):
                self.count_link()
                jumped = self.jump(child)
                if jumped is not None:
                    here = jumped
                    continue
                text = self.target(child)
                if not pending:
                    slash, follow = slash or text.endswith(b"/"), True
                here = self.start(text + b"/" if pending else text, here)
                pending.extend(reversed([name for name in text.split(b"/") if name]))
                continue
            here = child
        if parent:                                  # a link with a slash behind it led here, and there is no name left
            return here, b"/" if here is self.root else b".", True
        if slash and here.vnode.type != FileType.DIR:
            raise ENOTDIR
        return here, b"", slash

    def is_link(self, here: Dentry, name: bytes) -> bool:
        """Whether a name is there and is a symbolic link."""
        if name in DOTS:
            return False
        try:
            return here.child(name).vnode.type == FileType.LNK
        except ENOENT:
            return False

    def to_file(self, path: bytes, *, follow: bool) -> Dentry:
        """The dentry of an existing file."""
        return self.walk(path, self.base, follow=follow, parent=False)[0]

    def to_parent(self, path: bytes, *, exists: bool) -> tuple[Dentry, bytes, bool]:
        """(directory, last component, trailing slash).  `exists`: the name is to be one that is there."""
        del exists                                  # each caller finds out itself, in its own order
        return self.walk(path, self.base, follow=False, parent=True)


class Tracker(Walk):
    """A look-up that knows where it is when it fails (`here`)."""

    __slots__ = ()

    def __init__(self, ctx: NameiContext, at: Dentry | None, resolve: Resolve) -> None:
        super().__init__(ctx, at, resolve)
        self.here = self.base

    def search(self, here: Dentry) -> None:
        self.here = here
        super().search(here)

    def down(self, here: Dentry, name: bytes) -> Dentry:
        self.here = super().down(here, name)
        return self.here


def conceal(
    ctx: NameiContext, path: bytes, at: Dentry | None, resolve: Resolve, again: Callable[..., Tracker] = Tracker
) -> None:
    """A look-up was refused by what it met: where that is hidden, it was not there.  Raises ENOENT then.

    Asked after a refusal, so that look-ups that find something never pay.  The path is walked `again`, to see where it ends.
    """
    if ctx.veil is None:
        return
    tracker = again(ctx, at, resolve)
    try:
        place = tracker.walk(path, tracker.base, follow=True, parent=False)[0]
    except Errno:
        place = tracker.here
    if place is not tracker.base and ctx.veil.hides(place):
        raise ENOENT("not unveiled")


def check_path(path: bytes, longest: int) -> None:
    """Raises ENOENT for an empty path, ENAMETOOLONG for more than `longest` bytes, EINVAL for a zero inside."""
    if not path:
        raise ENOENT
    if len(path) > longest:
        raise ENAMETOOLONG
    if b"\0" in path:
        raise EINVAL


def namei(
    ctx: NameiContext,
    path: bytes,
    *,
    at: Dentry | None = None,
    follow: bool = True,
    empty_ok: bool = False,
    resolve: Resolve = Resolve.NONE,
    access: Access = Access.EXISTS,
) -> Dentry:
    """The dentry of an existing file.  `at` is where relative paths begin (the cwd without); `access` is what the veil
    is told.

    With `empty_ok` (AT_EMPTY_PATH) an empty path is `at` itself.  Raises ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG;
    EXDEV and ELOOP by `resolve`.
    """
    if not path and empty_ok:
        return ctx.cwd if at is None else at
    if ctx.emulation_root is None:
        if ctx.told is not None:
            ctx.told(path)
        walk = Walk(ctx, at, resolve)
        if ctx.veil is not None:
            walk.access = access
        try:
            found = walk.walk(path, walk.base, follow=follow, parent=False)[0]
        except (ENOTDIR, ELOOP, EACCES, ENAMETOOLONG):
            conceal(ctx, path, at, resolve)
            raise
    else:
        found = from_either_root(ctx, path, at, resolve, lambda walk: walk.wanting(access).to_file(path, follow=follow))
    unveiled(ctx, found, b"", access)
    return found


def namei_parent(
    ctx: NameiContext, path: bytes, *, at: Dentry | None = None, resolve: Resolve = Resolve.NONE, exists: bool = False
) -> tuple[Dentry, bytes, bool]:
    """(directory, last component, had a trailing slash).  The last may be ".", ".." or "/" (the root): refused by each
    call its way.

    Search permission of the directory is checked, nothing else.  `exists`: the caller wants a name that is there; what
    it means is for an emulation root to say (`emulroot.py`).  Raises as `namei`.
    """
    if ctx.emulation_root is None:
        if ctx.told is not None:
            ctx.told(path)
        walk = Walk(ctx, at, resolve)
        try:
            return walk.walk(path, walk.base, follow=False, parent=True)
        except (ENOTDIR, ELOOP, EACCES, ENAMETOOLONG):
            conceal(ctx, path, at, resolve)
            raise
    return from_either_root(ctx, path, at, resolve, lambda walk: walk.to_parent(path, exists=exists))


def from_either_root(
    ctx: NameiContext, path: bytes, at: Dentry | None, resolve: Resolve, look: Callable[[Walk], T]
) -> T:
    """What `look` finds: below the emulation root where there is one and the path asks for it, else from the real root."""
    if ctx.emulation_root is not None and not int(resolve) & _SCOPED:
        from ring3.vfs.emulroot import EmulatedTracker, EmulatedWalk, tries_emulation_root

        if tries_emulation_root(path):
            walk = EmulatedWalk(ctx, at, resolve)
            if ctx.told is not None:
                ctx.told(ctx.emulation_root.path(ctx.root) + path)
            try:
                return look(walk)
            except Errno:
                if not walk.may_retry:
                    conceal(ctx, path, at, resolve, EmulatedTracker)
                    raise
    if ctx.told is not None:
        ctx.told(path)
    try:
        return look(Walk(ctx, at, resolve))
    except (ENOTDIR, ELOOP, EACCES, ENAMETOOLONG, EISDIR):
        conceal(ctx, path, at, resolve)
        raise


def unveiled(ctx: NameiContext, dentry: Dentry, name: bytes, access: Access) -> None:
    """Ask the veil about a dentry, or the name `name` in it.  Raises ENOENT, EACCES."""
    if ctx.veil is not None:
        ctx.veil.check(dentry, name, access)
