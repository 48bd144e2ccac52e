"""Why an exec fails and what would help: a table of diagnoses, asked in order; the first that fits is the answer.

The errno is the kernel's; these are the sentences behind it.  A row is added where it is more special than those
below it.  Rows about formats stand in `badfiles.py`, what goes wrong after a successful exec in `afterwards.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ring3.trace.explain import badfiles
from ring3.trace.explain.case import Answer, Case, Row
from ring3.trace.explain.checks import MOUNT, PERMITTED, POLICY, QUIET, REGULAR
from ring3.trace.explain.model import Diagnosis, Explanation, is_known
from ring3.trace.explain.words import meaning, quoted, shown, signal_name, size, trouble

if TYPE_CHECKING:
    from ring3.proc.proc import Thread


def diagnose(t: Thread, explanation: Explanation) -> Diagnosis | None:
    """Why it does not run; None where it does."""
    if explanation.outcome == "runs":
        return None
    case = Case(t, explanation)
    for row in TABLE:
        if not row.errors or explanation.error in row.errors:
            answer = row.explain(case)
            if answer is not None:
                return Diagnosis(row.key, *answer)
    return Diagnosis("other", _plainly(explanation), ())


def _plainly(explanation: Explanation) -> str:
    """What the kernel itself gave as its reason."""
    return f"{trouble(explanation.step)}: {explanation.reason or meaning(explanation.error) or explanation.error}"


def brief(explanation: Explanation) -> str:
    """Why and what would help, in one line; "" where nothing is known.

    For messages of commands that ran into it.
    """
    found = explanation.diagnosis
    if found is None or found.key == "other":
        return ""
    why = found.why.rstrip(".")
    return f"{why}; {found.helps[0]}" if found.helps else why


# --- looking up

def _not_along_path(case: Case) -> Answer | None:
    it = case.it
    if not it.search or it.error not in ("ENOENT", "ENOTDIR") or is_known(it):
        return None
    helps = ["give its path, or set PATH: --env PATH=DIR:DIR"]
    here = b"./" + it.program
    if case.is_file(here):
        helps.insert(0, f"it is in the current directory: {quoted(here)}")
    elif (found := case.along_path(it.program)) is not None:
        helps.insert(0, f"it is at {quoted(found)}, which PATH does not name")
    elif (near := case.similar([tried.path.rpartition(b"/")[0] for tried in it.search[:32]], it.program)) is not None:
        helps.insert(0, f"did you mean {near}?")
    return f"not found along PATH in the guest: {_none_of(len(it.search))} {quoted(it.program)}", tuple(helps)


def _none_of(number: int) -> str:
    return "its one directory does not have" if number == 1 else f"none of its {number} directories has"


def _veiled(case: Case) -> Answer | None:
    look = case.failed_look
    if look is None or not look.found:
        return None
    return f"{quoted(look.path)} is there, but the veil hides it", (
        f"unveil it for execution: --unveil {quoted(look.found)}:rx", "ring3 learn finds out all that a program needs",
    )


def _unfollowed(case: Case) -> Answer | None:
    look = case.failed_look
    step = look.steps[-1] if look is not None and look.steps else None
    if look is None or step is None or step.kind != "link" or not step.error:
        return None
    link, pid = shown(step.path, 100), step.path.rpartition(b"/")[0].rpartition(b"/")[2]
    in_proc = any(above.mount is not None and above.mount.fs == "proc" for above in look.steps)
    if step.error == "ENOENT" and in_proc and step.name == b"exe" and pid.isdigit():
        here = ": that is the one to be started here, and it has no program yet"
        which = here if int(pid) == case.t.proc.pid else ", which has none"
        return f"{link} leads to the program of process {int(pid)}{which}", ("name the program's own path",)
    refused = f"may not be followed by uid {case.it.before.fsuid}" if step.error == "EACCES" else "cannot be followed"
    reason = f": {step.reason}" if step.reason != meaning(step.error) else ""
    return f"the link {link} {refused}{reason}", ("name the file that it leads to",)


def _loop(case: Case) -> Answer | None:
    look = case.failed_look
    if look is None:
        return None
    links = [step for step in look.steps if step.kind == "link"]
    if not links:
        return f"{quoted(look.path)} is a link, and links are not followed here", ()
    seen: dict[bytes, int] = {}
    for index, step in enumerate(links):
        if step.path in seen:
            circle = [shown(link.path, 60) for link in links[seen[step.path] : index + 1]]
            return f"the links go in a circle: {' → '.join(circle[:8])}", (
                f"make {circle[0]} lead to a file: ln -sfn TARGET {circle[0]}",
            )
        seen[step.path] = index
    return f"more than 40 links one after the other, from {shown(links[0].path, 80)} on", ("name the file itself",)


def _searched(case: Case) -> Answer | None:
    look = case.failed_look
    step = look.steps[-1] if look is not None and look.steps else None
    if look is None or step is None or step.error != "EACCES":
        return None
    where = shown(step.path, 100)
    why = f"the directory {where} may not be searched by uid {case.it.before.fsuid}: {step.reason}"
    if case.it.search and look.purpose == "program":
        why = f"none of the directories of PATH that may be searched has {quoted(case.it.program)}, and one may not: {why}"
    return (
        why,
        (f"chmod o+x {quoted(step.path)}, or run it as uid {step.file.uid if step.file else 0}: --user",),
    )


def _not_a_directory(case: Case) -> Answer | None:
    look = case.failed_look
    step = look.steps[-1] if look is not None and look.steps else None
    if look is None:
        return None
    if step is None or not step.error:
        return f"{quoted(look.path)} ends in / but is no directory", (f"leave the / away: {quoted(look.path.rstrip(b'/'))}",)
    return f"{shown(step.path, 100)} stands where a directory must be: {step.reason}", ("check the path",)


def _carriage_return(case: Case) -> Answer | None:
    look, hop = case.failed_look, case.hops[-1] if case.hops else None
    if look is None or hop is None or look.purpose != "interpreter" or not hop.interpreter.endswith(b"\r"):
        return None
    return (
        (f"bad interpreter: the first line of {case.spelled(hop.script)} ends in CR (a line end of Windows), "
         f"so the kernel looks for {quoted(hop.interpreter)}"),
        (f"sed -i 's/\\r$//' {case.spelled(hop.script)}",),
    )


def _relative_interpreter(case: Case) -> Answer | None:
    look = case.failed_look
    if look is None or look.purpose == "program" or look.path[:1] in (b"/", b""):
        return None
    found = case.along_path(look.path.rpartition(b"/")[2])
    help_ = f"write {shown(b'#!' + found)}" if found is not None and look.purpose == "interpreter" else "give its whole path"
    return (
        f"the {look.purpose} {quoted(look.path)} has no leading /, so it is looked for in the current directory, not along PATH",
        (help_,),
    )


def _no_interpreter(case: Case) -> Answer | None:
    if not case.hops or case.hops[-1].interpreter:
        return None
    return (
        f"the first line of {case.spelled(case.hops[-1].script)} names no interpreter behind #!",
        ("write #!/bin/sh, or another interpreter's path",),
    )


def _missing_interpreter(case: Case) -> Answer | None:
    look = case.failed_look
    if look is None or look.purpose != "interpreter":
        return None
    helps = []
    found = case.along_path(look.path.rpartition(b"/")[2])
    if found is not None and found != look.path:
        helps.append(f"it is at {quoted(found)}: make the first line {shown(b'#!' + found)}")
    helps.append(f"install {quoted(look.path)}, or show one there: --mount HOST:{quoted(look.path)}")
    return f"{case.spelled(case.hops[-1].script)} is there, but the interpreter it names is not: {quoted(look.path)}", tuple(helps)


# Part of a loader's name, what the program was built for, what such a system has as its loader instead, what would help.
_LOADERS: Final = (
    (b"ld-musl", "musl", "install musl, run it with --root of a musl system, or link it statically"),
    (
        b"ld-linux-x86-64",
        "glibc",
        "install glibc (on Alpine: gcompat), run it with --root of a glibc system, or link it statically",
    ),
    (
        b"ld-linux.so.2",
        "32-bit glibc",
        "install the 32-bit C library (Debian: dpkg --add-architecture i386, then libc6:i386)",
    ),
    (b"ld-linux", "glibc for another CPU", "run it on such a machine, or under qemu-user with its libraries"),
    (b"ld.elf_so", "NetBSD", "give it a NetBSD base set: --emul netbsd=DIR (netbsd32 for i386 programs), or --root DIR"),
    (b"ld-elf", "FreeBSD", "FreeBSD programs are not run here"),
    (b"ld.so", "a BSD or an old Unix", "give it its own system to live in: --root DIR"),
    (b"system/bin/linker", "Android", "give it an Android system to live in: --root DIR, or build it for Linux"),
    (b"Loader.so", "SerenityOS", "give it a build of SerenityOS: --emul serenity=DIR (its Root directory), or --root DIR"),
    (
        b"/nix/store/",
        "NixOS (it names a loader in the Nix store)",
        "install Nix, or change the loader: patchelf --set-interpreter",
    ),
)
_HERE: Final = (
    (b"/lib64/ld-linux-x86-64.so.2", "64-bit glibc"),
    (b"/lib/ld-musl-x86_64.so.1", "64-bit musl"),
    (b"/libexec/ld.elf_so", "NetBSD"),
)


def _missing_loader(case: Case) -> Answer | None:
    look = case.failed_look
    if look is None or look.purpose != "loader":
        return None
    why = f"{case.name} is there, but the dynamic loader it was built for is not: {quoted(look.path)}"
    for part, system, help_ in _LOADERS:
        if part in look.path:
            here = next((name for path, name in _HERE if path != look.path and case.exists(path)), "")
            return f"{why}. It was built for {system}" + (f"; here is {here}" if here else ""), (help_,)
    return why, (f"install it, or show one there: --mount HOST:{quoted(look.path)}, or link the program statically",)


def _dangling(case: Case) -> Answer | None:
    look = case.failed_look
    links = [n for n, step in enumerate(look.steps) if step.kind == "link" and step.target] if look is not None else []
    if look is None or not links:
        return None
    link, steps_behind = look.steps[links[-1]], len(look.steps) - 1 - links[-1]
    if steps_behind > len([name for name in link.target.split(b"/") if name not in (b"", b".")]):
        return None                     # it leads somewhere; what is missing comes behind that
    return (
        f"{shown(link.path, 100)} is a link to {shown(link.target, 100)}, which leads nowhere: {look.reason}",
        ("make the link lead to a file, or install what it is for",),
    )


def _missing(case: Case) -> Answer | None:
    look = case.failed_look
    step = look.steps[-1] if look is not None and look.steps else None
    if look is None or not look.path:
        return ("an empty name names no file", ()) if not (look or case.it).path else None
    if step is None or step.error != "ENOENT":
        return None
    directory, _, name = step.path.rpartition(b"/")
    why = look.reason
    if name != name.strip():
        why += "; mind the blank or line end in the name"
    near = case.similar([directory or b"/"], name)
    return why, (f"did you mean {near}?",) if near is not None else (
        "check the path; what the host has elsewhere: --mount HOST:GUEST",
    )


def _zero_byte(case: Case) -> Answer | None:
    look = case.failed_look
    if look is None or b"\0" not in look.path:
        return None
    subject = "the name" if look.purpose == "program" else f"the {look.purpose}'s name, {quoted(look.path)},"
    return f"{subject} has a zero byte in it: no file is called so", ("the file that names it is damaged: make or copy it again",)


def _too_long(case: Case) -> Answer | None:
    look = case.failed_look
    path = case.it.path if look is None else look.path
    if len(path) >= 4096:
        return f"the path has {len(path)} bytes; 4095 are allowed", ("start in a directory near it: --cwd",)
    return "a component of the path is longer than 255 bytes", ("check the path",)


# --- checks

_MADE_UP: Final = ("proc", "sysfs")         # file systems without a file that anybody put there


def _not_regular(case: Case) -> Answer | None:
    check = case.failed_check
    if check is None or check.question != REGULAR:
        return None
    subject = case.subject_of(check.about)
    if not check.rule.endswith("directory"):
        return f"{subject} is not a regular file: {check.rule}", ("name a program",)
    inside = check.about.rstrip(b"/") + b"/" + check.about.rpartition(b"/")[2]
    help_ = f"name a program in it: {quoted(inside)}" if case.is_program(inside) else "name a program in it"
    return f"{subject} is a directory", (help_,)


def _noexec(case: Case) -> Answer | None:
    check = case.failed_check
    if check is None or check.question != MOUNT:
        return None
    subject = case.subject_of(check.about)
    look = next((look for look in reversed(case.looks) if look.found == check.about), None)
    if look is not None and look.mount is not None and look.mount.fs in _MADE_UP:
        helps: tuple[str, ...] = (f"name a program: the kernel makes up what lies in {shown(look.mount.path, 60)}",)
    else:
        helps = (f"copy it elsewhere, or mount that without noexec; a script can be given to its interpreter: sh {case.name}",)
    return f"{subject} lies on a mount that allows no programs: {check.rule}", helps


def _not_executable(case: Case) -> Answer | None:
    check = case.failed_check
    if check is None or check.question != PERMITTED:
        return None
    look = next((look for look in reversed(case.looks) if look.found == check.about), None)
    mode = look.file.mode if look is not None and look.file is not None else 0
    subject, path = case.subject_of(check.about), case.spelled(check.about)
    found = f"found along PATH as {path}, but " if case.it.search and subject == "it" else ""
    if not mode & 0o111:
        return f"{found}{subject} lacks the x bit: nobody may execute it ({mode:04o})", (f"chmod +x {path}",)
    return (
        f"{found}{subject} may not be executed by uid {case.it.before.fsuid}: {check.rule}",
        (f"chmod a+x {path}, or run it as uid {look.file.uid if look and look.file else 0}: --user",),
    )


def _unreadable(case: Case) -> Answer | None:
    """A file of the host that its kernel lets us execute and not read: natively it runs, here it must be read first."""
    if case.failed_look is not None or case.failed_check is not None:
        return None
    look = case.looks[-1] if case.looks else None
    if look is None or look.file is None:
        return None
    path = case.spelled(look.found)
    return (
        (f"{case.subject_of(look.found)} may be executed but not read ({look.file.mode:04o}); a native kernel reads it all the "
         "same, ring3 can read only what its own user may"),
        (f"chmod +r {path}, or run ring3 as a user who may read it",),
    )


def _busy(case: Case) -> Answer | None:
    check = case.failed_check
    if check is None or check.question != QUIET:
        return None
    return f"{case.subject_of(check.about)} is open for writing ({check.rule})", (
        "close it first: a program that is being written is not run",
    )


def _policy(case: Case) -> Answer | None:
    check = case.failed_check
    if check is None or check.question != POLICY:
        return None
    return f"a policy forbids {case.role(check.about) or case.name}: {check.rule}", ("change the policy's list, or run without it",)


# --- arguments

def _one_long_string(case: Case) -> Answer | None:
    found = case.arguments
    if found is None or case.it.step != "arguments" or found.longest <= found.string_limit:
        return None
    named = [(f"argv[{i}]", s) for i, s in enumerate(case.it.argv)]
    named += [(f"the variable {shown(s.partition(b'=')[0], 40)}", s) for s in case.it.envp]
    name = next((name for name, s in named if len(s) + 1 > found.string_limit), "the program's name")
    return (
        f"{name} alone takes {size(found.longest)}; one string may take {size(found.string_limit)}",
        ("hand it over in a file or through standard input",),
    )


def _too_many(case: Case) -> Answer | None:
    found = case.arguments
    if found is None or case.it.step not in ("arguments", "script"):
        return None
    env = sum(map(len, case.it.envp)) + 9 * len(case.it.envp)
    total = found.strings + found.pointers
    why = f"all of argv and the environment take {size(total)} with their pointers, the limit is {size(found.limit)}: {found.rule}"
    helps = ["hand them over in pieces: xargs, or through a file"]
    if "stack" in found.rule and "whatever" not in found.rule and "however" not in found.rule:
        helps.append("raise the stack limit: ulimit -s unlimited")
    if env > total // 4:
        largest = max(case.it.envp, key=len).partition(b"=")[0]
        helps.append(f"the environment is {size(env)} of it, most of it {shown(largest, 40)}: --env {shown(largest, 40)}")
    return why, tuple(helps)


def _no_arguments(case: Case) -> Answer | None:
    if case.it.argv or case.it.step != "arguments":
        return None
    return "there are no arguments, and this system asks for at least the program's own name", ("give argv[0]",)


def _too_deep(case: Case) -> Answer | None:
    if case.it.step not in ("format", "header", "script") or not case.hops or case.failed_look is not None:
        return None
    if case.it.error == "ENOEXEC" and (case.kind is None or case.kind.key != "script" or len(case.hops) < case.hops[-1].limit):
        return None
    chain = " → ".join(shown(hop.script.rpartition(b"/")[2], 30) for hop in case.hops)
    return (
        (f"scripts run by scripts, too deep: {chain} → {shown(case.hops[-1].interpreter, 60)}; "
         f"at most {case.hops[-1].limit} in a row"),
        ("let the first line name a program that is no script",),
    )


# --- deaths

_TOO_LATE: Final = ". This is found out past the point of no return, when the old program is gone already"


def death_reason(explanation: Explanation) -> str:
    """Why it dies behind the point of no return, in a sentence without what follows from it; "" where nothing is known."""
    found = explanation.diagnosis
    return found.why.partition(_TOO_LATE)[0] if explanation.outcome == "dies" and found is not None else ""


def _death(case: Case) -> Answer | None:
    it = case.it
    if it.outcome != "dies":
        return None
    why, helps = badfiles.impossible_image(case)
    return f"{why}{_TOO_LATE}: {it.error} becomes {signal_name(it.signal)}", helps


TABLE: Final[tuple[Row, ...]] = (
    Row("death", (), _death),
    Row("not along PATH", ("ENOENT", "ENOTDIR"), _not_along_path),
    Row("carriage return", ("ENOENT",), _carriage_return),
    Row("veiled", ("ENOENT", "EACCES"), _veiled),
    Row("link not followed", ("ENOENT", "EACCES"), _unfollowed),
    Row("relative interpreter", ("ENOENT", "ENOTDIR"), _relative_interpreter),
    Row("no interpreter", (), _no_interpreter),
    Row("missing interpreter", ("ENOENT",), _missing_interpreter),
    Row("missing loader", ("ENOENT",), _missing_loader),
    Row("dangling link", ("ENOENT",), _dangling),
    Row("missing", ("ENOENT", "EINVAL"), _missing),
    Row("not a directory", ("ENOTDIR",), _not_a_directory),
    Row("no search permission", ("EACCES",), _searched),
    Row("link loop", ("ELOOP",), _loop),
    Row("scripts too deep", ("ELOOP", "ENOEXEC"), _too_deep),
    Row("zero byte", ("EINVAL",), _zero_byte),
    Row("name too long", ("ENAMETOOLONG",), _too_long),
    Row("not a regular file", ("EACCES", "EINVAL"), _not_regular),
    Row("noexec mount", ("EACCES",), _noexec),
    Row("not executable", ("EACCES",), _not_executable),
    Row("not readable", ("EACCES",), _unreadable),
    Row("text busy", ("ETXTBSY",), _busy),
    Row("policy", (), _policy),
    Row("one string too long", ("E2BIG",), _one_long_string),
    Row("too many arguments", ("E2BIG",), _too_many),
    Row("no arguments", ("EINVAL",), _no_arguments),
    *badfiles.TABLE,
)
