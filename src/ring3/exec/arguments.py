"""argv and envp: from guest memory (or from ready lists) into the package, bounded before anything is allocated.

The order of errors in `take` is Linux's (fs/exec.c: count, bprm_stack_limits, copy_strings): both vectors are counted,
the limit is worked out, then the strings are taken from the last to the first, environment before arguments.  That in
`take_in_order` is NetBSD's (kern_exec.c): pointer and string by turns, from the first on, until a buffer is full.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from ring3.errors import E2BIG, EFAULT, EINVAL
from ring3.exec.rules import ArgumentLimits
from ring3.vm.region import PAGE
from ring3.vm.vmspace import VMSpace

if TYPE_CHECKING:
    from ring3.exec.package import ExecRequest
    from ring3.proc.proc import Thread

_MAX_POINTERS: Final = 1 << 20          # kept of one vector; more are beyond every limit there is
_MAX_SCAN: Final = 64 << 20             # bytes of a vector that are looked at before it is called too long
_CHUNK: Final = 4 * PAGE


class Budget:
    """What the strings on the new stack have taken so far.  Raises E2BIG."""

    __slots__ = ("limits", "room", "used")

    def __init__(self, limits: ArgumentLimits, pointers: int) -> None:
        self.limits = limits
        self.used = 0
        self.room = limits.total - pointers * 8
        if self.room <= 0:
            raise E2BIG("more pointers than arguments may take")

    def add(self, string: bytes) -> None:
        """One more string, with its zero."""
        nbytes = len(string) + 1
        if nbytes > self.limits.string:
            raise E2BIG("one string is too long")
        self.used += nbytes
        if self.used > self.room:
            raise E2BIG("arguments and environment are too long")
        pages = -(-(self.used + self.limits.reserved) // PAGE)
        if pages > 1 and pages * PAGE > self.limits.stack:
            raise E2BIG("arguments and environment do not fit into the stack")

    def drop(self, string: bytes) -> None:
        """One string less."""
        self.used -= len(string) + 1


class GuestStrings:
    """Pointers and strings in a guest's memory.  Neighbouring strings cost one read of the machine.  Raises EFAULT."""

    __slots__ = ("_data", "_start", "vm")

    def __init__(self, vm: VMSpace) -> None:
        self.vm = vm
        self._start = 0
        self._data = b""

    def pointers(self, addr: int, word_size: int) -> list[int]:
        """The words of a vector up to its zero; of one that is far too long, more than can be allowed."""
        found: list[int] = []
        if not addr:
            return found
        start = addr
        while addr - start < _MAX_SCAN:
            nbytes = max((PAGE - addr % PAGE) // word_size * word_size, word_size)
            data = memoryview(self.vm.copyin(addr, nbytes))
            words = (data.cast("Q") if word_size == 8 else data.cast("I")).tolist()
            if 0 in words:
                found += words[: words.index(0)]
                break
            if len(found) < _MAX_POINTERS:
                found += words
            addr += nbytes
        if any(pointer >= (1 << 64) - 4095 for pointer in found):
            raise EFAULT
        return found

    def each_pointer(self, addr: int, word_size: int) -> Iterator[int]:
        """The words of a vector up to its zero, read no further ahead than a page; none at all at address 0."""
        while addr:
            nbytes = max((PAGE - addr % PAGE) // word_size * word_size, word_size)
            words = memoryview(self.vm.copyin(addr, nbytes)).cast("Q" if word_size == 8 else "I")
            for word in words:
                if not word:
                    return
                yield word
            addr += nbytes

    def string(self, addr: int, limit: int) -> bytes:
        """The string at `addr`, without its zero.  Raises E2BIG when it takes more than `limit` bytes."""
        parts: list[bytes] = []
        length = 0
        while length < limit:
            offset = addr - self._start
            if not 0 <= offset < len(self._data):
                self._fetch(addr)
                offset = addr - self._start
            end = self._data.find(b"\0", offset, offset + limit - length)
            if end >= 0:
                parts.append(self._data[offset:end])
                return b"".join(parts)
            piece = self._data[offset:]
            parts.append(piece)
            length += len(piece)
            addr += len(piece)
        raise E2BIG("one string is too long")

    def _fetch(self, addr: int) -> None:
        region = self.vm.find(addr)
        if region is None or not region.prot or addr >= self.vm.user_top:
            raise EFAULT
        base = addr & -_CHUNK
        start = max(base, region.start)
        end = min(base + _CHUNK, region.end)
        data = self.vm.machine.read(start, end - start)
        if start + len(data) <= addr:
            raise EFAULT
        self._start, self._data = start, data


def take(
    vm: VMSpace | None,
    argv: int | Sequence[bytes],
    envp: int | Sequence[bytes],
    word_size: int,
    limits: ArgumentLimits,
    execfn: bytes,
    empty_argv: tuple[bytes, ...] | None,
) -> tuple[list[bytes], list[bytes], Budget]:
    """The two lists, and what they have taken.  `vm` is whose memory addresses mean.  Raises EFAULT, E2BIG, EINVAL
    (no arguments).
    """
    guest = GuestStrings(vm) if vm is not None else None
    args = argv if not isinstance(argv, int) else _guest(guest).pointers(argv, word_size)
    env = envp if not isinstance(envp, int) else _guest(guest).pointers(envp, word_size)
    if not args and empty_argv is None:
        raise EINVAL("no arguments")
    budget = Budget(limits, max(len(args), 1) + len(env))
    budget.add(execfn)
    envs = _strings(guest, env, budget)
    strings = _strings(guest, args, budget)
    if not strings:
        for string in empty_argv or ():
            budget.add(string)
            strings.append(string)
    return strings, envs, budget


def take_in_order(t: Thread, request: ExecRequest, fakes: list[bytes] | None, room: int) -> tuple[list[bytes], list[bytes]]:
    """The two lists, `fakes` (not checked against the room) in the place of the first argument, which is not looked at then:
    not even whether there is one.  Who watches is told of each string as it is copied, also when the exec fails then.

    Raises EINVAL without an argument vector, EFAULT, E2BIG when the strings with their zeros take more than `room` bytes.
    """
    vm, system = getattr(t.proc, "vm", None), t.system
    guest = GuestStrings(vm) if vm is not None else None
    strings = list(fakes or ())
    room -= sum(map(len, strings)) + len(strings)
    argv, envp = request.argv, request.envp
    if argv == 0 and isinstance(argv, int):
        raise EINVAL("no argument vector")
    if fakes is not None:
        argv = argv + request.word_size if isinstance(argv, int) else argv[1:]
    env: list[bytes] = []
    for source, found in ((argv, strings), (envp, env)):
        items = _guest(guest).each_pointer(source, request.word_size) if isinstance(source, int) else source
        for item in items:
            string = item if isinstance(item, bytes) else _guest(guest).string(item, room)
            room -= len(string) + 1
            if room < 0:
                raise E2BIG("arguments and environment are too long")
            found.append(string)
            if system.instruments:
                system.tell("exec_strings", t, (string,) if found is strings else (), (string,) if found is env else ())
    return strings, env


def _guest(guest: GuestStrings | None) -> GuestStrings:
    assert guest is not None, "an address needs a memory to be in"
    return guest


def _strings(guest: GuestStrings | None, items: Sequence[bytes | int], budget: Budget) -> list[bytes]:
    limit = budget.limits.string
    strings = []
    for item in reversed(items):
        string = item if isinstance(item, bytes) else _guest(guest).string(item, limit)
        budget.add(string)
        strings.append(string)
    strings.reverse()
    return strings
