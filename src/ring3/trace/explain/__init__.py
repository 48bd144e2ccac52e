"""Explain: why an exec does what it does, without doing it.

`explain` (watch.py) runs the real check and plan of `exec/` with a package that notes what happens; the result is an
`Explanation` (model.py), a value.  Everything else describes that value: `text`, `asjson`, `compare`; `stackdump` and
`space` read the plan, `files` says what kind of file something is, `diagnoses` why it failed and what would help.

Invariant: nothing is executed and nothing changes; asking twice gives the same answer for the same randomness. Not
here: making a kernel to ask in (`cli/explain.py`), the rules themselves (`exec/`, `personality/`).
"""

from ring3.trace.explain.model import Explanation
from ring3.trace.explain.watch import explain

__all__ = ["Explanation", "explain"]
