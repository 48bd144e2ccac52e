"""The page: one file, with the hashes of what it runs, filled without surprises."""

from __future__ import annotations

import hashlib
import io
import re
from base64 import b64encode
from pathlib import Path

import pytest

from ring3.trace.html.collect import Recorder
from ring3.trace.html.document import Head
from ring3.trace.html.report import SCRIPTS, read, script_text, write_document, write_report
from ring3.trace.html.subjects import SUBJECTS, meanings, subjects

HOSTILE = "</title></script>$data$script<script>alert(1)</script>"
HEAD = Head(HOSTILE, [HOSTILE], HOSTILE, HOSTILE, is_good=True, began=1.0, ns=1)


def page() -> str:
    recorder = Recorder()
    file = io.StringIO()
    write_document(recorder.document, file, HEAD, made_by=HOSTILE)
    return file.getvalue()


def test_the_page_asks_nobody() -> None:
    text = page()
    assert not re.findall(r"""(?:src|href)=["'](?!data:,|#)[^"']*""", text.replace(script_text(), ""))
    assert not re.findall(r"https?://(?!www\.w3\.org/)", text)
    assert "@import" not in text
    assert "default-src 'none'" in text


def test_a_hostile_title_is_text() -> None:
    text = page()
    assert text.count("<script") == 2
    assert text.count("</script>") == 2
    assert "&lt;/title&gt;" in text


def test_the_policy_names_the_script_that_is_there() -> None:
    text = page()
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[-1]
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)[0]
    for part in (script, style):
        assert b64encode(hashlib.sha256(part.encode()).digest()).decode() in text


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_makes_html_of_text(name: str) -> None:
    ways = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|fetch\(|XMLHttp"
    assert not re.findall(ways, read(f"js/{name}.js"))


def test_every_script_is_in_the_list() -> None:
    here = Path(__file__).parents[4] / "src/ring3/trace/html/js"
    assert {path.stem for path in here.glob("*.js")} == set(SCRIPTS)


def test_no_script_of_the_page_is_longer_than_a_module() -> None:
    assert all(len(read(f"js/{name}.js").splitlines()) <= 420 for name in SCRIPTS)


def test_progress_is_told_how_far_it_is() -> None:
    told: list[int] = []
    write_document(Recorder().document, io.StringIO(), HEAD, made_by="test", progress=told.append)
    assert told == sorted(told)
    assert told[-1] > 0


def test_a_page_that_cannot_be_finished_is_removed(tmp_path: Path) -> None:
    def fail(_written: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "run.html"
    with pytest.raises(OSError, match="No space"):
        write_report(Recorder(), str(path), command=["x"], status=0, progress=fail)
    assert not path.exists()


def test_what_is_no_file_is_left_alone() -> None:
    def fail(_written: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_report(Recorder(), "/dev/null", command=["x"], status=0, progress=fail)
    assert Path("/dev/null").is_char_device()


def test_every_call_has_a_subject() -> None:
    found = subjects()
    assert {SUBJECTS[found[name]] for name in ("openat", "read", "fchown")} == {"file"}
    assert SUBJECTS[found["mmap"]] == "memory"
    assert SUBJECTS[found["socket"]] == "network"
    assert SUBJECTS[found["wait4"]] == "process"
    assert meanings()["ENOENT"] == "No such file or directory"
