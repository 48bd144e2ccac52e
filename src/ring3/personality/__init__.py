"""How programs of each system see the kernel: one folder a system, each exporting one function that builds its record.

`Personalities` is what a kernel starts with: every name of `BUILTIN` is there at once, its record is built (and its modules are
imported) when somebody first asks for it.  A kernel that runs Linux programs never imports the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ring3.protocols import Personality

# Name -> the module and the function in it that builds a fresh record.  The first is what the kernel itself speaks.
BUILTIN: Final[Mapping[str, tuple[str, str]]] = MappingProxyType({
    "linux": ("ring3.personality.linux", "linux_personality"),
    "netbsd": ("ring3.personality.netbsd", "netbsd_personality"),
    "netbsd32": ("ring3.personality.netbsd", "netbsd32_personality"),
    "serenity": ("ring3.personality.serenity", "serenity_personality"),
})


class Personalities(MutableMapping[str, "Personality"]):
    """The personalities of one kernel by name; built-in ones come to be when first looked up.

    >>> known = Personalities()
    >>> "linux" in known, known["linux"].sysname
    (True, 'Linux')
    """

    __slots__ = ("_built", "_makers", "_told")

    def __init__(
        self, makers: Mapping[str, tuple[str, str]] = BUILTIN, told: Callable[[Personality], None] | None = None
    ) -> None:
        self._makers = makers
        self._told = told               # hears of each record before anybody has it
        self._built: dict[str, Personality | None] = dict.fromkeys(makers)

    def __getitem__(self, name: str) -> Personality:
        found = self._built[name]
        if found is None:
            module, maker = self._makers[name]
            found = getattr(import_module(module), maker)()
            self[name] = found
        return found

    def __setitem__(self, name: str, personality: Personality) -> None:
        if self._told is not None:
            self._told(personality)
        self._built[name] = personality

    def __delitem__(self, name: str) -> None:
        del self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in self._built

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._built))

    def __len__(self) -> int:
        return len(self._built)
