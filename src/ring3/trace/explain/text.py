"""An explanation as text: what was asked, what was found, what would be built, why it fails.

The order is that in which things happen, and the verdict stands first.  Not here: the picture of the address space
and the stack (`picture.py`), two systems beside each other (`compare.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from ring3.trace.explain.model import (
    Arguments,
    Check,
    Diagnosis,
    Event,
    Explanation,
    FileFacts,
    FormatSaid,
    Header,
    Hop,
    LookUp,
    WalkStep,
)
from ring3.trace.explain.page import Page
from ring3.trace.explain.picture import show_plan
from ring3.trace.explain.words import command, counted, limit, meaning, mode, quoted, shown, signal_name, size

_LIBRARIES: Final = 8           # that are shown unless all are asked for
COLUMN: Final = 36              # where the second column of a row begins
_PURPOSES: Final = {"program": "", "interpreter": "the script's interpreter", "loader": "the loader that the program names"}


def render(explanation: Explanation, width: int, *, colour: bool = False, everything: bool = False) -> str:
    """The whole page.  `everything`: long lists in full."""
    page = Page(width, colour=colour, everything=everything)
    headline(page, explanation)
    page.blank()
    for error, directories in passed_over(explanation):
        page.row("PATH", f"{error} in {', '.join(directories)}", style="dim")
    before: Event | None = None
    for event in grouped(explanation.events):
        _SHOW[type(event)](page, event, before)
        before = event
    if explanation.libraries:
        show_libraries(page, explanation)
    if explanation.plan is not None:
        show_plan(page, explanation)
    page.blank()
    show_rules(page, explanation)
    for warning in explanation.warnings:
        page.blank()
        show_diagnosis(page, warning, "Warning", "warn")
    if explanation.diagnosis is not None:
        page.blank()
        show_diagnosis(page, explanation.diagnosis, "Why", "bad")
    return page.text()


def headline(page: Page, explanation: Explanation) -> None:
    """The verdict in a line."""
    who = f"({explanation.personality}, uid {explanation.before.euid})"
    name = quoted(explanation.program)
    verdict, style = outcome(explanation)
    if explanation.outcome == "runs":
        assert explanation.plan is not None
        as_ = command([explanation.plan.exe.path, *explanation.plan.argv[1:]])
        page.headline(name, "would run", "good", f"as  {as_}", who)
        return
    although = ""
    if explanation.error == "ENOENT" and is_there(explanation):
        although = f"although {quoted(explanation.path)} is there"
    page.headline(name, verdict, style, although, who)


def grouped(events: Iterable[Event]) -> Iterator[Event]:
    """The events, neighbouring formats that say "not mine" in the same words as one."""
    held: FormatSaid | None = None
    for event in events:
        if isinstance(event, FormatSaid) and event.verdict == "not mine":
            if held is not None and held[1:] == event[1:]:
                held = held._replace(format=f"{held.format}, {event.format}")
                continue
            if held is not None:
                yield held
            held = event
            continue
        if held is not None:
            yield held
            held = None
        yield event
    if held is not None:
        yield held


def passed_over(explanation: Explanation) -> list[tuple[str, list[str]]]:
    """What stood in the way along PATH, with the directories; neighbours of one error together."""
    found: list[tuple[str, list[str]]] = []
    for tried in explanation.search:
        directory = shown(tried.path.rpartition(b"/")[0], 80)
        if found and found[-1][0] == tried.error:
            if directory not in found[-1][1]:
                found[-1][1].append(directory)
        else:
            found.append((tried.error, [directory]))
    return found


def outcome(explanation: Explanation) -> tuple[str, str]:
    """The verdict in a few words, and its style."""
    if explanation.outcome == "runs":
        return "would run", "good"
    if explanation.outcome == "dies":
        return f"would be killed by {signal_name(explanation.signal)} (past the point of no return)", "bad"
    text = meaning(explanation.error)
    return f"{explanation.error}: {text}" if text else explanation.error, "bad"


def is_there(explanation: Explanation) -> bool:
    """Whether the program itself was found, whatever failed later."""
    return any(isinstance(e, LookUp) and e.purpose == "program" and not e.error for e in explanation.events)


def show_diagnosis(page: Page, diagnosis: Diagnosis, label: str, style: str) -> None:
    """Why, and what would help."""
    page.paragraph(label, [diagnosis.why], style)
    if diagnosis.helps:
        page.paragraph(
            "What would help",
            [diagnosis.helps[0]] if len(diagnosis.helps) == 1 else [f"· {h}" for h in diagnosis.helps],
            "good",
        )


def show_libraries(page: Page, explanation: Explanation) -> None:
    """What the loader will look for: those that are missing, and the first of the others."""
    page.row("libraries", "what the loader will look for, not the kernel", style="dim")
    room = len(explanation.libraries) if page.everything else _LIBRARIES
    kept = sorted(explanation.libraries, key=lambda library: bool(library.path))[:room]
    for library in kept:
        if library.path:
            page.detail(shown(library.name), f"{shown(library.path)}  ({library.how})", at=COLUMN)
        else:
            page.detail(shown(library.name), f"✗ not found; {shown(library.wanted_by)} wants it", at=COLUMN, right_style="bad")
    if len(kept) < len(explanation.libraries):
        page.detail(f"… and {len(explanation.libraries) - len(kept)} more, all found: --all", style="dim")


def show_rules(page: Page, explanation: Explanation) -> None:
    """What would change it."""
    for number, rule in enumerate(explanation.rules):
        page.row("rules" if number == 0 else "", f"{rule.name:<16}{rule.state}", rule.effect, at=COLUMN, right_style="dim")


# --- events, one after the other

def _look_up(page: Page, event: Event, before: Event | None) -> None:
    assert isinstance(event, LookUp)
    note = _PURPOSES.get(event.purpose, event.purpose)
    if event.tree:
        note = f"first in {shown(event.tree)}" + (f", {note}" if note else "")
    if isinstance(before, LookUp):
        note = "not there, so as it stands"
    page.row("look-up", quoted(event.path), note, at=COLUMN, style="name", right_style="dim")
    special = [step for step in event.steps if step.kind != "start" or page.everything]
    for index, step in enumerate(special):
        last = index == len(special) - 1
        if step.kind == "name" and not last and not step.error and not page.everything:
            continue                    # an ordinary directory: the next line's path has it
        _step(page, step)
    if event.more_steps:
        page.detail(f"… and {counted(event.more_steps, 'step')} more")
    if event.error and not any(step.error for step in event.steps):
        page.detail(
            shown(event.found or event.path),
            f"✗ {event.error}: {event.reason or meaning(event.error)}",
            at=COLUMN,
            right_style="bad",
        )


def _step(page: Page, step: WalkStep) -> None:
    path = shown(step.path)
    if step.error and not step.target:
        what, style = f"✗ {step.error}: {step.reason or meaning(step.error)}", "bad"
    elif step.kind == "up":
        what, style = "where .. leads", ""
    elif step.target or step.kind == "link":
        what, style = f"→ {shown(step.target)}", ""
        if step.error:
            what, style = f"✗ {step.error}: {step.reason}", "bad"
    else:
        what, style = file_words(step.file), ""
    if step.mount is not None:
        what = f"mount point: {step.mount.fs} ({step.mount.options}); {what}"
    page.detail(path, what, at=COLUMN, right_style=style)


def file_words(file: FileFacts | None) -> str:
    """A file's facts in a few words."""
    if file is None:
        return "its facts cannot be read"
    end = f", {size(file.size)}" if file.kind == "regular" else ""
    return f"{file.kind}, {mode(file.mode)} {file.uid}:{file.gid}{end}"


def _check(page: Page, event: Event, before: Event | None) -> None:
    assert isinstance(event, Check)
    label = "" if isinstance(before, Check) else "checks"
    text, style = (f"yes: {event.rule}", "") if event.passed else (f"✗ {event.error}: {event.rule}", "bad")
    page.row(label, event.question, text, at=COLUMN, right_style=style)


def _arguments(page: Page, event: Event, _before: Event | None) -> None:
    assert isinstance(event, Arguments)
    total = event.strings + event.pointers
    left = f"{counted(event.argc, 'argument')}, {counted(event.envc, 'variable')}: {size(total)}"
    page.row(
        "arguments",
        left,
        f"limit {limit(event.limit)}: {event.rule}",
        at=COLUMN,
        right_style="bad" if total > event.limit else "dim",
    )


def _header(page: Page, event: Event, _before: Event | None) -> None:
    assert isinstance(event, Header)
    first = event.first[:8].hex(" ") or "nothing"
    page.row("header", first, event.kind, at=COLUMN)


def _format(page: Page, event: Event, before: Event | None) -> None:
    assert isinstance(event, FormatSaid)
    label = "" if isinstance(before, FormatSaid) else "formats"
    verdict = {"rewritten": "mine: another file is to run it", "mine": f"mine: {event.reason}"}.get(event.verdict)
    text = verdict or f"{event.verdict}: {event.reason}" + (f" ({event.error})" if event.verdict == "refused" else "")
    style = {"mine": "good", "rewritten": "good", "refused": "bad"}.get(event.verdict, "dim")
    page.row(label, shown(event.format.encode()), text, at=14, style=style, right_style=style)


def _hop(page: Page, event: Event, _before: Event | None) -> None:
    assert isinstance(event, Hop)
    page.row("script", quoted(event.line), f"hop {event.number} of at most {event.limit}", at=COLUMN, right_style="dim")
    page.detail(f"becomes  {command(event.arguments)} …" if event.arguments else "")


_SHOW: Final[Mapping[type, Callable[[Page, Any, Event | None], None]]] = MappingProxyType({
    LookUp: _look_up, Check: _check, Arguments: _arguments, Header: _header, FormatSaid: _format, Hop: _hop,
})
