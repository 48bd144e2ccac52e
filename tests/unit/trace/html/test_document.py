"""What a report holds: nothing of a guest can end the element it stands in, and the columns say what happened."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring3.trace.html.document import LONGEST, Document, Head, Span, shown

HEAD = Head("t", ["t"], "linux", "exited with 0", is_good=True, began=None, ns=10)


def read(document: Document, head: Head = HEAD) -> dict[str, Any]:
    text = "".join(document.pieces(head, made_by="test", subjects={"read": 0}, meanings={"ENOENT": "No such file or directory"}))
    found: dict[str, Any] = json.loads(text)
    return found


def started() -> tuple[Document, int, int]:
    document = Document()
    proc = document.process(2, "sh", 0)
    return document, proc, document.thread(proc, 2, 0)


def test_a_call_is_a_row_of_columns() -> None:
    document, _, thread = started()
    first = document.call_began(thread, "read", 100)
    second = document.call_began(thread, "openat", 250)
    document.call_ended(second, 300, '"/x"', "-1 ENOENT", "ENOENT")
    document.call_ended(first, 900, "3, ...", "5")
    found = read(document)
    strings, calls = found["strings"], found["calls"]
    assert calls["at"] == [100, 150]                    # each from the one before
    assert calls["ns"] == [800, 50]
    assert [strings[index] for index in calls["name"]] == ["read", "openat"]
    assert [strings[index] for index in calls["result"]] == ["5", "-1 ENOENT"]
    assert [strings[index] for index in calls["error"]] == ["", "ENOENT"]
    assert found["subjects"] == {str(calls["name"][0]): 0}
    assert found["meanings"] == {"ENOENT": "No such file or directory"}
    assert found["head"]["ns"] == 250                   # a run is not shorter than what was seen of it


def test_a_call_without_an_end_says_so() -> None:
    document, _, thread = started()
    row = document.call_began(thread, "exit_group", 5)
    document.call_said(row, "0", "?")
    assert read(document)["calls"]["ns"] == [-1]


def test_threads_end_with_their_process() -> None:
    document, proc, leader = started()
    early, late = document.thread(proc, 3, 10), document.thread(proc, 4, 20)
    document.thread_ended(early, 30)
    document.process_ended(proc, "exited with 1", 99, is_bad=True)
    found = read(document)
    assert [found["threads"][index]["died"] for index in (leader, early, late)] == [99, 30, 99]
    assert found["procs"][proc]["isBad"] is True


def test_maps_are_in_order_of_addresses() -> None:
    document, _, thread = started()
    document.executed(thread, 1, "/bin/x", ["x"], name="x", after=[Span(8192, 4096, 5, "b"), Span(4096, 4096, 1, "a")])
    exec_ = read(document)["execs"][0]
    assert [region[0] for region in exec_["after"]["regions"]] == [4096, 8192]
    assert exec_["before"] is None


def test_files_add_up_by_path() -> None:
    document, _, _ = started()
    document.file(b"/a").read += 5
    document.file("/a").deeds.add("removed")
    found = read(document)
    assert len(found["files"]) == 1
    assert found["files"][0]["read"] == 5
    assert found["files"][0]["deeds"] == [2]


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_whatever_a_guest_writes_stays_inside(text: str | bytes) -> None:
    document, _, thread = started()
    document.call_ended(document.call_began(thread, "open", 1), 2, shown(text), "0")
    document.file(text)
    document.executed(thread, 1, text, [text], name=text, error="ENOENT")
    head = HEAD._replace(title=shown(text), command=[shown(text)])
    page = "".join(document.pieces(head, made_by="test", subjects={}, meanings={}))
    assert "<" not in page
    assert page.isprintable()
    json.loads(page)
    page.encode()                                       # no half of a surrogate pair


@pytest.mark.parametrize(("text", "seen"), [
    ("plain", "plain"), ("caf\u00e9", "caf\u00e9"), (b"\xff", "\\xff"), ("\udcff", "\\udcff"), ("a\x00b", "a\\x00b"),
    ("\u2028", "\\u2028"),
])
def test_shown(text: str | bytes, seen: str) -> None:
    assert shown(text) == seen


def test_a_string_is_bounded() -> None:
    assert len(shown("x" * 10_000)) <= LONGEST
    assert len(shown("\x01" * 10_000)) <= LONGEST


def test_no_guest_fills_our_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MOST", 3), ("MAPPED", 2), ("RANGES", 4), ("FILES", 3)):
        monkeypatch.setattr(f"ring3.trace.html.document.{name}", value)
    document, _, thread = started()
    for number in range(10):
        document.executed(thread, number, "/x", ["x"], name="x", after=(Span(at, 1, 1, "y") for at in range(50)))
        document.signalled(thread, number, "SIGHUP")
        document.refused(thread, number, "no")
        document.file(f"/{number}").read += 1
    found = read(document)
    assert [len(found[key]) for key in ("execs", "signals", "refusals", "files")] == [3, 3, 3, 3]
    assert [exec_["after"] and len(exec_["after"]["regions"]) for exec_ in found["execs"]] == [4, 4, None]
    assert found["head"]["dropped"] == 28


def test_strings_have_so_much_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ring3.trace.html.document.ROOM", 1000)
    document, _, thread = started()
    for number in range(1000):
        document.call_ended(document.call_began(thread, "open", number), number, f"path number {number}", "0")
    found = read(document)
    assert sum(map(len, found["strings"])) <= 1001
    assert found["strings"][found["calls"]["args"][0]] == "path number 0"
    assert found["strings"][found["calls"]["args"][-1]] == "…"
