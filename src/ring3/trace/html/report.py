"""Writing the page: the template, the style, the scripts and the run become one file."""

from __future__ import annotations

import base64
import hashlib
import html
import os
from collections.abc import Callable, Sequence
from string import Template
from typing import Final, TextIO

from ring3.trace.html.collect import Recorder, ending
from ring3.trace.html.document import Document, Head, shown
from ring3.trace.html.subjects import meanings, subjects

_HERE: Final = os.path.dirname(__file__)
STYLES: Final = ("base.css", "report.css")
SCRIPTS: Final = (      # in this order
    "dom", "data", "list", "calls", "timeline", "timekeys", "timemarks", "maps", "programs", "files", "overview", "main",
)


def write_document(
    document: Document, file: TextIO, head: Head, *, made_by: str, progress: Callable[[int], object] = lambda _written: None
) -> None:
    """Write the report of `document` to `file`, text in UTF-8.  `progress` is told how many characters were written so far.

    Raises OSError when `file` cannot be written.
    """
    style = "\n".join(read(name) for name in STYLES)
    script = script_text()
    words = {
        "title": html.escape(shown(head.title)), "generator": html.escape(made_by),
        "summary": html.escape(_summary(document, head)),
        "style": style, "script": script, "style_hash": source_hash(style), "script_hash": source_hash(script),
    }
    before, behind = (Template(half).substitute(words) for half in read("page.html").split("$data"))
    file.write(before)
    written = len(before)
    for piece in document.pieces(head, made_by=made_by, subjects=subjects(), meanings=meanings()):
        file.write(piece)
        written += len(piece)
        progress(written)
    file.write(behind)


def write_report(
    recorder: Recorder, path: str, *, command: Sequence[str], status: int, made_by: str = "ring3",
    progress: Callable[[int], object] = lambda _written: None,
) -> None:
    """Write what `recorder` saw of `command` to the file `path`.

    `status` is the command's return code, minus a signal's number if that ended it.  What could not be written to its end is
    removed.  Raises OSError.
    """
    head = Head(
        title=" ".join(command), command=command, system=", ".join(recorder.systems), is_good=status == 0, began=recorder.began,
        status=ending(-status if status < 0 else status << 8), ns=recorder.last_ns, dropped=recorder.dropped,
    )
    with open(path, "w", encoding="utf-8") as file:
        try:
            write_document(recorder.document, file, head, made_by=made_by, progress=progress)
            file.flush()
        except BaseException:
            if os.path.isfile(path):
                os.unlink(path)
            raise


def read(name: str) -> str:
    """A part of the page, as it stands beside this module."""
    with open(os.path.join(_HERE, name), encoding="utf-8") as file:
        return file.read()


def script_text() -> str:
    """The scripts as one, in a function of their own: nothing of it is global."""
    return '"use strict";\n(() => {\n' + "\n".join(read(f"js/{name}.js") for name in SCRIPTS) + "})();\n"


def source_hash(text: str) -> str:
    """How a Content-Security-Policy names an inline style or script it allows (CSP Level 3, "hash-source")."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _summary(document: Document, head: Head) -> str:
    command = " ".join(shown(word) for word in head.command)
    return f"{command}: {head.status}; {document.call_count} system calls in {head.ns / 1e9:.3f} s."
