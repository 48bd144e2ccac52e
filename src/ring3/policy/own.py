"""What a program forbids itself: SerenityOS's pledge(2) and unveil(2), on top of what the user allows it.

An `OwnPolicy` stands where a confinement stands, over the user's if there is one: a call must be allowed by both, a path shown by
both, and neither loosens the other.  Whoever has promised nothing and unveiled nothing has none, and pays nothing.

The current program's promises and veil hold until exec, which puts those for after exec in their place; a child has copies.
Invariant: what is promised only shrinks between two execs; a program that breaks its promise is dead, whatever handlers it has.

Stated results: whatever makes, moves or takes away a name needs c of that name, where the original lets a file be moved that is
merely not hidden, also to where it may be written, and asks mkdir's parent; a veil has at most `NODES_MAX` nodes (ENOMEM).
Not here: the calls (`calls/serenity/pledge.py`, `unveil.py`), the tree (`veil.py`), who asks (`calls/gate.py`, `vfs/namei.py`).
Source: Kernel/Process.h, Kernel/Syscalls/{pledge,unveil,execve}.cpp (reference, sections 2 and 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.signals import Signal
from ring3.errors import ENOBUFS, ENOMEM, EPROMISEVIOLATION
from ring3.policy import promises
from ring3.policy.confinement import Decision, call_of, in_order, tell
from ring3.policy.veil import Node, Veil, VeilState, show_permissions
from ring3.proc import signals
from ring3.proc.tasks import tasks_of

if TYPE_CHECKING:
    from ring3.abi.flags import Access
    from ring3.abi.x86 import Arch
    from ring3.protocols import Abi, Personality
    from ring3.vfs.dentry import Dentry

NODES_MAX: Final = 16384
_VIOLATION: Final = b"pledge_violation"         # a core file's property

# (abis, promises) -> the abis with every call that was not promised refused; handed down from `calls/`.
OwnGate = Callable[["Mapping[Arch, Abi]", int], "Mapping[Arch, Abi]"]


class OwnVeil(Veil):
    """A veil as SerenityOS asks it: at every link that is followed, too, and never about files that are open already.

    >>> from ring3.vfs.memory import MemoryFS
    >>> from ring3.vfs.mount import MountTable
    >>> veil = OwnVeil(MountTable().mount(MemoryFS(), None).root)
    >>> veil.reveal(b"/home", 3)
    >>> veil.state.name, veil.permissions(b"/home/anon"), veil.permissions(b"/")
    ('DROPPED', 3, 0)
    """

    __slots__ = ("_nodes",)

    def __init__(self, root: Dentry, refused: Callable[[bytes, int, int], None] | None = None) -> None:
        super().__init__(root, refused)
        self._nodes = 0

    def fork(self) -> OwnVeil:
        """The same veil, of its own."""
        other = OwnVeil(self._root, self._refused)
        other._tree, other._nodes = self._tree.copy(), self._nodes
        other.state = self.state
        return other

    def reveal(self, path: bytes, permissions: int) -> None:
        """`unveil`, with a bound on what all paths together may have.  Raises EPERM, ENOMEM."""
        node: Node | None = self._tree
        nodes = self._nodes
        for part in path.split(b"/"):
            if part:
                node = None if node is None else node.children.get(part)
                nodes += node is None
        if nodes > NODES_MAX:
            raise ENOMEM("too much is unveiled")
        self.unveil(path, permissions)
        self._nodes = nodes

    def check_link(self, dentry: Dentry, access: Access) -> None:
        """A link that is followed must be unveiled for what the file is wanted for.  Raises as `check` does."""
        self.check(dentry, b"", access)

    def check_open(self, dentry: Dentry, access: Access) -> None:
        """What is open may be used."""

    def hides(self, dentry: Dentry) -> bool:
        """A look-up passes by what is hidden, as there; its errors tell of it."""
        return False


class BothVeils:
    """Two veils at once: what either hides is hidden."""

    __slots__ = ("_own", "_users")

    def __init__(self, users: Any, own: OwnVeil) -> None:
        self._users = users
        self._own = own

    def check(self, dentry: Dentry, name: bytes, access: Access) -> None:
        """Raises ENOENT, EACCES."""
        self._users.check(dentry, name, access)
        self._own.check(dentry, name, access)

    def check_link(self, dentry: Dentry, access: Access) -> None:
        """Raises ENOENT, EACCES."""
        self._users.check_link(dentry, access)
        self._own.check_link(dentry, access)

    def check_open(self, dentry: Dentry, access: Access) -> None:
        """Raises ENOENT, EACCES."""
        self._users.check_open(dentry, access)

    def hides(self, dentry: Dentry) -> bool:
        """What the user hides."""
        return bool(self._users.hides(dentry))

    def may_move(self, dentry: Dentry) -> None:
        """Raises EACCES."""
        self._users.may_move(dentry)
        self._own.may_move(dentry)

    def may_become(self, here: Dentry, name: bytes, there: Dentry, new_name: bytes) -> None:
        """Raises ENOENT, EACCES."""
        self._users.may_become(here, name, there, new_name)
        self._own.may_become(here, name, there, new_name)


class OwnPolicy:
    """What one process forbids itself, over what the user allows it (`over`; None: everything).

    `promises` are the current program's, `on_exec` the next one's (None: nothing was promised); `now` and `later` their
    veils (None: nothing was unveiled, or locked).  Changed by the two calls alone, which have `Proc.confine` look again.
    """

    __slots__ = ("_gate", "_gated", "_shared", "later", "now", "on_exec", "over", "promises", "veil")

    def __init__(self, gate: OwnGate, over: Any) -> None:
        self._gate = gate
        self._gated: dict[str, Mapping[Arch, Abi]] = {}
        self._shared = False            # whether a parent or a child has the same two veils
        self.over = over
        self.promises: int | None = None
        self.on_exec: int | None = None
        self.now: OwnVeil | None = None
        self.later: OwnVeil | None = None
        self.veil: Any = None if over is None else over.veil        # what look-ups ask

    # --- what a confinement does
    def abis(self, personality: Personality) -> Mapping[Arch, Abi]:
        """The personality's as the user allows it, with every call refused that was not promised; built once."""
        below = personality.abis if self.over is None else self.over.abis(personality)
        if self.promises is None:
            return below
        found = self._gated.get(personality.name)
        if found is None:
            found = self._gated[personality.name] = self._gate(below, self.promises)
        return found

    def ask(self, t: Any, *words: str) -> None:
        """What the arguments of `t`'s call need: all these promises, from both.

        Raises EPROMISEVIOLATION where the program promised otherwise, which is dead then; and as the user's does.
        """
        if self.promises is not None:
            for word in words:
                if not promises.BITS.get(word, 0) & self.promises:      # "root" is no promise: nobody holds it
                    self.violated(t, (word,) if word in promises.BITS else ())
        if self.over is not None:
            self.over.ask(t, *words)

    def ask_any(self, t: Any, words: frozenset[str]) -> None:
        """What a call that stands for several others needs: one of these promises, from both.  Raises as `ask` does."""
        if words and self.promises is not None and not promises.mask_of(words) & self.promises:
            self.violated(t, in_order(words))
        if self.over is not None:
            self.over.ask_any(t, words)

    def grants(self, t: Any, word: str) -> bool:
        """Whether a promise is held that something would take without a call asking for it, by both."""
        if self.promises is not None and not promises.BITS[word] & self.promises:
            return False
        return self.over is None or bool(self.over.grants(t, word))

    def fork(self) -> OwnPolicy:
        """The same for a child, of its own: veils are copied when either changes its."""
        other = OwnPolicy(self._gate, self.over)
        other._gated = self._gated
        other._shared = self._shared = True
        other.promises, other.on_exec = self.promises, self.on_exec
        other.now, other.later, other.veil = self.now, self.later, self.veil
        return other

    def after_exec(self) -> Any:
        """What binds the next program; None, or what the user allows, where it promised and unveiled nothing for that.

        The veil for it is locked: what it unveils itself is ignored.
        """
        over = None if self.over is None else self.over.after_exec()
        if self.on_exec is None and self.later is None:
            return over
        other = OwnPolicy(self._gate, over)
        other.promises = self.on_exec
        if self.later is not None:
            other.now = self.later.fork()
            other.now.state = VeilState.LOCKED_INHERITED
            other._look_through()
        return other

    # --- what the two calls do
    def pledge(self, wanted: int | None, on_exec: int | None) -> bool:
        """Hold the program to `wanted` and the next one to `on_exec`; None leaves either as it is.

        False where that were more than before: nothing is changed then.  With `no_error` held, what is too much is left out.
        """
        clips = bool((self.promises or 0) & promises.BITS["no_error"])
        sets = []
        for new, old in ((wanted, self.promises), (on_exec, self.on_exec)):
            if new is not None and old is not None and new & ~old:
                if not clips:
                    return False
                new &= old
            sets.append(old if new is None else new)
        if sets[0] != self.promises:
            self._gated = {}
        self.promises, self.on_exec = sets
        return True

    def lock(self, t: Any) -> None:
        """Nothing more is unveiled; where nothing was, everything is hidden."""
        self._own_veils()
        if self.now is None:
            self.now = new_own_veil(t)
        self.now.lock()
        self._look_through()

    def reveal(self, t: Any, path: bytes, permissions: int) -> None:
        """Show the program a path.  Raises EPERM for more than was given before, ENOMEM."""
        self._own_veils()
        veil = self.now or new_own_veil(t)
        veil.reveal(path, permissions)
        self.now = veil
        self._look_through()

    def reveal_later(self, t: Any, path: bytes, permissions: int) -> None:
        """Show the next program a path.  Raises as `reveal` does."""
        self._own_veils()
        veil = self.later or new_own_veil(t)
        veil.reveal(path, permissions)
        self.later = veil

    @property
    def state(self) -> VeilState:
        """How far the current program's veil has come."""
        return VeilState.NONE if self.now is None else self.now.state

    def violated(self, t: Any, words: tuple[str, ...]) -> None:
        """The program broke its promise: it needs any of `words` (none: no promise allows it).  Raises EPROMISEVIOLATION."""
        allow = f"add {words[0]} to its own pledge" if words else "no promise allows it"
        tell(t, Decision("pledge", "killed", " or ".join(words), call_of(t), allow))
        if words:
            with suppress(ENOBUFS):
                tasks_of(t.proc).describe(_VIOLATION, words[0].encode())
        signals.die(t, signals.kernel_signal(Signal.SIGABRT))
        raise EPROMISEVIOLATION

    def _own_veils(self) -> None:
        if self._shared:
            self._shared = False
            self.now = None if self.now is None else self.now.fork()
            self.later = None if self.later is None else self.later.fork()
            self._look_through()

    def _look_through(self) -> None:
        users = None if self.over is None else self.over.veil
        if self.now is None:
            self.veil = users
        else:
            self.veil = self.now if users is None else BothVeils(users, self.now)

    def __repr__(self) -> str:
        held = "everything" if self.promises is None else promises.show(self.promises)
        return f"<OwnPolicy {held!r} {self.state.name} over {self.over!r}>"


def policy_of(p: Any, gate: OwnGate) -> OwnPolicy:
    """That of a process; a fresh one where it has none, which is in force once it is confined by it."""
    found = p.confinement
    return found if isinstance(found, OwnPolicy) else OwnPolicy(gate, found)


def own_veil(p: Any) -> tuple[OwnVeil | None, Any]:
    """What a process hides from itself, and what the user hides from it."""
    found = p.confinement
    if not isinstance(found, OwnPolicy):
        return None, p.veil
    return found.now, None if found.over is None else found.over.veil


def users_confinement(p: Any) -> Any:
    """What the user allows a process, whatever it forbids itself; None: everything."""
    found = p.confinement
    return found.over if isinstance(found, OwnPolicy) else found


def new_own_veil(t: Any) -> OwnVeil:
    """A veil over everything.  What it refuses is the program's own affair: whoever watches is told, not the user."""
    return OwnVeil(t.system.mounts.root, partial(_hidden, t.system))


def _hidden(system: Any, path: bytes, missing: int, permissions: int) -> None:
    t = system.current
    if t is None or not system.instruments:
        return
    verdict = "refused" if permissions else "hidden"
    system.tell("policy", t, Decision("unveil", verdict, show_permissions(missing), call_of(t), "its own veil", path))
