"""check_exec: from a request to a plan.  Looks only: nothing of the calling process, of its kernel or of any file
changes.

The order of its questions is Linux's (fs/exec.c: do_execveat_common, bprm_execve, exec_binprm): file, arguments,
credentials, then the formats.  A verdict is a plan, a refusal (an `Errno` is raised), or a death: what the caller's
system would only notice behind its point of no return.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ring3.errors import ELOOP, ENOEXEC, Errno
from ring3.exec.arguments import take
from ring3.exec.package import ExecPackage, ExecRequest
from ring3.exec.plan import VDSO, ZERO, ExecDeath, ExecPlan, Layout, VMCmd
from ring3.exec.rules import ExecRules

if TYPE_CHECKING:
    from ring3.exec.switch import Format
    from ring3.proc.proc import Thread


def check_exec(t: Thread, request: ExecRequest, observe: Callable[[str], None] | None = None) -> ExecPlan | ExecDeath | None:
    """The plan for `request`; None where only a check was asked for (AT_EXECVE_CHECK) and it passed.

    `observe` is called with the name of each step.  Raises any `Errno`; the caller is as it was.
    """
    package = ExecPackage(t, request, observe)
    try:
        return _check(t, package)
    except Errno as refusal:
        signal = package.rules.death(package.step, refusal)
        if not signal:
            raise
        return ExecDeath(signal, package.step, f"{refusal.name}: {refusal}")


def _check(t: Thread, package: ExecPackage) -> ExecPlan | None:
    request, rules = package.request, package.rules
    package.at_step("lookup")
    package.file = package.open_first()
    package.at_step("arguments")
    package.argv, package.envp, package.budget = take(
        getattr(t.proc, "vm", None), request.argv, request.envp, request.word_size, rules.limits(package), package.execfn,
        rules.empty_argv,
    )
    package.at_step("credentials")
    if request.check_only:
        return None
    find_image(package)
    return make_plan(package)


def find_image(package: ExecPackage) -> None:
    """Ask the formats about the file, and about its interpreter's file, and so on (exec_binprm, search_binary_handler).

    Raises ENOEXEC when none knows it, ELOOP after too many rounds.
    """
    entries = package.system.execsw.entries        # an exec in flight works on the list it started with
    for _ in range(package.rules.max_depth):
        package.at_step("header")
        package.read_header()
        package.at_step("format")
        if not _ask_formats(package, entries):
            return
    raise ELOOP("scripts are nested too deep")


def _ask_formats(package: ExecPackage, entries: tuple[Format, ...]) -> bool:
    """Whether another round is needed.  The first error that is not ENOEXEC is the answer, unless the rules say to
    ask on.
    """
    answer: Errno = ENOEXEC("no format knows this file")
    for entry in entries:
        try:
            again = entry.recognise(package)
        except ENOEXEC as refusal:
            if package.step != "format":
                raise
            if refusal.reason is not None and answer.__class__ is ENOEXEC:
                answer = refusal
        except Errno as refusal:
            if not package.rules.keeps_searching or package.step != "format":
                raise
            if answer.__class__ is ENOEXEC:
                answer = refusal
        else:
            package.format_name = entry.name
            return again
    raise answer


def make_plan(package: ExecPackage) -> ExecPlan:
    """Freeze what the package holds.  Raises what placing the vDSO and the stack can: a death on most systems."""
    image, t, system = package.image, package.thread, package.system
    assert image is not None
    rules: ExecRules = image.personality.exec
    frame = image.frame
    package.at_step("vdso")
    vdso = system.facts.vdso.get(image.arch)
    if vdso is not None:
        start = image.model.place(vdso.data_size + vdso.code_size)
        image.vdso_base = start + vdso.data_size
        image.commands.append(VMCmd(VDSO, start, vdso.data_size + vdso.code_size, 5, label=b"[vdso]"))
    package.at_step("stack")
    stack = rules.build_stack(package, image)
    bottom = rules.stack_bottom(image, stack)
    image.commands.append(
        VMCmd(ZERO, bottom, image.stack_top - bottom, rules.stack_prot(image), label=b"[stack]", growsdown=True)
    )
    image.write(stack.sp, stack.data)
    return ExecPlan(
        path=package.request.path,
        execfn=package.execfn,
        argv=tuple(package.argv),
        envp=tuple(package.envp),
        exe=package.file,
        interpreter=image.interpreter,
        script=tuple(package.script),
        format=package.format_name,
        personality=image.personality,
        arch=image.arch,
        vmcmds=tuple(image.commands),
        layout=Layout(
            min_addr=frame.min_addr,
            user_top=image.model.user_top,
            mmap_base=image.model.mmap_base,
            legacy=image.model.legacy,
            brk=rules.place_brk(frame, image.brk_end, image.is_dynamic and not image.has_interpreter),
            stack_top=image.stack_top,
            stack_limit=image.stack_limit,
            vdso_base=image.vdso_base,
        ),
        entry=image.entry,
        start=image.start,
        load_bias=image.load_bias,
        interp_base=image.interp_base,
        stack=stack,
        registers=rules.registers(image, stack.sp),
        cred=package.ids.cred,
        secure=package.ids.secure,
        dumpable=rules.dumpable(package, package.ids),
        closes=tuple(sorted(t.proc.fds.cloexec)),
        comm=rules.comm(package),
        personality_flags=frame.flags,
        stack_rlimit=package.stack_rlimit(),
    )
