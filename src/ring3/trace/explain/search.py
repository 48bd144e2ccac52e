"""A command as people type it: along PATH where its name has no slash, then explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from ring3.exec.first import DEFAULT_PATH, along_path
from ring3.exec.package import ExecRequest
from ring3.proc.instruments import Instruments
from ring3.trace.explain.afterwards import warnings
from ring3.trace.explain.changes import rules
from ring3.trace.explain.libraries import libraries
from ring3.trace.explain.model import Explanation, Tried, is_known
from ring3.trace.explain.watch import explain

if TYPE_CHECKING:
    from ring3.proc.proc import Thread

_PASSED_OVER: Final = ("ENOENT", "ENOTDIR", "EACCES")
_MOST_TRIED: Final = 200


def explain_command(t: Thread, argv: Sequence[bytes], env: Mapping[bytes, bytes]) -> Explanation:
    """What `t` would get of running `argv` with this environment, diagnosis and all.

    execvp(3): a name without a slash is tried along PATH; what is not there or may not be run is passed over.  Who
    watches the kernel hears nothing of it: nothing happens.
    """
    system = t.system
    listeners = system.instruments, system.on_decision
    system.instruments, system.on_decision = Instruments(), None
    try:
        return finished(t, _along_path(t, argv, [key + b"=" + value for key, value in env.items()], env.get(b"PATH")))
    finally:
        system.instruments, system.on_decision = listeners


def _along_path(t: Thread, argv: Sequence[bytes], envp: Sequence[bytes], path: bytes | None) -> Explanation:
    name = argv[0]
    if b"/" in name or not name:
        return explain(t, ExecRequest(name, argv, envp))
    tried: list[Tried] = []
    denied: Explanation | None = None
    broken: Explanation | None = None       # it is there, and something else it needs is not
    last: Explanation | None = None
    for candidate in along_path(name, DEFAULT_PATH if path is None else path)[:_MOST_TRIED]:
        last = explain(t, ExecRequest(candidate, argv, envp), program=name, search=tried)
        if last.error not in _PASSED_OVER or last.outcome != "refused":
            return last
        if last.error == "EACCES":
            denied = last
        elif broken is None and is_known(last):
            broken = last
        tried.append(Tried(candidate, last.error))
    assert last is not None
    if found := denied or broken:
        return found._replace(search=tuple(tried))
    return last._replace(search=tuple(tried), events=())


def finished(t: Thread, explanation: Explanation) -> Explanation:
    """With why, what would help, what would go wrong afterwards, and what would change it."""
    explanation = explanation._replace(descriptors=tuple(sorted(t.proc.fds.files)), rules=rules(t, explanation))
    if explanation.outcome == "runs":
        explanation = explanation._replace(libraries=libraries(t, explanation))
        return explanation._replace(warnings=warnings(t, explanation))
    from ring3.trace.explain.diagnoses import diagnose

    return explanation._replace(diagnosis=diagnose(t, explanation))
