"""What would go wrong although the exec succeeds: seen from the plan, before it happens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ring3.exec.first import along_path
from ring3.trace.explain import env
from ring3.trace.explain.case import Answer, Case, Row
from ring3.trace.explain.model import Diagnosis, Explanation
from ring3.trace.explain.space import areas, entry_area
from ring3.trace.explain.words import counted, quoted, shown, size

if TYPE_CHECKING:
    from ring3.proc.proc import Thread


def warnings(t: Thread, explanation: Explanation) -> tuple[Diagnosis, ...]:
    """All that would go wrong; nothing where the exec itself fails."""
    if explanation.outcome != "runs":
        return ()
    case = Case(t, explanation)
    found = ((row.key, row.explain(case)) for row in TABLE)
    return tuple(Diagnosis(key, *answer) for key, answer in found if answer is not None)


def _one_word(case: Case) -> Answer | None:
    """`#!/usr/bin/env python3 -u`: everything behind the interpreter is one argument."""
    for hop in case.hops:
        if len(hop.arguments) < 3:
            continue
        argument = hop.arguments[1]
        if not (b" " in argument or b"\t" in argument):
            continue
        if hop.interpreter.rpartition(b"/")[2] == b"env":
            if env.splits(argument):
                continue
            if argument[:1] == b"-":
                what = f"takes it for options of its own: {quoted(argument)}"
            elif b"=" in argument:
                what = f"takes it for a variable, {quoted(argument)}, and runs the script itself, again and again"
            else:
                what = f"looks for a program called {quoted(argument)}"
            return (
                f"the first line gives env everything behind it as one word, so env {what}",
                (f"let env split it: {shown(b'#!' + hop.interpreter + b' -S ' + argument)}",),
            )
        return (
            f"the first line gives {shown(hop.interpreter, 60)} everything behind it as one argument: {quoted(argument)}",
            ("write the options as one word, or use env -S",),
        )
    return None


def _carriage_return(case: Case) -> Answer | None:
    for hop in case.hops:
        if len(hop.arguments) > 2 and hop.arguments[1].endswith(b"\r"):
            return (
                (f"the first line of {case.spelled(hop.script)} ends in CR (a line end of Windows), "
                 f"so {shown(hop.interpreter, 60)} is given {quoted(hop.arguments[1])}"),
                (f"sed -i 's/\\r$//' {case.spelled(hop.script)}",),
            )
    return None


# Where C libraries look without PATH: glibc, musl, NetBSD's.
_WITHOUT_PATH: Final = b"/usr/local/bin:/usr/pkg/bin:/bin:/usr/bin"


def _env_finds_nothing(case: Case) -> Answer | None:
    """`#!/usr/bin/env nosuch`: what env itself will look for, along PATH as it will know it."""
    plan, hop = case.it.plan, case.hops[-1] if case.hops else None
    assert plan is not None
    runs = hop.interpreter if hop is not None else case.it.path
    if runs.rpartition(b"/")[2] != b"env" or _one_word(case) is not None or _carriage_return(case) is not None:
        return None
    call = env.read(plan.argv[1:], plan.envp)
    if call is None:
        return None
    path = _WITHOUT_PATH if call.path is None else call.path
    is_searched = bool(call.program) and b"/" not in call.program
    tried = [os.path.join(call.directory, name) for name in (along_path(call.program, path) if is_searched else [call.program])]
    trees = [b""] if plan.emulation is None else [b"", plan.emulation[0].path(plan.emulation[1])]
    found = [tree + name for name in tried for tree in trees if (not tree or name[:1] == b"/") and case.is_file(tree + name)]
    if any(case.is_program(name) for name in found):
        return None
    where = "" if not is_searched else " along PATH" if call.path is not None else " in the usual directories (it knows no PATH)"
    line = f"the first line of {case.spelled(hop.script)}" if hop is not None else "the command line"
    asked = f"{line} has env run {quoted(call.program)}"
    if found:
        there = quoted(found[0])
        return f"{asked}{where}, and {there} may not be executed, so env ends with status 126", (f"chmod a+x {there}",)
    helps = [f"install {quoted(call.program)}, or name another program" + (" in the first line" if hop is not None else "")]
    if is_searched and (elsewhere := case.along_path(call.program)) is not None:
        helps.insert(0, f"it is at {quoted(elsewhere)}, which PATH does not name: --env PATH=DIR:DIR")
    elif is_searched and (near := case.similar([name.rpartition(b"/")[0] for name in tried[:32]], call.program)) is not None:
        helps.insert(0, f"did you mean {near}?")
    return f"{asked}, which is not found{where}, so env ends with status 127", tuple(helps)


def _no_entry(case: Case) -> Answer | None:
    plan = case.it.plan
    assert plan is not None
    area = entry_area(plan)
    if area is not None and area.prot & 4:
        return None
    elf = case.kind.elf if case.kind is not None else None
    where = f"{plan.start:#x}"
    state = "where nothing is mapped" if area is None else "in memory that may not be executed"
    if elf is not None and elf.ehdr.entry == 0 and plan.interpreter is None:
        return (
            ("it has no entry point: it is a shared library, not a program. "
             f"The first instruction would be fetched at {where}, {state}: SIGSEGV"),
            ("link a program with it, or load it into one: LD_PRELOAD",),
        )
    return f"the first instruction would be fetched at {where}, {state}: SIGSEGV", ("check the entry point: readelf -h",)


def _missing_library(case: Case) -> Answer | None:
    missing = [library for library in case.it.libraries if not library.path]
    if not missing:
        return None
    first, more = missing[0], len(missing) - 1
    name = shown(first.name, 80)
    others = f" (nor {counted(more, 'other')})" if more else ""
    directories = list(dict.fromkeys(library.path.rpartition(b"/")[0] for library in case.it.libraries if library.path))[:8]
    near = case.beginning(directories, first.name.partition(b".so")[0] + b".so")
    return (
        (f"its loader will not find the shared library {name}{others}, which {case.spelled(first.wanted_by)} wants, "
         "so the program starts and ends at once, with status 127"),
        (*((f"there is {near}: another version?",) if near is not None else ()),
         "install what has it, or name its directory: --env LD_LIBRARY_PATH=DIR"),
    )


def _short_file(case: Case) -> Answer | None:
    plan = case.it.plan
    assert plan is not None
    for command in plan.vmcmds:
        if command.file is not None:
            missing = command.offset + command.length - (command.file.size + 4095) // 4096 * 4096
            if missing > 0:
                return (
                    (f"{shown(command.file.path, 80)} is cut off: a segment wants {size(missing)} beyond its end; "
                     "touching them is SIGBUS"),
                    ("make or copy it again",),
                )
    return None


def _much_memory(case: Case) -> Answer | None:
    plan = case.it.plan
    assert plan is not None
    wanted = sum(area.end - area.start for area in areas(plan.vmcmds) if area.prot & 2 and not area.is_file)
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if wanted <= have:
        return None
    return (
        (f"it asks for {size(wanted)} of zeroed memory; this machine has {size(have)}. "
         "If the host refuses it, the process is killed"),
        ("check the size of .bss: readelf -lW",),
    )


TABLE: Final[tuple[Row, ...]] = (
    Row("no entry point", (), _no_entry),
    Row("missing library", (), _missing_library),
    Row("one word for env", (), _one_word),
    Row("carriage return in an argument", (), _carriage_return),
    Row("env finds nothing", (), _env_finds_nothing),
    Row("cut off", (), _short_file),
    Row("much memory", (), _much_memory),
)
