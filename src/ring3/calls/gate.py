"""The gate: what a confined process may call.  A table of calls with the answers built in.

What a call as such needs is decided once, when its row is first used: a call that is allowed is the very row of the personality's
own table, so that it costs what it always cost; one that is not is a row that refuses.  So nothing asks a question at each call,
and a process that is not confined knows nothing of all this.

Sources: pledge(2) of OpenBSD and SerenityOS.  Not here: the promises and what the arguments of a call need (`policy/`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ring3.calls.rewritten import RewrittenAbis
from ring3.calls.syscall import Bound, Syscall
from ring3.policy import promises
from ring3.policy.confinement import Confinement, broken, in_order
from ring3.proc.proc import Thread

if TYPE_CHECKING:
    from ring3.abi.x86 import Arch
    from ring3.policy.learning import Learner
    from ring3.protocols import Abi, Personality


def gate(personality: Personality, confinement: Confinement) -> Mapping[Arch, Abi]:
    """The personality's abis as a confined process has them."""
    return RewrittenAbis(personality.abis, partial(_row, confinement))


def learning_gate(personality: Personality, learner: Learner) -> Mapping[Arch, Abi]:
    """The personality's abis, where the first use of each call is noted."""

    def row(bound: Bound) -> Bound:
        learner.called(bound.call.promises)
        return bound

    return RewrittenAbis(personality.abis, row)


def own_gate(below: Mapping[Arch, Abi], held: int) -> Mapping[Arch, Abi]:
    """These abis for a process that has made these promises itself."""
    return RewrittenAbis(below, partial(_own_row, held))


def _own_row(held: int, bound: Bound) -> Bound:
    call = bound.call
    if not call.promises or promises.mask_of(call.promises) & held:
        return bound
    words = in_order(call.promises)

    def violate(t: Thread) -> Any:
        t.proc.confinement.violated(t, words)

    return bound.serving(Syscall(violate, call.promises, name=call.name))


def _row(confinement: Confinement, bound: Bound) -> Bound:
    held, call = confinement.promises, bound.call
    assert held is not None
    if not call.promises or promises.mask_of(call.promises) & held:
        return bound
    return bound.serving(_refusing(call, confinement))


def _refusing(call: Syscall, confinement: Confinement) -> Syscall:
    """The call that is refused before its arguments are looked at; where that is only reported, it goes on with them."""
    words = in_order(call.promises)
    run = call.run

    def refuse(t: Thread) -> Any:
        broken(t, confinement, words)

    def report(t: Thread, *args: Any) -> Any:
        broken(t, confinement, words)
        return run(t, *args)

    return call.like(report) if confinement.mode == "report" else Syscall(refuse, call.promises, name=call.name)
