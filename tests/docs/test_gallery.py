"""The gallery shows pictures that are there, small enough to keep, and made by the script."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET  # our own pictures
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PICTURES = sorted((ROOT / "docs/pictures").iterdir())
SHOWN = set(re.findall(r"pictures/([\w.-]+)", (ROOT / "docs/gallery.md").read_text(encoding="utf-8")))


def test_all_pictures_are_shown_and_all_that_are_shown_are_there() -> None:
    assert {path.name for path in PICTURES} == SHOWN


def test_they_stay_small() -> None:
    assert sum(path.stat().st_size for path in PICTURES) < 1_500_000


@pytest.mark.parametrize("path", [path for path in PICTURES if path.suffix == ".svg"], ids=lambda path: path.name)
def test_a_drawing_asks_nobody_and_runs_nothing(path: Path) -> None:
    root = ET.parse(path).getroot()
    names = {node.tag.rpartition("}")[2] for node in root.iter()}
    assert names <= {"svg", "rect", "text", "tspan"}


@pytest.mark.parametrize("page", [ROOT / "README.md", *(ROOT / "docs").glob("*.md")], ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text) + re.findall(r'(?:src|srcset)="([^":]+)"', text):
        assert (page.parent / target).exists(), target


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in contents, page.name
    decisions = (ROOT / "docs/tour.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs/decisions").glob("*.md"):
        assert f"](decisions/{page.name})" in decisions, page.name
