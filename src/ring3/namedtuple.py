"""`NamedTuple` as typing has it, made in less than half of the time: a cold run makes eighty classes of it.

    class Point(NamedTuple):
        x: int
        y: int = 0

What typing does beyond `collections.namedtuple`, compiling each annotation that is a string, is left to whoever asks for the types
(`typing.get_type_hints`).  Type checkers see typing's own.  Not here: how much that is (docs/benchmarks.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from typing import NamedTuple
else:
    from collections import namedtuple

    _NOT_COPIED: Final = frozenset(("__annotations__", "__dict__", "__module__", "__qualname__", "__weakref__"))

    class _Maker(type):
        """Makes a class of named fields out of a class's body."""

        def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = body.get("__annotations__", {})
            with_value = [field for field in fields if field in body]
            if bases != (NamedTuple,) or with_value != list(fields)[len(fields) - len(with_value) :]:
                raise TypeError(f"{name}: NamedTuple is the only base there can be, and fields with a default come last")
            defaults = [body[field] for field in with_value]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])  # noqa: PYI024 - as above
            made.__annotations__ = fields
            made.__qualname__ = body["__qualname__"]
            for key, value in body.items():
                if key not in _NOT_COPIED and key not in fields:
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Maker):
        """A tuple whose fields have names: those of the class's annotations, with what is assigned to them as defaults."""


__all__ = ["NamedTuple"]
