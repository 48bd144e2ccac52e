"""Who watches one kernel, and who of them is told of what: found out once, not at every call.

Invariant: an instrument that does not override a hook costs nothing where that hook is told of.  A method that is put into one
later than it was first told of anything is not heard.  Not here: what can be told
(`protocols.Instrument`), what becomes of one that raises (`System.tell`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import is_

from ring3.protocols import Instrument

Listener = tuple[Instrument, Callable[..., object]]


class Instruments(list[Instrument]):
    """A list as any other, in the order in which they are told."""

    def __init__(self) -> None:
        super().__init__()
        self._told: list[Instrument] = []       # those that `_listeners` is about
        self._listeners: dict[str, tuple[Listener, ...]] = {}

    def listening(self, hook: str) -> tuple[Listener, ...]:
        """The instruments that override a hook, each with its method.

        >>> class Exits(Instrument):
        ...     def exit(self, proc): ...
        >>> watchers = Instruments()
        >>> watchers.append(Exits())
        >>> len(watchers.listening("exit")), len(watchers.listening("lookup"))
        (1, 0)
        """
        if len(self._told) != len(self) or not all(map(is_, self._told, self)):
            self._told = list(self)
            self._listeners = {}
        found = self._listeners.get(hook)
        if found is None:
            unheard = getattr(Instrument, hook)
            methods = [(instrument, _method(instrument, hook)) for instrument in self]
            found = tuple((who, method) for who, method in methods if getattr(method, "__func__", None) is not unheard)
            self._listeners[hook] = found
        return found


def _method(instrument: Instrument, hook: str) -> Callable[..., object]:
    """A hook of an instrument; one that raises where asking for it did."""
    try:
        found: Callable[..., object] = getattr(instrument, hook)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - somebody else's code: `System.tell` sees to it
        return partial(_raise, error)
    return found


def _raise(error: BaseException, *_facts: object) -> None:
    raise error
