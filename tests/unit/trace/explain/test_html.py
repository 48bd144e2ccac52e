"""The page: one file that asks nobody for anything, whatever the names in it are."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ring3.personality.linux import linux_personality
from ring3.trace.explain.ashtml import page
from tests.unit.exec.images import pie, program
from tests.unit.trace.explain.guest import Guest

VOID = {"meta", "link", "br", "rect"}


class Reader(HTMLParser):
    """Tags that were opened and not closed, those met, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID or (tag == "rect" and not self.get_starttag_text().endswith("/>")):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def test_one_file_without_a_network_or_a_script(guest: Guest) -> None:
    guest.shell()
    guest.file("/x", b"#!/bin/sh\n")
    text = page([guest.explain("/x", "y")])
    found = read(text)
    assert not found.tags & {"script", "iframe", "img", "object", "form", "base"}
    assert [value for name, value in found.attributes if name in ("href", "src")] == ["data:,"]
    assert not [name for name, _ in found.attributes if name == "style" or name.startswith("on")]
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "url(" not in text
    for words in ("would run", "/bin/sh /x y", "Address space", "Stack, from the top", "AT_RANDOM", "What would change it"):
        assert words in found.text


def test_the_policy_allows_this_style_and_no_other(guest: Guest) -> None:
    guest.file("/x", program())
    text = page([guest.explain("/x")])
    style = text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'" in text


def test_hostile_names_are_text(guest: Guest) -> None:
    name = "/<script>alert(1)</script>&\"'\x1b[2J"
    script = guest.file("/dir" + name.replace("/", "_"), b"#!<b>/no\n")
    for found in (guest.explain(name), guest.explain(script, "<img src=x onerror=y>", env={b"<i>": b"</td>"})):
        reader = read(page([found]))
        assert not reader.tags & {"script", "img", "i"}
        assert "\x1b" not in reader.text
        assert "<script>" in reader.text


def test_a_failure_says_why_first(guest: Guest) -> None:
    found = read(page([guest.explain("/no/such")]))
    assert found.text.index("Why") < found.text.index("What happens")
    assert "there is no no in /" in found.text


def test_two_systems(guest: Guest) -> None:
    other = linux_personality()
    other.name = "other"
    other.exec = other.exec._replace(max_depth=1)
    guest.system.personalities["other"] = other
    guest.shell()
    guest.file("/x", b"#!/bin/sh\n")
    text = page([guest.explain("/x", t=guest.process(personality=name)) for name in ("linux", "other")])
    assert "Beside each other" in read(text).text
    assert 'class="differs"' in text
    assert 'class="same"' in text


def test_a_large_program_makes_no_large_page(guest: Guest) -> None:
    guest.file("/x", pie())
    text = page([guest.explain("/x", *["a"] * 30_000)])
    assert len(text) < 8_000_000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
@pytest.mark.timeout(200)
def test_a_browser_shows_it(guest: Guest, tmp_path: Path) -> None:
    guest.file("/x", program())
    where = tmp_path / "page.html"
    where.write_text(page([guest.explain("/x"), guest.explain("/no")]), encoding="utf-8")
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
        f"--user-data-dir={tmp_path}/profile", "--enable-logging=stderr", "--dump-dom", f"file://{where}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert "would run" in done.stdout
    assert "CONSOLE" not in done.stderr         # what a browser refuses by the page's policy, it says there
