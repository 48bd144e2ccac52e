"""The HTML report of a run: one file, everything in it, readable without a network.

`report.write_report` makes it of events; `document.Document` is what it holds, `collect` says what an event adds to it.  The
page is `page.html`, filled with `base.css` (shared with other pages of ring3), `report.css` and the scripts of `js/`.
Invariant: the page asks nobody for anything, and runs no script but its own (its Content-Security-Policy holds their hashes).
"""

from ring3.trace.html.collect import Recorder
from ring3.trace.html.report import write_document, write_report

__all__ = ["Recorder", "write_document", "write_report"]
