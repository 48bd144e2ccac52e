"""Whatever somebody under a veil does to names, in whatever order: no file is read that might not be, and none is changed.

Two walkers over one memory file system: one unveiled, who knows what each file held at first, and one who makes random calls.
"""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from ring3.abi.flags import OpenFlags, RenameFlags
from ring3.errors import Errno
from ring3.policy.veil import READ, WRITE, Veil, parse_permissions
from ring3.proc.cred import Cred
from ring3.vfs import names
from ring3.vfs.dentry import Dentry
from ring3.vfs.memory import MemoryFS
from ring3.vfs.mount import MountTable
from ring3.vfs.namei import NameiContext, namei
from ring3.vfs.opening import open_file
from ring3.vfs.vnode import Vnode

DIRECTORIES = (b"/a", b"/b", b"/a/c", b"/b/d")
FILES = tuple(directory + b"/f" for directory in DIRECTORIES)
NEW = (b"/a/g", b"/b/g", b"/b/g/f", b"/b/d/g", b"/b/l")
PATHS = (*DIRECTORIES, *FILES, *NEW)
paths = st.sampled_from((*PATHS, b"f", b"../f", b"l/f", b"d/../../a/f"))
permissions = st.sampled_from(["", "c", "r", "rc", "wc", "rw", "rwc", "x", "xc", "b"]).map(parse_permissions)


class Act(NamedTuple):
    """One call: what, on which name, with which other one, by which of the directories that are held open."""

    what: str
    path: bytes
    other: bytes
    held: int


acts = st.builds(Act, st.sampled_from(("rename", "exchange", "link", "symlink", "unlink", "mkdir", "rmdir", "hold", "create")),
                 paths, paths, st.integers(0, 3))
unveils = st.builds(
    lambda a, b, more: [(b"/a", a), (b"/b", b), *more],
    permissions, permissions, st.lists(st.tuples(st.sampled_from(PATHS), permissions), max_size=2),
)


class Guest:
    """The veiled one."""

    def __init__(self, ctx: NameiContext) -> None:
        self.ctx = ctx
        self.held: list[Dentry] = [ctx.root]

    def make(self, act: Act) -> bytes:
        """Make one call; what it read."""
        at = self.held[act.held % len(self.held)]
        ctx = self.ctx._replace(cwd=at)
        match act.what:
            case "read":
                return open_file(ctx, act.path, OpenFlags.RDONLY).acquire().read(100)
            case "write":
                open_file(ctx, act.path, OpenFlags.WRONLY).acquire().write(b"mine")
            case "truncate":
                open_file(ctx, act.path, OpenFlags.RDONLY | OpenFlags.TRUNC).acquire()
            case "create":
                open_file(ctx, act.path, OpenFlags.RDWR | OpenFlags.CREAT, 0o600).acquire().write(b"mine")
            case "rename":
                names.rename(ctx, act.path, act.other)
            case "exchange":
                names.rename(ctx, act.path, act.other, RenameFlags.EXCHANGE)
            case "link":
                names.link(ctx, act.path, act.other)
            case "symlink":
                names.symlink(ctx, act.other, act.path)
            case "unlink":
                names.unlink(ctx, act.path)
            case "mkdir":
                names.mkdir(ctx, act.path, 0o700)
            case "rmdir":
                names.rmdir(ctx, act.path)
            case "hold":
                self.held.append(namei(ctx, act.path))
        return b""


def world() -> tuple[NameiContext, dict[bytes, Vnode]]:
    table = MountTable()
    table.mount(MemoryFS(), None)
    ctx = NameiContext(table.root, table.root, Cred())
    for path in DIRECTORIES:
        names.mkdir(ctx, path, 0o755)
    for path in FILES:
        file = open_file(ctx, path, OpenFlags.CREAT | OpenFlags.WRONLY, 0o666).acquire()
        file.write(b"held " + path)
        file.release()
    return ctx, {path: namei(ctx, path).vnode for path in FILES}


@settings(max_examples=200, deadline=None)
@given(unveils, st.lists(acts, min_size=1, max_size=5))
def test_no_name_leads_to_more(places: list[tuple[bytes, int]], calls: list[Act]) -> None:
    ctx, vnodes = world()
    veil = Veil(ctx.root)
    for path, mask in dict(places).items():
        veil.unveil(path, mask)
    allowed = {path: veil.permissions(path) for path in FILES}
    guest = Guest(ctx._replace(veil=veil))
    everything = [Act(what, path, b"", at) for what in ("read", "write", "truncate") for path in (*PATHS, b"f") for at in range(2)]
    for call in (*calls, *everything):
        try:
            said = guest.make(call)
        except Errno:
            said = b""
        if said.startswith(b"held "):
            assert allowed[said.removeprefix(b"held ")] & READ, (said, call)
        for path, vnode in vnodes.items():
            if not allowed[path] & WRITE:
                assert vnode.read(0, 100) == b"held " + path, call
