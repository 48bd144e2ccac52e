"""What a plan would build, as text: commands, the address space to scale, the stack word by word, registers, ids,
descriptors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ring3.exec.plan import WRITE
from ring3.trace.explain.code import SHOWN, instructions
from ring3.trace.explain.page import INDENT, LABEL, Page
from ring3.trace.explain.space import Area, Object, cells, objects
from ring3.trace.explain.stackdump import Item, dump, registers
from ring3.trace.explain.words import columns_of as columns
from ring3.trace.explain.words import counted, prot, shown, size

if TYPE_CHECKING:
    from ring3.exec.plan import ExecPlan, VMCmd
    from ring3.proc.cred import Cred
    from ring3.trace.explain.model import Explanation

_BAR: Final = 32
_FOLD: Final = 8                    # a list longer than this is shown by its ends
_KEPT: Final = 3
_COMMAND: Final = 38                # the column of what a command shows
_SHADES: Final = {0: "·", 1: "░", 2: "▒", 3: "▒", 4: "█", 5: "█", 6: "█", 7: "█"}


def show_plan(page: Page, explanation: Explanation) -> None:
    """The second half of a page."""
    plan = explanation.plan
    assert plan is not None
    page.blank()
    show_commands(page, plan)
    page.blank()
    show_space(page, plan)
    page.blank()
    show_stack(page, plan)
    page.blank()
    show_registers(page, plan)
    page.blank()
    if page.everything:
        show_code(page, explanation)
        page.blank()
    show_process(page, explanation)


def show_commands(page: Page, plan: ExecPlan) -> None:
    """The VMCmds as a table."""
    for number, command in enumerate(plan.vmcmds):
        bits = prot(command.prot) if command.kind != WRITE else "   "
        left = f"{command.kind:5} {command.addr:012x} +{size(command.length):>9}  {bits}"
        words = command_words(plan, command)
        if INDENT + LABEL + _COMMAND + columns(words) > page.width:
            words = command_words(plan, command, is_brief=True)
        page.row("vmcmds" if number == 0 else "", left, words, at=_COMMAND)


def command_words(plan: ExecPlan, command: VMCmd, *, is_brief: bool = False) -> str:
    """What a command shows or writes; `is_brief`: a file by its last name."""
    if command.file is not None:
        path = command.file.path
        return f"{short_name(path)}+{command.offset:#x}" if is_brief else f"{shown(path, 80)} from {command.offset:#x}"
    if command.kind == WRITE:
        if command.addr == plan.stack.sp:
            return "the stack's contents"
        return shown(command.label) or ("zeros to the end of the page" if not any(command.data) else "bytes")
    return shown(command.label) or "zeroed memory"


# --- the address space

def address(value: int) -> str:
    """An address in groups of four digits.

    >>> address(0x7ffe3b5c1000), address(0x8048000)
    ('7ffe 3b5c 1000', '0000 0804 8000')
    """
    digits = f"{value:012x}"
    return f"{digits[:4]} {digits[4:8]} {digits[8:]}"


def short_name(name: bytes) -> str:
    """The last part of a path; a label without its brackets."""
    return shown(name.rpartition(b"/")[2].strip(b"[]") or name, 28)


def show_space(page: Page, plan: ExecPlan) -> None:
    """A ruler of the whole space, then each object from the top with its parts to scale, and how much is free
    between.
    """
    top = plan.layout.user_top
    found = objects(plan.vmcmds)
    letters = {id(item): letter for item, letter in zip(found, "abcdefghijklmnopqrstuvwxyz", strict=False)}
    page.row("space", f"{size(top)}, linear; a mark is {size(top // ruler_width(page))}")
    page.line(" " * (INDENT + LABEL) + ruler(found, top, ruler_width(page)))
    page.blank()
    above = top
    page.row("", f"{address(top)} ┬ the end of user memory")
    for item in reversed(found):
        _gap(page, above - item.end)
        mark = letters.get(id(item), "…")
        page.row("", f"{address(item.start)} ┤ {mark} {short_name(item.name)}", object_words(item), at=38)
        page.line(" " * (INDENT + LABEL) + f"{'':14} │   {bar(page, item.areas)}")
        above = item.start
    _gap(page, above)
    page.row("", f"{address(0)} ┴")
    page.row("", growth_words(plan, found), style="dim")


def growth_words(plan: ExecPlan, found: Sequence[Object]) -> str:
    """What of the space may grow, and where to."""
    layout = plan.layout
    stack = next((item for item in found if item.start <= plan.stack.sp < item.end), None)
    most = layout.stack_limit
    grows = "may grow without a limit" if most >= layout.user_top else f"may grow to {size(most)}"
    if stack is not None and stack.end - stack.start >= most:
        grows = "does not grow"
    heap = f"the heap begins at {layout.brk:x}" if layout.brk else "there is no heap"
    way = "upwards" if layout.legacy else "downwards"
    return f"{heap}, mmap places {way} from {layout.mmap_base:x}, the stack {grows}"


def ruler_width(page: Page) -> int:
    """How many marks a ruler has."""
    return min(page.width, 130) - INDENT - LABEL - 2


def ruler(found: Sequence[Object], top: int, width: int) -> str:
    """The whole space, linear: where each object stands by its letter; several in one place are one `*`."""
    line = ["─"] * width
    for item, letter in zip(found, "abcdefghijklmnopqrstuvwxyz", strict=False):
        at = min(item.start * width // top, width - 1)
        line[at] = letter if line[at] == "─" else "*"
    return "├" + "".join(line) + "┤"


def _gap(page: Page, nbytes: int) -> None:
    if nbytes > 0:
        page.line(" " * (INDENT + LABEL) + f"{'':14} ┊ {size(nbytes)}", "dim")


def object_words(item: Object) -> str:
    """Its size and the protections of its parts."""
    total = sum(area.end - area.start for area in item.areas)
    return f"{size(total):>8}  {' '.join(prot(area.prot) for area in item.areas[:8])}{' …' if len(item.areas) > 8 else ''}"


def bar(page: Page, areas: Sequence[Area]) -> str:
    """One object to scale: ░ read, ▒ write, █ execute, · nothing."""
    return "▕" + "".join(
        page.paint((" " if area is None else _SHADES[area.prot & 7]) * count, "" if area is None else _style(area.prot))
        for area, count in cells(areas, min(_BAR, page.width - 36))
    ) + "▏"


def _style(bits: int) -> str:
    return "good" if bits & 4 else "warn" if bits & 2 else "name"


# --- the stack

def show_stack(page: Page, plan: ExecPlan) -> None:
    """From the top down."""
    items = dump(plan)
    items.reverse()
    page.row("stack", f"{size(len(plan.stack.data))}, from the top; rsp = {plan.stack.sp:x}")
    for item in items if page.everything else folded([item for item in items if not is_padding(item, plan)]):
        if isinstance(item, int):
            page.detail(f"{'…':12}  {counted(item, 'more line')} (--all shows every one)", style="dim", depth=0)
        else:
            page.detail(
                f"{item.addr:012x}  {item_words(item, plan.arch.word_size)}",
                item_label(item),
                at=46,
                right_style="dim",
                depth=0,
            )


def folded(items: Sequence[Item]) -> list[Item | int]:
    """Long runs of one kind (the strings of the environment, its pointers) by their ends, and how many lie between."""
    out: list[Item | int] = []
    run: list[Item] = []
    for item in [*items, None]:
        if run and (item is None or _family(item) != _family(run[0])):
            if len(run) > _FOLD and _family(run[0])[1] in ("argv", "envp"):
                out += [*run[:_KEPT], len(run) - 2 * _KEPT, *run[-_KEPT:]]
            else:
                out += run
            run = []
        if item is not None:
            run.append(item)
    return out


def is_padding(item: Item, plan: ExecPlan) -> bool:
    """Zeros that only bring the next string to a whole word."""
    return item.kind == "zeros" and item.length < plan.arch.word_size and item.label == "gap" and not item.meaning


def _family(item: Item) -> tuple[str, str]:
    return item.kind, item.label.partition("[")[0]


def item_words(item: Item, word_size: int) -> str:
    """What stands there."""
    if item.kind == "string":
        return f'"{shown(item.data, 28)}"'
    if item.kind == "zeros":
        return f"{counted(item.length, 'zero byte')}"
    if item.kind == "bytes":
        return item.data[:8].hex(" ") + (" …" if len(item.data) > 8 else "")
    if item.label == "argc" or (item.kind == "pair" and item.value < 1 << 16):
        return str(item.value)
    return f"{item.value:0{2 * word_size}x}" if item.value else "0"


def item_label(item: Item) -> str:
    """Its name and what it means."""
    return f"{item.label}: {item.meaning}" if item.meaning and item.label else item.label or item.meaning or "bytes"


# --- the rest

def show_registers(page: Page, plan: ExecPlan) -> None:
    """What the first instruction finds."""
    notes = register_notes(plan)
    for number, (name, value) in enumerate(sorted(registers(plan), key=lambda row: row[0] not in notes)):
        page.row("registers" if number == 0 else "", f"{name:8}{value:x}", notes.get(name, ""), at=30, right_style="dim")
    page.row("", "all others are zero", style="dim")


def register_notes(plan: ExecPlan) -> dict[str, str]:
    """What registers are for, by their names; the two that every program has first."""
    notes = {"rip": "the loader's entry point" if plan.interpreter is not None else "the program's entry point", "rsp": ""}
    items, values = dump(plan), dict(registers(plan))
    if items and items[0].label == "argc":
        notes["rsp"] = "argc stands here"
    elif any(item.label.startswith("argv") for item in items):
        notes |= {"rsp": "the end of the stack", "rdi": "argc", "rsi": "argv", "rdx": "envp"}
    return {name: note for name, note in notes.items() if name in values}


def show_code(page: Page, explanation: Explanation) -> None:
    """The first instructions, as far as anybody here can read them."""
    plan = explanation.plan
    assert plan is not None
    found = instructions(explanation.code, plan.start, plan.arch, SHOWN)
    for number, (at, code, text) in enumerate(found):
        page.row("code" if number == 0 else "", f"{at:012x}  {code.hex(' ')}", text, at=_COMMAND)
    if not found:
        page.row("code", explanation.code[:16].hex(" ") or "nothing there")
        page.row("", "as instructions: pip install 'ring3[disassembly]'", style="dim")


def show_process(page: Page, explanation: Explanation) -> None:
    """What changes of the process."""
    plan = explanation.plan
    assert plan is not None
    for number, text in enumerate(cred_words(explanation.before, plan.cred)):
        page.row("ids" if number == 0 else "", text)
    if plan.secure:
        page.row("", "AT_SECURE is 1: the loader ignores LD_PRELOAD and its like", style="warn")
    stay = [fd for fd in explanation.descriptors if fd not in plan.closes]
    page.row(
        "descriptors",
        f"{numbers(stay)} stay, {numbers(plan.closes)} close" if plan.closes else f"{numbers(stay)} stay, none closes",
    )
    for fd, file in plan.opens:
        page.row("", f"{fd} opens: {shown(file.path, 80) if file is not None else 'the null device'}")
    page.row("name", f"{shown(plan.comm)} (comm), {shown(plan.exe.path)} (exe)")
    page.row("signals", "caught ones go back to their default, ignored ones stay ignored")


def numbers(fds: Sequence[int]) -> str:
    """Descriptors in words.

    >>> numbers([0, 1, 2]), numbers([])
    ('0 1 2', 'none')
    """
    return " ".join(map(str, fds[:20])) + (f" … ({len(fds) - 20} more)" if len(fds) > 20 else "") if fds else "none"


def cred_words(before: Cred, after: Cred) -> list[str]:
    """Ids before and after, a line for each that changes."""
    changed = [
        f"{name} {old} → {new}"
        for name, old, new in zip(before._fields, before, after, strict=True)
        if old != new and name != "groups"
    ]
    same = f"uid {before.ruid}, gid {before.rgid}"
    if before.ruid != before.euid or before.rgid != before.egid:
        same = f"uid {before.ruid} (effective {before.euid}), gid {before.rgid} (effective {before.egid})"
    return [f"{same}: unchanged"] if not changed else [same, *changed]
