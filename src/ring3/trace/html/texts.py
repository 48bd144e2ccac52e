"""A table of strings for a report: millions of them, most of which occur once.

Strings stand one behind the other in one piece of memory, and go by a number.  What was added lately is found again and not kept
twice; a string that comes back after many others may be there again under another number, but for those that are added to stay.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Final

_RECENT: Final = 1 << 15        # strings that are found again


class Texts:
    """Strings by their numbers; number 0 is the empty one.

    >>> texts = Texts()
    >>> texts.add("read"), texts.add("write"), texts.add("read"), texts[2], len(texts)
    (1, 2, 1, 'write', 3)
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._ends = array("Q", [0])
        self._stay: dict[str, int] = {"": 0}
        self._recent: dict[str, int] = {}

    def add(self, text: str, *, stays: bool = False) -> int:
        """The number of a string, which is added where it is not known.  One that `stays` has the same number for ever."""
        known = self._stay.get(text)
        if known is None and not stays:
            known = self._recent.get(text)
        if known is not None:
            return known
        self._data += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._data))
        number = len(self._ends) - 1
        if stays:
            self._stay[text] = number
        else:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            self._recent[text] = number
        return number

    def knows(self, text: str) -> bool:
        """Whether adding it would take no room."""
        return text in self._recent or text in self._stay

    def __getitem__(self, number: int) -> str:
        begin = self._ends[number - 1] if number else 0
        return self._data[begin : self._ends[number]].decode("utf-8", "surrogatepass")

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[str]:
        return (self[number] for number in range(len(self._ends)))
