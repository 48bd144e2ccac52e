"""Pages: hostile names do no harm, widths are kept, colours only where asked for; and the parts a plan is shown by."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest

from ring3.abi.flags import MountFlags
from ring3.personality.linux import linux_personality
from ring3.trace.explain.asjson import FORMAT, dumps
from ring3.trace.explain.compare import compare, topics
from ring3.trace.explain.model import Explanation, FormatSaid
from ring3.trace.explain.page import Page
from ring3.trace.explain.space import areas, cells, objects
from ring3.trace.explain.stackdump import dump, registers
from ring3.trace.explain.text import render
from ring3.trace.explain.words import columns_of, command, quoted, shown
from tests.unit.exec.images import DATA, load, pie, pie_interpreted, program
from tests.unit.exec.test_serenity_rows import GOOD
from tests.unit.trace.explain.guest import USER, Guest

HOSTILE = b"/\x1b[2J\x07\xff\xe2\x80\xae\nevil\x9b"


def test_hostile_names_are_escaped(guest: Guest) -> None:
    guest.file("/bin/\x1b]0;evil\x07", b"#!/no/\x1b[31m\x00such\n")
    guest.link("/l", "/\x1b[2J")
    for found in (
        guest.explain(HOSTILE),
        guest.explain("/bin/\x1b]0;evil\x07", b"\x1b[A\xff"),
        guest.explain("/l"),
        guest.explain(b"\x1bc"),
    ):
        text = render(found, 100)
        assert all(letter.isprintable() or letter == "\n" for letter in text)
        assert "\\x1b" in text
        json.loads(dumps([found]))


def test_long_names_are_cut(guest: Guest) -> None:
    guest.file("/x", b"#!/" + b"a" * 200 + b"\n")
    guest.file("/y", program())
    for found in (guest.explain("/x"), guest.explain("/" + "b" * 4000), guest.explain("/y", *["c" * 1000] * 500)):
        assert len(render(found, 100)) < 30_000


@pytest.mark.parametrize("width", [20, 60, 80, 100, 140, 200])
def test_widths_are_kept(guest: Guest, width: int) -> None:
    guest.shell()
    guest.file("/lib64/ld-linux-x86-64.so.2", pie())
    guest.file(
        "/very/long/directory/names/that/go/on/and/on/and/on/for/ever/and/ever/program",
        pie_interpreted(b"/lib64/ld-linux-x86-64.so.2"),
    )
    guest.link("/short", "/very/long/directory/names/that/go/on/and/on/and/on/for/ever/and/ever/program")
    for found in (guest.explain("/short", "x" * 300, "日本語" * 40), guest.explain("/no/such")):
        lines = render(found, width).splitlines()[1:]       # the verdict's line is for copying: it is not cut
        assert max(map(columns_of, lines)) <= max(width, 48) + 6


def test_colours_only_where_asked_for(guest: Guest) -> None:
    guest.file("/x", program())
    found = guest.explain("/x")
    plain, coloured = render(found, 100), render(found, 100, colour=True)
    assert "\x1b" not in plain
    assert "\x1b[32m" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == plain


def test_long_lists_are_folded(guest: Guest) -> None:
    guest.file("/x", program())
    found = guest.explain("/x", *[f"a{number}" for number in range(100)])
    folded, whole = render(found, 100), render(found, 100, everything=True)
    assert "more lines (--all shows every one)" in folded
    assert '"a50"' not in folded
    assert '"a50"' in whole
    guest.file("/usr/share/deep/x", program())
    deep = guest.explain("/usr/share/deep/x")
    assert "/usr/share  " not in render(deep, 100)
    assert re.search(r"/usr/share +directory, 0755 0:0\n", render(deep, 100, everything=True))


def test_the_page_says_each_thing(guest: Guest) -> None:
    guest.shell()
    guest.mount("/mnt", MountFlags.NOSUID)
    guest.file("/mnt/x", b"#!/usr/bin/env sh\n")
    text = render(guest.explain("/mnt/x", "y"), 140)
    for words in ("would run as  /usr/bin/env sh /mnt/x y", "look-up     /mnt/x", "mount point", "may be executed", "2 arguments",
                  "23 21 2f 75", "elf64         mine: ET_EXEC", "AT_GID: real group", "hop 1 of at most 5", "vmcmds",
                  "the end of user memory", "stack",
                  "AT_RANDOM",
                  "argc: rsp points here", "registers", "uid 0, gid 0: unchanged", "set-id", "pledge"):
        assert words in text, words


def test_a_set_id_program_tells_ids_before_and_after(guest: Guest) -> None:
    guest.file("/x", program(), 0o4755, 33)
    text = render(guest.explain("/x", cred=USER), 100)
    assert "euid 1000 → 33" in text
    assert "AT_SECURE is 1" in text
    guest.mount("/mnt", MountFlags.NOSUID)
    guest.file("/mnt/x", program(), 0o4755, 33)
    text = render(guest.explain("/mnt/x", cred=USER), 100)
    assert "its mount is nosuid" in text
    assert "unchanged" in text


# --- parts

def test_the_stack_dump_leaves_nothing_out(guest: Guest) -> None:
    guest.file("/x", program())
    plan = guest.explain("/x", "one", "two", env={b"K": b"v"}).plan
    assert plan is not None
    items = dump(plan)
    assert items[0].addr == plan.stack.sp
    assert all(one.addr + one.length == two.addr for one, two in pairwise(items))
    assert items[-1].addr + items[-1].length == plan.layout.stack_top
    labels = [item.label for item in items]
    assert labels[:8] == ["argc", "argv[0]", "argv[1]", "argv[2]", "argv[3]", "envp[0]", "envp[1]", "AT_SYSINFO_EHDR"]
    strings = {item.label: item.data for item in items if item.kind == "string"}
    assert strings == {"argv[0]": b"/x", "argv[1]": b"one", "argv[2]": b"two", "envp[0]": b"K=v", "AT_EXECFN": b"/x",
                       "AT_PLATFORM": b"x86_64"}
    assert "rsp points here" in items[0].meaning


def test_a_stack_whose_count_comes_in_a_register(guest: Guest) -> None:
    """SerenityOS: no argc on the stack; rdi has it, rsi and rdx point at the vectors; no heap, and a stack of one size."""
    guest.file("/x", GOOD)
    found = guest.explain("/x", "one", "two", env={b"K": b"v" * 3}, t=guest.process(personality="serenity"))
    plan = found.plan
    assert plan is not None
    items = dump(plan)
    assert all(one.addr + one.length == two.addr for one, two in pairwise(items))
    labels = [item.label for item in items if item.label != "gap"]
    assert labels[:7] == ["argv[0]", "argv[1]", "argv[2]", "argv[3]", "envp[0]", "envp[1]", "AT_PAGESZ"]
    assert {"AT_GID", "AT_EGID", "AT_IGNORE"} <= set(labels)
    strings = {item.label: item.data for item in items if item.kind == "string"}
    assert (strings["argv[1]"], strings["envp[0]"], strings["AT_EXECFN"]) == (b"one", b"K=vvv", b"/x")
    meanings = {item.label: item.meaning for item in items if item.kind == "word"}
    assert "rsi" in meanings["argv[0]"]
    assert meanings["envp[0]"] == "rdx points here"
    text = render(found, 100)
    assert re.search(r"rdi +3 +argc\n", text)
    assert re.search(r"rsp +[0-9a-f]+ +the end of the stack\n", text)
    assert "argc stands here" not in text
    assert "there is no heap" in text
    assert "the stack does not grow" in text
    data = next(item for item in objects(plan.vmcmds) if item.name.endswith(b"(data-rw)"))
    assert [area.start % 4096 for area in data.areas] == [0]          # what is read into it does not part it


def test_padding_between_strings_does_not_part_them(guest: Guest) -> None:
    guest.file("/x", GOOD)
    env = {b"N%d" % number: b"v" * number for number in range(30)}
    t = guest.process(personality="serenity")
    text = render(guest.explain("/x", env=env, t=t), 100)
    assert text.count("more lines (--all shows every one)") == 2       # the strings, and the pointers
    assert "zero bytes                 gap" not in text.partition("envp[0]")[2].partition("envp[29]")[0]


def test_what_a_program_prints_of_an_explanation_is_short(guest: Guest) -> None:
    guest.file("/x", program())
    found = guest.explain("/x", env={b"SECRET": b"word"})
    assert repr(found) == "<Explanation of b'/x' for linux: runs>"
    assert repr(guest.explain("/no")) == "<Explanation of b'/no' for linux: refused ENOENT>"
    assert str(found) == found.text()


def test_a_stack_of_another_shape_is_bytes(guest: Guest) -> None:
    guest.file("/x", program())
    plan = guest.explain("/x").plan
    assert plan is not None
    odd = plan._replace(stack=plan.stack._replace(data=b"\x07" * 100))
    assert [item.kind for item in dump(odd)] == ["bytes"]
    assert dump(plan._replace(stack=plan.stack._replace(data=b""))) == []


def test_areas_are_what_the_commands_leave(guest: Guest) -> None:
    guest.file("/x", program(load(0x401000, filesz=0x10, memsz=0x3000, flags=DATA)))
    plan = guest.explain("/x").plan
    assert plan is not None
    found = areas(plan.vmcmds)
    assert all(one.end <= two.start for one, two in pairwise(found))
    assert [item.name for item in objects(plan.vmcmds)] == [b"/x", b"[vdso]", b"[stack]"]
    assert next(area for area in found if area.start <= 0x401000 < area.end).prot == 3


def test_a_bar_is_to_scale_and_shows_everything(guest: Guest) -> None:
    guest.file("/x", program(load(0x480000, filesz=0x10, memsz=0x40000, flags=DATA)))
    plan = guest.explain("/x").plan
    assert plan is not None
    item = objects(plan.vmcmds)[0]
    for width in (1, 2, 3, 8, 32, 100):
        counts = cells(item.areas, width)
        assert sum(count for _, count in counts) == max(width, 1) or len(counts) > width
        assert all(count >= 1 for _, count in counts)


def test_registers_have_names(guest: Guest) -> None:
    guest.file("/x", program())
    plan = guest.explain("/x").plan
    assert plan is not None
    assert dict(registers(plan)) == {"rip": plan.start, "rsp": plan.stack.sp, "eflags": 0x202, "ss": 0x2B, "cs": 0x33}


# --- JSON

def test_json_holds_the_same(guest: Guest) -> None:
    guest.shell()
    guest.file("/x", b"#!/bin/sh\n")
    read = json.loads(dumps([guest.explain("/x"), guest.explain("/nothing")]))
    assert read["format"] == FORMAT
    good, bad = read["explanations"]
    assert (good["outcome"], good["error"], good["diagnosis"], good["plan"]["executable"]) == ("runs", None, None, "/bin/sh")
    assert good["plan"]["argv"] == ["/bin/sh", "/x"]
    assert [event["event"] for event in good["events"]][:2] == ["look-up", "check"]
    assert good["events"][0]["file"]["mode"] == "0755"
    assert (bad["outcome"], bad["error"], bad["plan"], bad["diagnosis"]["key"]) == ("refused", "ENOENT", None, "missing")


def test_json_keeps_every_byte_of_a_name(guest: Guest) -> None:
    read = json.loads(dumps([guest.explain(b"/\xff\x1b")]))
    assert read["explanations"][0]["path"].encode("utf-8", "surrogateescape") == b"/\xff\x1b"


# --- beside each other

@pytest.fixture
def two(guest: Guest) -> Guest:
    """A guest in which a second system is known: one that allows fewer scripts in a row."""
    other = linux_personality()
    other.name = "other"
    other.exec = other.exec._replace(max_depth=2)
    guest.system.personalities["other"] = other
    guest.shell()
    return guest


def test_the_same_is_not_marked(two: Guest) -> None:
    two.file("/x", program())
    both = [two.explain("/x", t=two.process(personality=name)) for name in ("linux", "other")]
    assert not [topic for topic in topics(both) if topic.differs]
    for width in (80, 160):
        text = compare(both, width)
        assert "nothing differs but addresses" in text
        assert text.count("≠") == 1
        assert text.count("would run") == 1         # what both say is said once
        assert re.search(r"^  = outcome +would run$", text, re.MULTILINE)


def guest_formats(found: Explanation) -> list[FormatSaid]:
    return [event for event in found.events if isinstance(event, FormatSaid)]


def test_differences_are_marked(two: Guest) -> None:
    two.file("/x", b"#!/y\n")
    two.file("/y", b"#!/bin/sh\n")
    both = [two.explain("/x", t=two.process(personality=name)) for name in ("linux", "other")]
    assert [found.error for found in both] == ["", "ELOOP"]
    assert sum(topic.name == "format" for topic in topics(both)) < len(guest_formats(both[0]))
    named = {topic.name for topic in topics(both) if topic.differs}
    assert {"outcome", "runs", "why", "script"} <= named
    wide, narrow = compare(both, 160), compare(both, 80)
    assert "≠ outcome" in wide
    assert re.search(r"would run +ELOOP", wide)
    assert re.search(r"linux +would run\n +other +ELOOP", narrow)
    assert max(map(columns_of, narrow.splitlines())) <= 86


# --- words

def test_words() -> None:
    assert shown(b"a\tb\x00\xc2\x85") == "a\\tb\\x00\\x85"
    assert quoted(b"\xe2\x80\xae") == "$'\\u202e'"
    assert command([b"x"] * 20) == "x " * 12 + "… (8 more)"
    assert columns_of("日本") == 4


def test_a_page_keeps_its_second_column() -> None:
    page = Page(80, colour=False)
    page.row("label", "left", "right", at=20)
    page.row("", "a left side that is longer than its column", "right", at=20)
    assert page.lines[0] == "  label       left                right"
    assert page.lines[1] == "              a left side that is longer than its column  right"
