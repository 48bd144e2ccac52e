"""The kinds of arguments only SerenityOS has: structs of parameters behind one pointer, and strings with their lengths.

    class OpenParams(NamedTuple):
        dirfd: DirFd
        path: Path
        options: OpenFlag
        mode: Mode

    @syscall(pledge="")
    def sys_open(t: Thread, params: Annotated[OpenParams, Params(OpenParams, "<i4xQQiH2x")]) -> int:

The fields are decoded by their own kinds, in the order of the struct; a string takes two words of it.
Source: Kernel/API/Syscall.h (reference, sections 4.4 and 4.5).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Annotated, Any, Final, get_type_hints

from ring3.calls.sysarg import Decoder, Kind, quote
from ring3.errors import EINVAL, ENAMETOOLONG, Errno
from ring3.proc.proc import Thread
from ring3.protocols import Abi

PATH_MAX: Final = 4096
SHOWN_BYTES: Final = 256


class Text(Kind):
    """A string of a struct: an address and a length.  Decoded to bytes, or None for a null pointer where that is `optional`."""

    def __init__(
        self, limit: int, too_long: type[Errno], *, empty: type[Errno] | None = None, optional: bool = False
    ) -> None:
        self.limit = limit
        self.too_long = too_long
        self.empty = empty
        self.optional = optional

    def read(self, t: Thread, addr: int, nbytes: int) -> bytes | None:
        """The string, up to a zero byte in it.  Raises what it was made with for an empty and for a long one, EFAULT."""
        if self.optional and not addr:
            return None
        if not nbytes and self.empty is not None:
            raise self.empty
        if nbytes > self.limit:
            raise self.too_long
        return copy_text(t, addr, nbytes)

    def show(self, t: Thread, value: Any) -> str:
        return "NULL" if value is None else quote(value[:SHOWN_BYTES], len(value))


class Params(Kind):
    """A struct of parameters: `codes` is its struct(3) format, `record` a NamedTuple whose fields say their kinds.

    Raises EFAULT while decoding, and what the kinds of its fields raise.
    """

    def __init__(self, record: Any, codes: str) -> None:
        self.record = record
        self.struct = struct.Struct(codes)
        self._kinds: tuple[Kind, ...] | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Of each field, in order.  Raises TypeError for a field without one."""
        if self._kinds is None:
            found = []
            for name, hint in get_type_hints(self.record, include_extras=True).items():
                kinds = [kind for kind in getattr(hint, "__metadata__", ()) if isinstance(kind, Kind)]
                if len(kinds) != 1:
                    raise TypeError(f"{self.record.__name__}: field {name} has no Kind")
                found.append(kinds[0])
            self._kinds = tuple(found)
        return self._kinds

    def compile(self, abi: Abi) -> Decoder:
        readers: list[Callable[[Thread, tuple[int, ...]], Any]] = []
        place = 0
        for kind in self.kinds:
            readers.append(_reader(kind, place, abi))
            place += 2 if isinstance(kind, Text) else 1
        unpack, size, make = self.struct.unpack, self.struct.size, self.record._make

        def decode(t: Thread, word: int) -> Any:
            words = unpack(t.proc.vm.copyin(word, size))
            return make([reader(t, words) for reader in readers])

        return decode

    def show(self, t: Thread, value: Any) -> str:
        return self._shown(value, lambda kind, field, behind: kind.show_beside(t, field, behind))

    def show_result(self, t: Thread, value: Any, result: int) -> str | None:
        """The same when the call is over; who prints in another way takes `Kind`'s back."""
        def show(kind: Kind, field: Any, behind: Any) -> str:
            filled = kind.show_result_beside(t, field, behind, result)
            return kind.show_beside(t, field, behind) if filled is None else filled

        return self._shown(value, show)

    def _shown(self, value: Any, show: Callable[[Kind, Any, Any], str]) -> str:
        """The fields by their names; each may look at the one behind it."""
        fields = zip(self.record._fields, self.kinds, value, (*value, None)[1:], strict=True)
        return "{" + ", ".join(f"{name}={show(kind, field, behind)}" for name, kind, field, behind in fields) + "}"


def _reader(kind: Kind, place: int, abi: Abi) -> Callable[[Thread, tuple[int, ...]], Any]:
    if isinstance(kind, Text):
        return lambda t, words: kind.read(t, words[place], words[place + 1])
    decode = kind.compile(abi)
    return lambda t, words: decode(t, words[place])


def copy_text(t: Thread, addr: int, nbytes: int) -> bytes:
    """A string of at most `nbytes` bytes, up to a zero byte in it (try_copy_kstring_from_user).  Raises EFAULT.

    The caller has bounded `nbytes`.
    """
    return t.proc.vm.copyin(addr, nbytes).partition(b"\0")[0] if nbytes else b""


def copy_path(t: Thread, addr: int, nbytes: int) -> bytes:
    """A path.  Raises EINVAL for an empty one, ENAMETOOLONG, EFAULT (get_syscall_path_argument)."""
    found = PATH.read(t, addr, nbytes)
    assert found is not None
    return found


PATH: Final = Text(PATH_MAX, ENAMETOOLONG, empty=EINVAL)
Path = Annotated[bytes, PATH]
