"""A look-up, step by step: the walk of `vfs/namei.py` by a walker that notes where it comes along.

The walk is made a second time for this; nothing is changed by it.  Bounded: of a walk over many links the first steps
are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.abi.flags import Access, FileType
from ring3.errors import EACCES, ENOENT, ENOTDIR, Errno
from ring3.trace.explain.model import FileFacts, LookUp, MountFacts, WalkStep
from ring3.trace.explain.words import a_kind, kind_of, permitted, quoted, shown
from ring3.vfs.emulroot import EmulatedWalk, tries_emulation_root
from ring3.vfs.namei import NameiContext, Resolve, Walk, unveiled

if TYPE_CHECKING:
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.mount import Mount
    from ring3.vfs.vnode import Vnode

MOST_STEPS: Final = 300


class TracedWalk(Walk):
    """A `Walk` that keeps a step for each component."""

    def __init__(self, ctx: NameiContext, at: Dentry | None, resolve: Resolve = Resolve.NONE) -> None:
        super().__init__(ctx, at, resolve)
        self.names = ctx.root           # what paths are told from
        self.steps: list[WalkStep] = []
        self.more = 0

    def _note(self, step: WalkStep) -> None:
        if len(self.steps) < MOST_STEPS or step.error:
            self.steps.append(step)
        else:
            self.more += 1

    def start(self, path: bytes, base: Dentry) -> Dentry:
        """See `Walk`."""
        here = super().start(path, base)
        if not self.steps:
            self._note(WalkStep("start", b"/" if path[:1] == b"/" else b".", self._path(here), facts(here.vnode)))
        return here

    def search(self, here: Dentry) -> None:
        """See `Walk`: on its way to a name in `here`."""
        try:
            super().search(here)
        except Errno as refusal:
            attr = here.vnode.getattr()
            reason = (
                permitted(self.cred, attr, 1)[1]
                if isinstance(refusal, EACCES)
                else f"it is no directory but {a_kind(attr.mode)}"
            )
            self._note(WalkStep("name", here.name, self._path(here), facts(here.vnode), error=refusal.name, reason=reason))
            raise

    def up(self, here: Dentry) -> Dentry:
        """See `Walk`."""
        above = super().up(here)
        self._note(WalkStep("up", b"..", self._path(above), facts(above.vnode)))
        return above

    def down(self, here: Dentry, name: bytes) -> Dentry:
        """See `Walk`."""
        path = self._path(here).rstrip(b"/") + b"/" + name
        try:
            child = super().down(here, name)
        except Errno as refusal:
            reason = refusal.reason or ""
            if isinstance(refusal, ENOENT):
                reason = f"there is no {quoted(name, 80)} in {shown(self._path(here), 120)}"
            self._note(WalkStep("name", name, path, error=refusal.name, reason=reason))
            raise
        crossed = child.mount is not here.mount
        link = child.vnode.type == FileType.LNK
        self._note(WalkStep(
            "mount" if crossed else "link" if link else "name", name, path, facts(child.vnode),
            mount=mount_facts(child.mount, self.names) if crossed else None,
        ))
        return child

    def jump(self, link: Dentry) -> Dentry | None:
        """See `Walk`: what the last step found turns out to be a link that is followed."""
        try:
            target = super().jump(link)
        except Errno as refusal:
            self._amend(error=refusal.name, reason=refusal.reason or _leads_nowhere(refusal))
            raise
        if target is not None:
            self._amend(kind="magic link", target=self._path(target))
        return target

    def target(self, link: Dentry) -> bytes:
        """See `Walk`."""
        try:
            text = super().target(link)
        except Errno as refusal:
            self._amend(
                kind="link",
                error=refusal.name,
                reason=_leads_nowhere(refusal),
            )
            raise
        self._amend(kind="link", target=text)
        return text

    def _amend(self, **fields: str | bytes) -> None:
        if self.steps and not self.more:
            self.steps[-1] = self.steps[-1]._replace(**fields)  # type: ignore[arg-type]

    def _path(self, dentry: Dentry) -> bytes:
        return dentry.path(self.names)


class TracedEmulatedWalk(TracedWalk, EmulatedWalk):
    """The same from an emulation root."""


def look_up(ctx: NameiContext, path: bytes, purpose: str, *, at: Dentry | None = None, follow: bool = True) -> list[LookUp]:
    """What looking up `path` for execution does; first in the alternate root, where the context has one.  Raises
    nothing.
    """
    looked = []
    emul = ctx.emulation_root
    if emul is not None and tries_emulation_root(path):
        walk = TracedEmulatedWalk(ctx, at)
        looked.append(_walk(ctx, walk, path, purpose, follow=follow)._replace(tree=emul.path(ctx.root)))
        if not looked[0].error or looked[0].found or not walk.may_retry:
            return looked
    looked.append(_walk(ctx, TracedWalk(ctx, at), path, purpose, follow=follow))
    return looked


def _walk(ctx: NameiContext, walk: TracedWalk, path: bytes, purpose: str, *, follow: bool) -> LookUp:
    error = reason = ""
    found: Dentry | None = None
    try:
        found = walk.to_file(path, follow=follow)
        unveiled(ctx, found, b"", Access.EXECUTE)
    except Errno as refusal:
        failed = walk.steps[-1] if walk.steps and walk.steps[-1].error else None
        error = refusal.name
        reason = failed.reason if failed is not None else _why(refusal, path, found)
    file = facts(found.vnode) if found is not None else None
    mount = mount_facts(found.mount, ctx.root) if found is not None else None
    where = found.path(ctx.root) if found is not None else b""
    return LookUp(purpose, path, tuple(walk.steps), where, file, mount, error, reason, more_steps=walk.more)


def _leads_nowhere(refusal: Errno) -> str:
    return "the link says nothing" if isinstance(refusal, ENOENT) else str(refusal)


def _why(refusal: Errno, path: bytes, found: Dentry | None) -> str:
    """The reason of a refusal that no step tells."""
    if found is not None:
        return refusal.reason or "the veil hides it: unveil(2)"
    if not path:
        return "an empty name names nothing"
    if isinstance(refusal, ENOTDIR) and path.endswith(b"/"):
        return "the name ends in / and what it names is no directory"
    return refusal.reason or ""


def facts(vnode: Vnode) -> FileFacts | None:
    """What stat(2) tells of it; None where even that fails."""
    try:
        attr = vnode.getattr()
    except Errno:
        return None
    return FileFacts(kind_of(attr.mode), attr.mode & 0o7777, attr.uid, attr.gid, attr.size)


def mount_facts(mount: Mount, root: Dentry) -> MountFacts:
    """A mount as /proc/mounts shows it."""
    return MountFacts(mount.path(root), mount.fs.name.decode(errors="backslashreplace"), mount.options.decode())
