"""The same exec as two or more systems would do it, beside each other, with their differences marked.

What is compared is what stands in the explanations: the verdict, each question that was asked and its answer, the
limits, the layout, the stack's contents.  What all answer alike is said once.  Where the page is too narrow for columns the
systems stand below each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from ring3.namedtuple import NamedTuple
from ring3.trace.explain.model import Arguments, Check, Explanation, FormatSaid, Header, Hop, LookUp
from ring3.trace.explain.page import INDENT, Page, wrap
from ring3.trace.explain.picture import cred_words, numbers
from ring3.trace.explain.space import objects
from ring3.trace.explain.stackdump import aux_name, registers
from ring3.trace.explain.text import outcome
from ring3.trace.explain.words import columns_of as columns
from ring3.trace.explain.words import command, counted, limit, prot, quoted, shown, size

_NOT_ASKED: Final = "(not asked)"        # what a system says nothing of, or did not get to
_NOTHING: Final = "none"                 # what it does not have
_TOPIC: Final = 20
_NARROW: Final = 100
_EMPTY: Final = MappingProxyType({"auxv": _NOTHING, "space": _NOTHING, "registers": "0"})
_FIRST: Final = ("verdict", "checks", "arguments")      # what an exec that fails has too


class Topic(NamedTuple):
    """One thing compared: its name, and each system's answer.  `section` begins a new part of the page.

    `keys` is what counts of the answers: addresses are random, and so differ without a difference.
    """

    section: str
    name: str
    answers: tuple[str, ...]
    keys: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the systems do not agree."""
        return len(set(self.keys)) > 1

    @property
    def is_one(self) -> bool:
        """Whether they say the same, word for word."""
        return len(set(self.answers)) == 1

    def padded_name(self) -> str:
        """The name in its column."""
        return self.name[: _TOPIC - 2].ljust(_TOPIC)


def compare(explanations: Sequence[Explanation], width: int, *, colour: bool = False) -> str:
    """The page."""
    page = Page(width, colour=colour)
    systems = [found.personality for found in explanations]
    page.line(
        f"{page.paint(quoted(explanations[0].program), 'bold')}   as {named(systems)} would do it; "
        f"{page.paint('≠', 'mark')} differs, = is the same for all"
    )
    found = topics(explanations)
    section = ""
    for topic in found:
        if topic.section != section:
            section = topic.section
            page.blank()
            _heading(page, section, systems)
        _topic(page, topic, systems)
    page.blank()
    different = sum(topic.differs for topic in found)
    page.line(f"  {different} of {len(found)} things differ" if different else "  nothing differs but addresses")
    return page.text()


def named(systems: Sequence[str]) -> str:
    """Names in a sentence.

    >>> named(["linux", "netbsd", "serenity"])
    'linux, netbsd and serenity'
    """
    return f"{', '.join(systems[:-1])} and {systems[-1]}" if len(systems) > 1 else "".join(systems)


def _columns(page: Page, count: int) -> int:
    return (page.width - INDENT - 2 - _TOPIC) // count


def _heading(page: Page, section: str, systems: Sequence[str]) -> None:
    if page.width < _NARROW:
        page.line(f"  {section}", "bold")
        return
    room = _columns(page, len(systems))
    page.line((" " * INDENT + "  " + section.ljust(_TOPIC) + "".join(system.ljust(room) for system in systems)).rstrip(), "bold")


def _topic(page: Page, topic: Topic, systems: Sequence[str]) -> None:
    mark = page.paint("≠ ", "mark") if topic.differs else page.paint("= ", "dim") if topic.is_one else "  "
    head = " " * INDENT + mark + page.paint(topic.padded_name(), "dim")
    if page.width < _NARROW:
        answers = list(zip(systems, topic.answers, strict=True)) if topic.differs else [("", topic.answers[0])]
        indent = INDENT + 2 + _TOPIC
        for number, (system, answer) in enumerate(answers):
            label = f"{system:9}" if system else ""
            pieces = wrap(answer, page.width - indent - len(label))
            page.line((head if number == 0 else " " * indent) + page.paint(label, "name") + pieces[0])
            for piece in pieces[1:]:
                page.line(" " * (indent + len(label)) + piece)
        return
    room = _columns(page, len(systems))
    if topic.is_one:
        room = page.width - INDENT - 2 - _TOPIC
        cells = [wrap(topic.answers[0], room)]
    else:
        cells = [wrap(answer, room - 2) for answer in topic.answers]
    for line in range(max(map(len, cells))):
        texts = [cell[line] if line < len(cell) else "" for cell in cells]
        page.line(
            (
                (head if line == 0 else " " * (INDENT + 2 + _TOPIC))
                + "".join(t + " " * (room - columns(t)) for t in texts)
            ).rstrip()
        )


def topics(explanations: Sequence[Explanation]) -> list[Topic]:
    """Everything that is compared, in order.  A thing that no system has is left out."""
    rows: list[Topic] = []

    def add(section: str, name: str, answers: Sequence[str]) -> None:
        if any(answers):
            keys = [
                _without_addresses(answer)
                for answer, e in zip(answers, explanations, strict=True)
                if section in _FIRST or e.plan
            ]
            empty = _EMPTY.get(section, _NOT_ASKED)
            rows.append(Topic(section, name, tuple(answer or empty for answer in answers), tuple(keys)))

    add("verdict", "outcome", [_verdict(e) for e in explanations])
    add("verdict", "runs", [command([e.plan.exe.path, *e.plan.argv[1:]]) if e.plan else "" for e in explanations])
    add("verdict", "a program of", [e.plan.personality.name if e.plan else "" for e in explanations])
    add("verdict", "why", [e.diagnosis.why if e.diagnosis else "" for e in explanations])
    for label in _ordered([_event_label(event) for event in e.events] for e in explanations):
        add("checks", label.partition("\0")[0], [_answer(e, label) for e in explanations])
    rows = _joined(rows)
    add("arguments", "limit", [_limit(e) for e in explanations])
    add("arguments", "one string", [_string_limit(e) for e in explanations])
    if sum(e.plan is not None for e in explanations) < 2:
        return rows
    for name in _ordered(
        [shown(item.name.rpartition(b"/")[2] or item.name, 24) for item in objects(e.plan.vmcmds)]
        for e in explanations
        if e.plan
    ):
        add("space", name, [_object(e, name) for e in explanations])
    add("space", "end", [size(e.plan.layout.user_top) if e.plan else "" for e in explanations])
    add("space", "mmap", [("upwards" if e.plan.layout.legacy else "downwards") if e.plan else "" for e in explanations])
    for name in _ordered([aux_name(e.plan, aux.type) for aux in e.plan.stack.auxv] for e in explanations if e.plan):
        add("auxv", name.removeprefix("AT_"), [_aux(e, name) for e in explanations])
    for name in _ordered([name for name, _ in registers(e.plan)] for e in explanations if e.plan):
        add("registers", name, [_register(e, name) for e in explanations])
    add("process", "ids", ["; ".join(cred_words(e.before, e.plan.cred)) if e.plan else "" for e in explanations])
    add("process", "secure", ["" if e.plan is None else "yes (AT_SECURE)" if e.plan.secure else "no" for e in explanations])
    add("process", "closes", [numbers(e.plan.closes) if e.plan else "" for e in explanations])
    add("process", "name", [shown(e.plan.comm) if e.plan else "" for e in explanations])
    return rows


def _joined(rows: Sequence[Topic]) -> list[Topic]:
    """The topics, with neighbouring formats of which all systems say the same in the same words as one."""
    out: list[Topic] = []
    for row in rows:
        last = out[-1] if out else None
        if last is not None and last.name == row.name == "format" and last.is_one and row.is_one:
            before, _, said = last.answers[0].partition(": ")
            name, _, says = row.answers[0].partition(": ")
            if said == says:
                out[-1] = last._replace(answers=(f"{before}, {name}: {said}",) * len(row.answers), keys=("",) * len(row.answers))
                continue
        out.append(row)
    return out


def _without_addresses(answer: str) -> str:
    return " ".join("an address" if word[:2] == "0x" and len(word) > 6 else word for word in answer.split(" "))


def _ordered(lists: object) -> list[str]:
    """All names of the lists, each once, in the order they come."""
    return list(dict.fromkeys(name for names in lists for name in names))  # type: ignore[attr-defined]


def _verdict(found: Explanation) -> str:
    return outcome(found)[0]


def _event_label(event: object) -> str:
    """What an event is about: the same for the same question in two explanations."""
    match event:
        case LookUp():
            return f"look-up\0{event.purpose}{shown(event.path)}"
        case Check():
            return f"checks\0{shown(event.about)}"
        case FormatSaid():
            return f"format\0{event.format}"
        case Hop():
            return f"script\0{event.number}"
        case Header():
            return f"header\0{shown(event.path)}"
    return "arguments"


def _answer(found: Explanation, label: str) -> str:
    for event in found.events:
        if _event_label(event) == label:
            match event:
                case LookUp():
                    return f"{shown(event.path, 40)}: " + (f"✗ {event.error}" if event.error else shown(event.found, 60))
                case Check():
                    return _checks(found, event.about)
                case FormatSaid():
                    return f"{event.format}: {event.verdict}" + (
                        f": {event.reason}" if event.verdict in ("refused", "not mine") else ""
                    )
                case Hop():
                    return f"{command(event.arguments)} (at most {counted(event.limit, 'hop')})"
                case Header():
                    return event.kind
                case Arguments():
                    return f"{size(event.strings + event.pointers)}, limit {limit(event.limit)}"
    return ""


def _checks(found: Explanation, about: bytes) -> str:
    checks = [event for event in found.events if isinstance(event, Check) and event.about == about]
    failed = next((check for check in checks if not check.passed), None)
    return (
        f"all passed: {', '.join(check.question for check in checks)}"
        if failed is None
        else f"✗ {failed.error}: not {failed.question}: {failed.rule}"
    )


def _arguments(found: Explanation) -> Arguments | None:
    return next((event for event in found.events if isinstance(event, Arguments)), None)


def _limit(found: Explanation) -> str:
    limits = _arguments(found)
    return "" if limits is None else f"{limit(limits.limit)}: {limits.rule}"


def _string_limit(found: Explanation) -> str:
    limits = _arguments(found)
    return "" if limits is None else limit(limits.string_limit)


def _object(found: Explanation, name: str) -> str:
    for item in objects(found.plan.vmcmds) if found.plan else ():
        if shown(item.name.rpartition(b"/")[2] or item.name, 24) == name:
            return f"{item.start:#x} {size(item.end - item.start)} {' '.join(prot(area.prot) for area in item.areas[:6])}"
    return ""


def _aux(found: Explanation, name: str) -> str:
    plan = found.plan
    return next((hex(aux.value) for aux in plan.stack.auxv if aux_name(plan, aux.type) == name), "") if plan else ""


def _register(found: Explanation, name: str) -> str:
    return next((hex(value) for known, value in registers(found.plan) if known == name), "") if found.plan else ""
