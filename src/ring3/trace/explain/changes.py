"""The rules that would change this exec: how each stands here, and what difference it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ring3.abi.flags import S_ISGID, S_ISUID
from ring3.trace.explain.model import Explanation, LookUp, Rule
from ring3.trace.explain.words import counted, mode, shown

if TYPE_CHECKING:
    from ring3.proc.proc import Thread


def rules(t: Thread, explanation: Explanation) -> tuple[Rule, ...]:
    """What bears on an exec that runs; nothing where it does not."""
    plan = explanation.plan
    if plan is None:
        return ()
    look = next((e for e in reversed(explanation.events) if isinstance(e, LookUp) and e.found == plan.exe.path), None)
    return (_set_id(t, explanation, look), _mount(look), _random(t), _veriexec(t), _pledge(t), _unveil(t))


def _veriexec(t: Thread) -> Rule:
    guard: Any = t.system.guard
    policies, effect = t.system.execsw.policies, "fingerprints of every file of an exec: one that does not match is EPERM"
    if guard is not None:
        return Rule("veriexec", f"{guard.level.name.lower()}, {shown(str(guard.name).encode(), 60)}", effect)
    return Rule("veriexec", f"none; {counted(len(policies), 'other check')}" if policies else "none", effect)


def _pledge(t: Thread) -> Rule:
    confinement, effect = t.proc.confinement, "the calls it may make; without the promise exec it could run no other program"
    if confinement is None or confinement.promises is None:
        return Rule("pledge", "none", effect)
    from ring3.policy.promises import show

    return Rule("pledge", show(confinement.promises), effect)


def _unveil(t: Thread) -> Rule:
    return Rule("unveil", "none" if t.proc.veil is None else "in force", "a path without permission x is hidden from exec")


def _set_id(t: Thread, explanation: Explanation, look: LookUp | None) -> Rule:
    plan = explanation.plan
    assert plan is not None
    bits = look.file.mode if look is not None and look.file is not None else 0      # as they stand in the file
    if not bits & (S_ISUID | S_ISGID):
        return Rule("set-id", f"no ({mode(bits)})", "set-user-ID would run it with its owner's rights")
    if plan.cred != explanation.before:
        state = f"yes ({mode(bits)})"
        return Rule("set-id", state, "it runs with its owner's or group's rights, and AT_SECURE is " + str(int(plan.secure)))
    if look is not None and look.mount is not None and "nosuid" in look.mount.options:
        return Rule("set-id", f"ignored ({mode(bits)})", "its mount is nosuid")
    if t.proc.no_new_privs:
        return Rule("set-id", f"ignored ({mode(bits)})", "the caller has no_new_privs")
    return Rule("set-id", f"yes ({mode(bits)})", "without effect: the ids are the same already")


def _mount(look: LookUp | None) -> Rule:
    options = look.mount.options.split(",") if look is not None and look.mount is not None else []
    have = [word for word in ("noexec", "nosuid", "nodev") if word in options]
    return Rule("mount", " ".join(have) or "no restriction", "noexec would refuse it (EACCES), nosuid would ignore set-id bits")


def _random(t: Thread) -> Rule:
    seed = t.system.seed
    state = "random" if seed is None else f"seed {seed}"
    return Rule("addresses", state if t.system.execsw.randomise else "fixed", "--seed N makes them the same every time")
