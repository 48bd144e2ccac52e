"""Explanations as one self-contained page: no network, no script, light and dark, for a phone and for a projector.

The style is `../html/base.css`, shared with the report of a run, and `explain.css`.  Every text is escaped twice:
control characters by `words.shown`, markup here.  The page's Content-Security-Policy allows nothing but its own
style.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from ring3.trace.explain.code import SHOWN, instructions
from ring3.trace.explain.compare import named, topics
from ring3.trace.explain.model import (
    Arguments,
    Check,
    Diagnosis,
    Event,
    Explanation,
    FormatSaid,
    Header,
    Hop,
    LookUp,
    WalkStep,
)
from ring3.trace.explain.picture import (
    address,
    command_words,
    cred_words,
    growth_words,
    is_padding,
    item_label,
    item_words,
    numbers,
    object_words,
    register_notes,
    short_name,
)
from ring3.trace.explain.space import Object, objects
from ring3.trace.explain.stackdump import Item, dump, registers
from ring3.trace.explain.text import file_words, grouped, outcome, passed_over
from ring3.trace.explain.words import command, counted, limit, meaning, prot, quoted, shown, size
from ring3.trace.html.report import read, source_hash

if TYPE_CHECKING:
    from ring3.exec.plan import ExecPlan

_OPEN: Final = 60                   # rows of the stack that are shown at once
_MOST_ITEMS: Final = 20_000


def page(explanations: Sequence[Explanation]) -> str:
    """The whole file."""
    with open(f"{os.path.dirname(__file__)}/explain.css", encoding="utf-8") as file:
        style = read("base.css") + file.read()
    first = explanations[0]
    body = [_compared(explanations)] if len(explanations) > 1 else []
    for found in explanations:
        body += _parts(found, headed=len(explanations) > 1)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src {source_hash(style)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{_t(first.program, 60)}, explained</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
{''.join(body)}
<footer>Written by ring3 explain. Nothing was executed.</footer>
</body>
</html>
"""


def _t(name: bytes, limit: int = 240) -> str:
    return escape(shown(name, limit))


def _sheet(title: str, *content: str, kind: str = "") -> str:
    head = f"<h2>{escape(title)}</h2>" if title else ""
    return f'<section class="sheet{" " + kind if kind else ""}">{head}{"".join(content)}</section>\n'


def _parts(found: Explanation, *, headed: bool) -> list[str]:
    verdict, style = outcome(found)
    pill = f'<span class="pill {style}">{escape(verdict)}</span>'
    who = f'<span class="dim">{escape(found.personality)}, uid {found.before.euid}</span>'
    as_ = ""
    if found.plan is not None:
        as_ = f"<p>as <code>{escape(command([found.plan.exe.path, *found.plan.argv[1:]]))}</code></p>"
    level = "h2" if headed else "h1"
    title = escape(found.personality) if headed else escape(command(found.argv) if found.argv else quoted(found.program))
    parts = [f"<header><{level}>{title}</{level}><p>{pill} {who}</p>{as_}</header>\n"]
    if found.diagnosis is not None:
        parts.append(_diagnosis("Why", found.diagnosis, "why"))
    parts += [_diagnosis("Warning", warning, "warning") for warning in found.warnings]
    parts.append(_sheet("What happens", _steps(found)))
    if found.libraries:
        parts.append(_sheet("Libraries", _libraries(found)))
    if found.plan is not None:
        parts += _plan(found, found.plan)
    if found.rules:
        rows = [(escape(rule.name), escape(rule.state), escape(rule.effect)) for rule in found.rules]
        parts.append(_sheet("What would change it", _table(("rule", "here", "what difference it makes"), rows)))
    return parts


def _diagnosis(title: str, found: Diagnosis, kind: str) -> str:
    helps = "".join(f"<li>{escape(text)}</li>" for text in found.helps)
    return _sheet(title, f"<p>{escape(found.why)}</p>", f"<ul>{helps}</ul>" if helps else "", kind=kind)


# --- what happens

def _steps(found: Explanation) -> str:
    rows: list[str] = [
        _row("PATH", f'{error} <span class="dim">in {escape(", ".join(directories))}</span>')
        for error, directories in passed_over(found)
    ]
    checks: list[str] = []
    for event in [*grouped(found.events), None]:
        if isinstance(event, Check):
            checks.append(_check(event))
            continue
        if checks:
            rows.append(_row("checks", f"<ul>{''.join(checks)}</ul>"))
            checks = []
        if event is not None:
            rows.append(_SHOW[type(event)](event))
    return f'<ol class="steps">{"".join(rows)}</ol>'


def _row(what: str, body: str) -> str:
    return f'<li><span class="what">{what}</span><div class="body">{body}</div></li>'


def _check(event: Check) -> str:
    answer = (
        f'<span class="yes">{escape(event.rule)}</span>'
        if event.passed
        else f'<span class="no">{event.error}: {escape(event.rule)}</span>'
    )
    return f"<li><span>{escape(event.question)}</span>{answer}</li>"


def _look_up(event: LookUp) -> str:
    purpose = "" if event.purpose == "program" else f' <span class="dim">the {escape(event.purpose)}</span>'
    special = [s for n, s in enumerate(event.steps) if s.kind not in ("start", "name") or s.error or n == len(event.steps) - 1]
    steps = "".join(_walk_step(step) for step in special)
    tail = ""
    if event.error and not any(step.error for step in event.steps):
        tail = f'<p class="no">{event.error}: {escape(event.reason or meaning(event.error))}</p>'
    return _row("look-up", f"<code>{escape(quoted(event.path))}</code>{purpose}<ul>{steps}</ul>{tail}")


def _walk_step(step: WalkStep) -> str:
    if step.error:
        what = f'<span class="no">{step.error}: {escape(step.reason or meaning(step.error))}</span>'
    elif step.kind == "up":
        what = "<span>where .. leads</span>"
    elif step.target:
        what = f"<span>→ <code>{_t(step.target)}</code></span>"
    else:
        mount = f"mount point: {step.mount.fs} ({step.mount.options}); " if step.mount is not None else ""
        what = f"<span>{escape(mount + file_words(step.file))}</span>"
    return f"<li><code>{_t(step.path)}</code>{what}</li>"


def _arguments(event: Arguments) -> str:
    total = event.strings + event.pointers
    over = ' class="no"' if total > event.limit or event.longest > event.string_limit else ""
    given = f"{counted(event.argc, 'argument')}, {counted(event.envc, 'variable')}"
    text = f"{given}: {size(total)}; limit {limit(event.limit)}: {event.rule}"
    return _row("arguments", f"<span{over}>{escape(text)}</span>")


def _header(event: Header) -> str:
    return _row("header", f"{escape(event.kind)} <code class=\"dim\">{event.first.hex(' ') or 'nothing'}</code>")


def _format(event: FormatSaid) -> str:
    style = {"mine": "good", "rewritten": "good", "refused": "bad"}.get(event.verdict, "dim")
    verdict, reason = ("mine", "another file is to run it") if event.verdict == "rewritten" else (event.verdict, event.reason)
    return _row("format", f"<b>{_t(event.format.encode())}</b> <span class='{style}'>{escape(verdict)}</span>: {escape(reason)}")


def _hop(event: Hop) -> str:
    return _row("script", f"<code>{_t(event.line)}</code> <span class='dim'>hop {event.number} of at most {event.limit}</span>"
                          f"<p>becomes <code>{escape(command(event.arguments))} …</code></p>")


_SHOW: Final[Mapping[type[Event], Callable[[Any], str]]] = MappingProxyType({
    LookUp: _look_up, Arguments: _arguments, Header: _header, FormatSaid: _format, Hop: _hop,
})


# --- what would be built

def _libraries(found: Explanation) -> str:
    rows = [
        (f"<code>{_t(library.name)}</code>",
         f"<code>{_t(library.path)}</code>" if library.path else '<span class="no">not found</span>',
         escape(library.how) if library.path else f"{_t(library.wanted_by)} wants it")
        for library in found.libraries
    ]
    said = "<p class='dim'>What the program's loader will look for: its doing, not the kernel's.</p>"
    return said + _table(("library", "where it is", "why there"), rows)


def _plan(found: Explanation, plan: ExecPlan) -> list[str]:
    commands = [
        (
            cmd.kind,
            f"{cmd.addr:x}",
            size(cmd.length),
            prot(cmd.prot) if cmd.kind != "write" else "",
            escape(command_words(plan, cmd)),
        )
        for cmd in plan.vmcmds
    ]
    notes = register_notes(plan)
    words = [(name, f"{value:x}", escape(notes.get(name, ""))) for name, value in registers(plan)]
    stay = [fd for fd in found.descriptors if fd not in plan.closes]
    facts = [
        ("ids", "; ".join(cred_words(found.before, plan.cred))),
        ("distrusts its environment", "yes (AT_SECURE)" if plan.secure else "no"),
        ("descriptors that stay", numbers(stay)),
        ("that close", numbers(plan.closes)),
        ("name", shown(plan.comm)),
        ("signals", "caught ones go back to their default, ignored ones stay ignored"),
    ]
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return [
        _sheet("Address space", _space(plan)),
        _sheet("Commands", _table(("what", "address", "length", "prot", "from"), commands, addresses=(1,))),
        _sheet("Stack, from the top", _stack(plan)),
        _sheet(
            "Registers", _table(("register", "value", "what it is"), words, addresses=(1,)),
            '<p class="dim">All others are zero.</p>',
        ),
        *_code(found, plan),
        _sheet("Process", f'<dl class="facts">{listed}</dl>'),
    ]


def _code(found: Explanation, plan: ExecPlan) -> list[str]:
    """The first instructions, where they can be read."""
    lines = instructions(found.code, plan.start, plan.arch, SHOWN)
    if not lines:
        return []
    rows = [(f"{at:x}", code.hex(" "), escape(text)) for at, code, text in lines]
    return [_sheet("First instructions", _table(("address", "bytes", "instruction"), rows, addresses=(0, 1)))]


def _space(plan: ExecPlan) -> str:
    top, found = plan.layout.user_top, objects(plan.vmcmds)
    scale = 1000 / top
    marks = "".join(
        f'<rect class="mark" x="{item.start * scale:.2f}" y="0" width="{max((item.end - item.start) * scale, 3):.2f}" height="20"/>'
        for item in found
    )
    ruler = (
        f'<svg class="ruler" viewBox="0 0 1003 20" preserveAspectRatio="none" role="img" aria-label="the whole space, linear">'
        f'<rect class="line" x="0" y="9" width="1003" height="2"/>{marks}</svg><p class="ends"><span>0</span>'
        f"<span>the whole space, linear</span><span>{size(top)}</span></p>"
    )
    rows, above = [], top
    for item in reversed(found):
        rows += [_free(above - item.end), _object(item)]
        above = item.start
    rows.append(_free(above))
    key = "".join(
        f'<span><svg viewBox="0 0 10 10" aria-hidden="true"><rect class="{css}" width="10" height="10"/></svg> {label}</span>'
        for css, label in (("p-x", "may be executed"), ("p-w", "may be written"), ("p-r", "may be read"), ("p-none", "nothing"))
    )
    more = growth_words(plan, found)
    more = f"{more[0].upper()}{more[1:]}."
    return f'{ruler}<ol class="space">{"".join(rows)}</ol><p class="key">{key}</p><p class="key">{more}</p>'


def _free(nbytes: int) -> str:
    return f'<li class="free">{size(nbytes)} free</li>' if nbytes > 0 else ""


def _object(item: Object) -> str:
    total = item.end - item.start
    rects = "".join(
        f'<rect class="{_css(area.prot)}" x="{(area.start - item.start) * 1000 / total:.2f}" y="0" '
        f'width="{max((area.end - area.start) * 1000 / total, 2):.2f}" height="10"><title>{area.start:x} {prot(area.prot)} '
        f"{size(area.end - area.start)}</title></rect>"
        for area in item.areas[:2000]
    )
    return (
        f'<li><p class="name"><b title="{_t(item.name)}">{escape(short_name(item.name))}</b><code>{address(item.start)}</code>'
        f'<span class="dim">{escape(object_words(item).strip())}</span></p>'
        f'<svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="its parts, to scale">'
        f"{rects}</svg></li>"
    )


def _css(bits: int) -> str:
    return "p-x" if bits & 4 else "p-w" if bits & 2 else "p-r" if bits & 1 else "p-none"


def _stack(plan: ExecPlan) -> str:
    items = [item for item in dump(plan)[::-1] if not is_padding(item, plan)]
    shown_items, rest = items[:_OPEN], items[_OPEN:_MOST_ITEMS]
    head = ("address", "what stands there", "what it is")
    out = _table(head, [_item(item, plan) for item in shown_items], addresses=(0,), values=(1,))
    if rest:
        table = _table(head, [_item(item, plan) for item in rest], addresses=(0,), values=(1,))
        out += f"<details><summary>{counted(len(rest), 'more row')}</summary>{table}</details>"
    return out


def _item(item: Item, plan: ExecPlan) -> tuple[str, str, str]:
    return f"{item.addr:x}", escape(item_words(item, plan.arch.word_size)), escape(item_label(item))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], addresses: Sequence[int] = (), values: Sequence[int] = ()) -> str:
    css = dict.fromkeys(addresses, ' class="addr"') | dict.fromkeys(values, ' class="value"')
    lines = "".join("<tr>" + "".join(f"<td{css.get(n, '')}>{cell}</td>" for n, cell in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{"".join(f"<th>{name}</th>" for name in head)}</tr>{lines}</table></div>'


# --- beside each other

def _compared(explanations: Sequence[Explanation]) -> str:
    systems = [found.personality for found in explanations]
    rows, section = [], ""
    for topic in topics(explanations):
        if topic.section != section:
            section = topic.section
            rows.append(f'<tr class="part"><th>{escape(section)}</th>{"".join(f"<th>{escape(s)}</th>" for s in systems)}</tr>')
        answers = zip(systems, topic.answers, strict=True)
        cells = "".join(f'<td data-system="{escape(system)}">{escape(answer)}</td>' for system, answer in answers)
        if topic.is_one:
            cells = f'<td colspan="{len(systems)}">{escape(topic.answers[0])}</td>'
        kind = ' class="differs"' if topic.differs else ' class="same"' if topic.is_one else ""
        rows.append(f"<tr{kind}><th>{escape(topic.name)}</th>{cells}</tr>")
    who = f"as {named(systems)} would do it; ≠ differs, = is the same for all"
    title = f"<header><h1>{escape(quoted(explanations[0].program))}</h1><p>{escape(who)}</p></header>\n"
    return title + _sheet("Beside each other", f'<table class="beside">{"".join(rows)}</table>')
