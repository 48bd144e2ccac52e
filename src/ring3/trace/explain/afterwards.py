"""What would go wrong although the exec succeeds: seen from the plan, before it happens."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

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
        if not (b" " in argument or b"\t" in argument) or argument[:2] == b"-S":
            continue
        if hop.interpreter.rpartition(b"/")[2] == b"env":
            return (
                f"the first line gives env everything behind it as one word, so env looks for a program called {quoted(argument)}",
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
    Row("cut off", (), _short_file),
    Row("much memory", (), _much_memory),
)
