"""Who looks up a path, as the vfs wants to know it: what a thread's root, directory and credentials are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ring3.vfs.namei import NameiContext

if TYPE_CHECKING:
    from ring3.proc.proc import Thread


def namei_context(t: Thread) -> NameiContext:
    """The context of a look-up that `t` makes now."""
    p = t.proc
    fs = p.fs
    return NameiContext(fs.root, fs.cwd, p.cred)
