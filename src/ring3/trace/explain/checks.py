"""The questions every file of an exec is asked, one by one, each with its answer and its rule in words.

Which are asked, and in which order, is a value of the caller's system (`ExecRules.file_checks`); the exec stops at
the first "no".  Here every one is asked, each for itself, so that a reader sees all that stands in the way.  Only the
sentences are ours: a check nobody wrote sentences for is shown by its own docstring.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ring3.errors import Errno
from ring3.exec import files
from ring3.exec.plan import ImageFile
from ring3.trace.explain.model import Check
from ring3.trace.explain.words import a_kind, mode, permitted, shown

if TYPE_CHECKING:
    from ring3.exec.package import ExecPackage
    from ring3.exec.rules import FileCheck
    from ring3.vfs.dentry import Dentry
    from ring3.vfs.vnode import Vnode

NO_LINK: Final = "not a link"
REGULAR: Final = "a regular file"
MOUNT: Final = "on a mount that allows programs"
PERMITTED: Final = "may be executed"
QUIET: Final = "not open for writing"
POLICY: Final = "allowed by policy"


def _kind(_package: ExecPackage, file: ImageFile) -> str:
    return f"it is {a_kind(file.attr.mode)}"


def _mount(package: ExecPackage, file: ImageFile) -> str:
    if file.dentry is None:
        return "it has no name, hence no mount"
    mount = file.dentry.mount
    return f"{shown(mount.path(package.thread.proc.fs.root), 60)} is mounted {mount.options.decode()}"


def _permitted(package: ExecPackage, file: ImageFile) -> str:
    return permitted(package.thread.proc.cred, file.attr, 1)[1]


def _writers(_package: ExecPackage, file: ImageFile) -> str:
    return f"{file.vnode.writers} have it open for writing" if file.vnode.writers > 0 else "nobody writes it"


def _readable(package: ExecPackage, file: ImageFile) -> str:
    granted, rule = permitted(package.thread.proc.cred, file.attr, 4)
    return rule if granted else f"{rule}: nobody will look into its process"


def _setid(package: ExecPackage, file: ImageFile) -> str:
    return f"{mode(file.attr.mode)} counts; {_mount(package, file)}"


# What each asks, and the rule behind the answer.
QUESTIONS: Final[Mapping[FileCheck, tuple[str, Callable[[ExecPackage, ImageFile], str]]]] = MappingProxyType({
    files.no_link: (NO_LINK, _kind),
    files.regular: (REGULAR, _kind),
    files.mount_runs: (MOUNT, _mount),
    files.executable: (PERMITTED, _permitted),
    files.nobody_writes: (QUIET, _writers),
    files.note_unreadable: ("may be read", _readable),
    files.drop_setid: ("set-id bits", _setid),
})


# The same questions as other systems ask them, by the function's name.
_ALIKE: Final[Mapping[str, FileCheck]] = MappingProxyType({
    **{check.__name__: check for check in QUESTIONS}, "of_a_kind": files.regular,
})


def _question(ask: FileCheck) -> tuple[str, Callable[[ExecPackage, ImageFile], str] | None]:
    known = _ALIKE.get(ask.__name__)
    return QUESTIONS[known] if known is not None else ((ask.__doc__ or ask.__name__).partition(".")[0].partition("\n")[0], None)


def file_checks(package: ExecPackage, vnode: Vnode, dentry: Dentry | None, label: bytes, refusal: Errno | None) -> list[Check]:
    """The checks of one file; `refusal` is what `check_file` said.  What none of the questions explains is a policy's
    doing.
    """
    path = dentry.path(package.thread.proc.fs.root) if dentry is not None else label
    try:
        file = ImageFile(vnode, dentry, path, vnode.getattr())
    except Errno as failed:
        return [Check(path, "its facts can be read", passed=False, rule=str(failed), error=failed.name)]
    checks = []
    for ask in package.rules.file_checks:
        question, rule = _question(ask)
        error = said = ""
        try:
            ask(package, file)
        except Errno as no:
            error, said = no.name, str(no)
        why = rule(package, file) if rule is not None else said or "yes"
        if question == PERMITTED and not error and not permitted(package.thread.proc.cred, file.attr, 1)[0]:
            why = f"uid {package.thread.proc.cred.euid} may execute anything here ({mode(file.attr.mode)})"
        checks.append(Check(path, question, passed=not error, rule=why, error=error))
    if refusal is not None and all(check.passed for check in checks):
        checks.append(Check(path, POLICY, passed=False, rule=str(refusal), error=refusal.name))
    return checks
