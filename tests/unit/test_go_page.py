"""docs/netbsd-go.md: every package is there, every difference has its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.go_tests import PACKAGES, Run, differences, page

TOP = Path(__file__).parents[2]


def outcome(**results: str) -> Run:
    return Run({name.replace("__", "/"): word for name, word in results.items()}, 0, 1.0, "")


def test_the_page_explains_everything() -> None:
    text = (TOP / "docs" / "netbsd-go.md").read_text(encoding="utf-8")
    assert "not understood" not in text
    for package in PACKAGES:
        assert f"| {package} |" in text


def test_a_subtest_is_told_of_where_its_test_is_the_same() -> None:
    native = outcome(TestA="PASS", TestA__one="PASS", TestB="PASS", TestB__one="PASS")
    here = outcome(TestA="FAIL", TestA__one="FAIL", TestB="PASS", TestB__one="SKIP", TestC="PASS")
    assert [row[:3] for row in differences("io", native, here)] == [
        ("TestA", "PASS", "FAIL"), ("TestB/one", "PASS", "SKIP"), ("TestC", "-", "PASS"),
    ]


def test_what_nobody_understood_is_said_so() -> None:
    text = page({"io": (outcome(TestA="PASS"), outcome(TestA="CRASH"))}, "Go is go1")
    assert "| io | TestA | PASS | CRASH | **not understood** |" in text
    assert "not ended 1" in text


@pytest.mark.parametrize(("package", "test"), [("os", "TestPidfdLeak"), ("crypto/sha256", "TestHash/SHA-224/AVX2")])
def test_reasons_are_found_by_pattern(package: str, test: str) -> None:
    rows = list(differences(package, Run({test: "PASS"}, 0, 1.0, ""), Run({}, 0, 1.0, "")))
    assert rows
    assert rows[0][3]
