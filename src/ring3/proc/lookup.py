"""Who looks up a path, as the vfs wants to know it: what a thread's root, directory and credentials are.

A process of a system that keeps its files elsewhere has an emulation root: exec sets it from the new image, fork hands it
on, and it holds as long as the process keeps the root directory it was found from (chroot(2) leaves it behind).  Not here:
what a look-up does with it (`vfs/emulroot.py`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ring3.errors import Errno
from ring3.vfs.namei import NameiContext, namei

if TYPE_CHECKING:
    from ring3.proc.proc import Proc, Thread
    from ring3.protocols import Personality
    from ring3.vfs.dentry import Dentry


def namei_context(t: Thread) -> NameiContext:
    """The context of a look-up that `t` makes now."""
    p = t.proc
    fs = p.fs
    system, emulation = t.system, p.emulation
    if emulation is None and not system.instruments:        # nearly always, and asked for nearly every call
        return NameiContext(fs.root, fs.cwd, p.cred, p.veil, None, system.guard, None, p.lookups)
    root = None if emulation is None or emulation[1] is not fs.root else emulation[0]
    told = partial(system.tell, "lookup", t) if system.instruments.listening("lookup") else None
    return NameiContext(fs.root, fs.cwd, p.cred, p.veil, root, system.guard, told, p.lookups)


def below(root: bytes, path: bytes) -> bytes:
    """A path as who looks below `root` first may call it.

    >>> below(b"/emul/other", b"/emul/other/etc"), below(b"/emul/other", b"/emul/others"), below(b"/emul/other", b"/emul/other")
    (b'/etc', b'/emul/others', b'/')
    """
    if path == root:
        return b"/"
    return path[len(root) :] if path.startswith(root + b"/") else path


def find_emulation_root(p: Proc, personality: Personality) -> Dentry | None:
    """Where images of a personality look first, as `p` sees it; None where it has no such place or `p` has none there.

    The place is looked up from the root of `p`, by its credentials, never below another emulation root, and unveiled or
    not: what is found below it is for the veil to judge (NetBSD: emul_find_root).
    """
    if personality.root is None:
        return None
    try:
        found = namei(NameiContext(p.fs.root, p.fs.root, p.cred), personality.root)
    except Errno:
        return None
    return found if found.vnode.is_dir and found is not p.fs.root else None
