"""Confinement: what the user allows a program and all that comes of it (`ring3 run --pledge --unveil`).

A process has one confinement or none; children inherit it, exec replaces its promises by those for after exec, which are never
more.  No call of a guest loosens it: a system's own pledge(2) and unveil(2) come on top.

Not here: the words (`promises.py`), the tree (`veil.py`), who asks about calls (`calls/gate.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ring3.abi.flags import Access
from ring3.abi.signals import Signal
from ring3.errors import EINVAL, ENOENT, EPERM, Errno
from ring3.namedtuple import NamedTuple
from ring3.policy import promises
from ring3.policy.veil import CREATE, Veil, parse_permissions, show_permissions
from ring3.proc.lifecycle import exit_process
from ring3.proc.lookup import namei_context
from ring3.vfs.namei import DOTS, namei, namei_parent, unveiled

if TYPE_CHECKING:
    from ring3.abi.x86 import Arch
    from ring3.policy.learning import Learner
    from ring3.protocols import Abi, Personality
    from ring3.vfs.namei import NameiContext

MODES: Final = ("kill", "eperm", "report")

class Policy(NamedTuple):
    """What the user asks for: masks of promises (None: all), the mode, paths of the guest with permissions (None: no veil)."""

    promises: int | None = None
    on_exec: int | None = None
    mode: str = "kill"
    unveils: tuple[tuple[bytes, int], ...] | None = None
    learner: Learner | None = None      # forbids nothing and remembers what was needed


def parse_unveil(text: str) -> tuple[bytes, int]:
    """A path with its permissions from "PATH:LETTERS".  Raises ValueError that says what is wrong.

    >>> parse_unveil("/usr:rx")
    (b'/usr', 5)
    """
    path, colon, letters = text.rpartition(":")
    if not colon or not path:
        raise ValueError(f"unveil {text!r}: write PATH:PERMISSIONS, with permissions out of r w x c b, such as /usr:rx")
    try:
        return path.encode(errors="surrogateescape"), parse_permissions(letters)
    except EINVAL as refusal:
        raise ValueError(f"unveil {text!r}: {refusal.reason}") from None


# (personality, confinement) -> its abis with every call behind the gate; handed down from `calls/`.
Gate = Callable[["Personality", "Confinement"], Mapping["Arch", "Abi"]]


class Confinement:
    """Promises (None: all), what they become at exec, what a broken one does, and a veil.

    `mode`: "kill" ends the process by SIGABRT, "eperm" refuses the call, "report" only tells.  Frozen but for the veil.
    """

    __slots__ = ("_exec", "_gate", "_gated", "mode", "on_exec", "promises", "veil")

    def __init__(
        self, gate: Gate, promises: int | None, *, on_exec: int | None = None, mode: str = "kill", veil: Veil | None = None
    ) -> None:
        self._gate = gate
        self.promises = promises
        self.on_exec = promises if on_exec is None else on_exec if promises is None else on_exec & promises
        self.mode = mode
        self.veil = veil
        self._gated: dict[str, Mapping[Arch, Abi]] = {}
        self._exec: Confinement | None = None

    def abis(self, personality: Personality) -> Mapping[Arch, Abi]:
        """The personality's own where nothing is asked, else those behind the gate; built once."""
        if self.promises is None:
            return personality.abis
        found = self._gated.get(personality.name)
        if found is None:
            found = self._gated[personality.name] = self._gate(personality, self)
        return found

    def fork(self) -> Confinement:
        """What binds a child: itself."""
        return self

    def after_exec(self) -> Confinement:
        """What binds the new program: itself, where nothing changes."""
        if self.on_exec == self.promises:
            return self
        if self._exec is None:
            self._exec = Confinement(self._gate, self.on_exec, mode=self.mode, veil=self.veil)
        return self._exec

    def ask(self, t: Any, *words: str) -> None:
        """What the arguments of `t`'s call need: all these promises.

        Raises EPERM where one is missing, unless that is only reported; in mode "kill" the process is dead then.
        """
        if self.promises is not None:
            for word in words:
                if not promises.BITS.get(word, 0) & self.promises:      # "root" is no promise: nobody holds it
                    broken(t, self, (word,) if word in promises.BITS else ())

    def ask_any(self, t: Any, words: frozenset[str]) -> None:
        """What a call that stands for several others needs: one of these promises, or none where there are none.

        Raises as `ask` does.
        """
        if words and self.promises is not None and not promises.mask_of(words) & self.promises:
            broken(t, self, in_order(words))

    def grants(self, t: Any, word: str) -> bool:
        """Whether a promise is held that something would take without a call asking for it; where it is not, that is told, and the
        answer is no unless it is only to be reported.
        """
        if self.promises is None or promises.BITS[word] & self.promises:
            return True
        verdict = "reported" if self.mode == "report" else "refused"
        tell(t, Decision("pledge", verdict, word, call_of(t), _allowing(self, (word,))))
        return self.mode == "report"

    def __repr__(self) -> str:
        return f"<Confinement {'everything' if self.promises is None else promises.show(self.promises)!r} {self.mode}>"


class Decision(NamedTuple):
    """A policy refused something, or would have.

    `policy`: "pledge", "unveil" or "veriexec"; `verdict`: "killed", "refused", "hidden" (as if it were not there) or "reported";
    `missing`: the promise, or the permissions; `call`: as it was made; `allow`: what would have allowed it; `path`: what it was
    about.
    """

    policy: str
    verdict: str
    missing: str
    call: str
    allow: str
    path: bytes | None = None


def in_order(words: frozenset[str]) -> tuple[str, ...]:
    """Those of the words that are promises, in the order of their bits.

    >>> in_order(frozenset(("exec", "root", "stdio")))
    ('stdio', 'exec')
    """
    return tuple(word for word in promises.BITS if word in words)


def broken(t: Any, confinement: Confinement, words: tuple[str, ...]) -> None:
    """The call needs any of `words` (none: no promise allows it) and none is held.  Raises EPERM, unless the mode is "report"."""
    verdict = {"kill": "killed", "eperm": "refused", "report": "reported"}[confinement.mode]
    tell(t, Decision("pledge", verdict, " or ".join(words), call_of(t), _allowing(confinement, words)))
    if confinement.mode == "kill":
        exit_process(t.proc, Signal.SIGABRT)
    if confinement.mode != "report":
        raise EPERM("a promise is missing")


def _allowing(confinement: Confinement, words: tuple[str, ...]) -> str:
    held = promises.show(confinement.promises or 0)
    return f'--pledge "{f"{held} {words[0]}".strip()}"' if words else "no promise allows it"


def place_of(t: Any, path: bytes, permissions: int, veil: Any = None, *, deep: bool = False) -> bytes:
    """Where a path to unveil leads, from the root of all names: links are followed, what may be made need not be there.

    `veil` is what the path must not be hidden by; `deep`: nor need the directories on the way be there.  Raises what looking it up
    does.
    """
    root = t.system.mounts.root
    context = namei_context(t)._replace(veil=veil)
    try:
        return namei(context, path).path(root)
    except ENOENT:
        if not permissions & CREATE:
            raise
        head, below = _there(context, path) if deep else (path, b"")
        directory, name, _ = namei_parent(context, head)
        if name in DOTS:
            raise
        unveiled(context, directory, name, Access.EXISTS)
        return directory.path(root).rstrip(b"/") + b"/" + name + below


def _there(context: NameiContext, path: bytes) -> tuple[bytes, bytes]:
    """The path as far as its directories are there, and what comes behind.  Raises ENOENT for dots behind what is not there."""
    head, below = path.rstrip(b"/"), b""
    while True:
        try:
            namei_parent(context, head)
        except ENOENT:
            head, _, name = head.rpartition(b"/")
            if not head or name in DOTS:
                raise
            head, below = head.rstrip(b"/"), b"/" + name + below
        else:
            return head, below


def new_veil(system: Any, places: Mapping[bytes, int]) -> Veil:
    """A locked veil over everything but these places."""
    veil = Veil(system.mounts.root, partial(_hidden, system))
    for place, permissions in places.items():
        veil.unveil(place, permissions)
    veil.lock()
    return veil


def _hidden(system: Any, path: bytes, missing: int, permissions: int) -> None:
    """A look-up of the thread that is served now met the veil."""
    t = system.current
    if t is None:               # the kernel's own look-up, for nobody
        return
    from ring3.policy.learning import shell_word

    allow = f"--unveil {shell_word(f'{os.fsdecode(path)}:{show_permissions(permissions | missing)}')}"
    verdict = "refused" if permissions else "hidden"
    tell(t, Decision("unveil", verdict, show_permissions(missing), call_of(t), allow, path))


def call_of(t: Any) -> str:
    """The call as it was made, as far as the guest's memory lets it be read."""
    if not hasattr(t, "cpu"):
        return "execve(…)"          # the kernel's own, of a process that has no program yet
    call = t.proc.personality.abis[t.cpu.arch].sysent.get(t.call_number)
    if call is None:
        return f"call {t.call_number}"
    try:
        return str(call.show(t, call.decode(t, t.cpu.regs)))
    except Errno:
        return f"{call.name}(…)"


def tell(t: Any, decision: Decision) -> None:
    """Make a decision known: to whoever watches, and to whoever started the kernel."""
    system = t.system
    if system.on_decision is not None:
        system.on_decision(t.proc, decision)
    if system.instruments:
        system.tell("policy", t, decision)
