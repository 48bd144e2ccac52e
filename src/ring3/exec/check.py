"""check_exec: from a request to a plan.  Looks only: nothing of the calling process, of its kernel or of any file
changes.

The order of its questions is a value of the caller's system (`ExecRules.stages`).  The stages here are Linux's and serve
others too (fs/exec.c: do_execveat_common, bprm_execve, exec_binprm: file, arguments, credentials, then the formats;
NetBSD: file and formats first; SerenityOS: arguments first).

A verdict is a plan, a refusal (an `Errno` is raised), or a death: what the caller's
system would only notice behind its point of no return.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ring3.errors import ELOOP, ENOEXEC, Errno
from ring3.exec.arguments import take
from ring3.exec.package import ExecPackage, ExecRequest, Image
from ring3.exec.plan import ARGUMENTS, PS_STRINGS, VDSO, ExecDeath, ExecPlan, Layout, StackImage, VMCmd
from ring3.exec.rules import ExecRules

if TYPE_CHECKING:
    from ring3.exec.switch import Format
    from ring3.proc.proc import Thread


def check_exec(t: Thread, request: ExecRequest, observe: Callable[[str], None] | None = None) -> ExecPlan | ExecDeath | None:
    """The plan for `request`; None where only a check was asked for (AT_EXECVE_CHECK) and it passed.

    `observe` is called with the name of each step.  Raises any `Errno`; the caller is as it was.
    """
    return judge(ExecPackage(t, request, observe))


def judge(package: ExecPackage) -> ExecPlan | ExecDeath | None:
    """The verdict on a package that was just made.  Who wants to see more than steps brings a package of a class of their
    own (trace/explain).  Raises as `check_exec`.
    """
    try:
        for stage in package.rules.stages:
            stage(package)
            if package.decided:
                return None
        return make_plan(package)
    except Errno as refusal:
        status = package.rules.death(package.step, refusal)
        if not status:
            raise
        return ExecDeath(status, package.step, f"{refusal.name}: {refusal}")


# --- stages
def find_file(package: ExecPackage) -> None:
    """Look the program up, and ask about it what is asked of every file of an exec."""
    package.at_step("lookup")
    package.file = package.open_first()


def take_arguments(package: ExecPackage) -> None:
    """Count and copy argv and envp, by Linux's budget.  Raises EFAULT, E2BIG, EINVAL."""
    package.at_step("arguments")
    t, request, rules = package.thread, package.request, package.rules
    package.argv, package.envp, package.budget = take(
        getattr(t.proc, "vm", None), request.argv, request.envp, request.word_size, rules.limits(package), package.execfn,
        rules.empty_argv,
    )
    if package.system.instruments:
        package.system.tell("exec_strings", t, tuple(package.argv), tuple(package.envp))


def decide_on_file(package: ExecPackage) -> None:
    """Whether the file alone was asked about (AT_EXECVE_CHECK)."""
    package.at_step("credentials")
    package.decided = package.request.check_only


def find_image(package: ExecPackage) -> None:
    """Ask the formats about the file, and about its interpreter's file, and so on (exec_binprm, search_binary_handler).

    Raises ENOEXEC when none knows it, ELOOP after too many rounds.
    """
    entries = package.formats()         # an exec in flight works on the list it started with
    for _ in range(package.rules.max_depth):
        package.at_step("header")
        package.read_header()
        package.at_step("format")
        if not ask_formats(package, entries):
            return
    raise ELOOP("scripts are nested too deep")


def ask_formats(package: ExecPackage, entries: tuple[Format, ...]) -> bool:
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
    image, t = package.image, package.thread
    assert image is not None
    rules: ExecRules = image.personality.exec
    package.at_step("vdso")
    if rules.vdso:
        _place_vdso(package, image)
    package.at_step("stack")
    stack = rules.build_stack(package, image)
    image.commands += rules.stack_commands(image, stack)
    told = stack.ps_strings - stack.sp if stack.ps_strings else len(stack.data)
    image.write(stack.sp, stack.data[:told], ARGUMENTS)
    image.write(stack.ps_strings, stack.data[told:], PS_STRINGS)
    if image.is_queued:
        package.at_step("run vmcmds")
        image.rehearse()
    sigcode, sigcode_at = rules.sigcode(image), 0
    if sigcode:
        package.at_step("sigcode")
        sigcode_at = rules.place_sigcode(package, image, len(sigcode))
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
        layout=_layout(rules, image, stack, sigcode_at),
        entry=image.entry,
        start=image.start,
        load_bias=image.load_bias,
        interp_base=image.interp_base,
        stack=stack,
        registers=(*rules.registers(image, stack.sp), *image.more_registers),
        cred=package.ids.cred,
        secure=package.ids.secure,
        dumpable=rules.dumpable(package, package.ids),
        closes=tuple(sorted(t.proc.fds.cloexec)),
        comm=rules.comm(package),
        personality_flags=image.frame.flags,
        stack_rlimit=package.stack_rlimit(),
        setid=package.ids.setid,
        opens=(*package.opens, *package.rules.opens(package)),
        pax=image.pax,
        sigcode=sigcode,
        emulation=package.emulation(image.personality),
        asked=() if isinstance(package.request.argv, int) else tuple(package.request.argv),
    )


def _place_vdso(package: ExecPackage, image: Image) -> None:
    vdso = package.system.facts.vdso.get(image.arch)
    if vdso is not None:
        start = image.model.place(vdso.data_size + vdso.code_size)
        image.vdso_base = start + vdso.data_size
        image.commands.append(VMCmd(VDSO, start, vdso.data_size + vdso.code_size, 5, label=b"[vdso]"))


def _layout(rules: ExecRules, image: Image, stack: StackImage, sigcode_at: int) -> Layout:
    """Where everything of the new address space lies."""
    return Layout(
        min_addr=image.frame.min_addr,
        user_top=image.model.user_top,
        mmap_base=image.model.mmap_base,
        legacy=image.model.legacy,
        brk=rules.place_brk(image.frame, image.brk_end, image.is_dynamic and not image.has_interpreter),
        stack_top=image.stack_top,
        stack_limit=image.stack_limit,
        vdso_base=image.vdso_base,
        sizes=rules.sizes(image, stack),
        ps_strings=stack.ps_strings,
        sigcode=sigcode_at,
        tls=image.tls,
    )
