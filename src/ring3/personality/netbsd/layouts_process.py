"""NetBSD's structs of the calls about processes, signals, memory and clocks: neutral record (or marker) to layout.

`layouts(numbers, word_size)` makes them for one record of the personality, since signal numbers are translated in them.  Not here:
ucontexts and frames (`context64.py`, `sigframe64.py` …), structs of files (`layouts_files.py`).
Sources: sys/{signal,siginfo,sigtypes,time,timespec,resource,ucontext}.h; offsets recomputed for both word sizes.
"""

from __future__ import annotations

import struct
from typing import Any

from ring3.abi.filerecords import RawTimespec, RawTimeval, Seconds, TimerSpec
from ring3.abi.layout import Custom, Layout
from ring3.abi.procrecords import (
    Int32,
    ITimerVal,
    Rlimits,
    Rusage,
    SigEvent,
    SigSet,
    UInt32,
    WaitStatus,
    Word,
    Wrusage,
)
from ring3.abi.records import Timespec, Timespec64, Timeval
from ring3.abi.signals import (
    SI_KERNEL,
    SI_TIMER,
    SI_USER,
    SS_DISABLE,
    SS_ONSTACK,
    AltStack,
    SaFlags,
    SigAction,
    SigInfo,
    Signal,
)
from ring3.abi.spawnrecords import SpawnAction, SpawnActions, SpawnAttr
from ring3.errors import EINVAL
from ring3.personality.netbsd.signals import NSIG, SignalNumbers, flags_inward, flags_outward

_SECOND = 1_000_000_000
_NS_MAX = (1 << 63) - 1
_MASK32 = 0xFFFF_FFFF
_INFINITY = (1 << 63) - 1                # RLIM_INFINITY
_FAULTS = frozenset((Signal.SIGILL, Signal.SIGFPE, Signal.SIGSEGV, Signal.SIGBUS, Signal.SIGTRAP))
_KNOWN_SA = 0xFF
BAD_FLAGS = 1 << 31                      # in a decoded SigAction or AltStack: flags NetBSD does not know


def _no_decoding(_data: bytes) -> Any:
    raise NotImplementedError("the kernel only writes this struct")


# --- signals
class SigSetLayout:
    """sigset_t: four words of 32 bits; the third and fourth hold no signal."""

    __slots__ = ("_numbers", "size")

    def __init__(self, numbers: SignalNumbers) -> None:
        self._numbers = numbers
        self.size = 16

    def decode(self, data: bytes) -> int:
        """The kernel's mask."""
        return self._numbers.mask_inward(int.from_bytes(data[:8], "little") & (1 << (NSIG - 1)) - 1)

    def encode(self, mask: int) -> bytes:
        """All 16 bytes."""
        return self._numbers.mask_outward(mask).to_bytes(16, "little")


class SiginfoLayout:
    """siginfo_t: 128 bytes, of which signal, code, error and reason are used."""

    __slots__ = ("_base", "_child", "_fault", "_numbers", "_poll", "_queued", "_wide", "size")

    def __init__(self, numbers: SignalNumbers, word_size: int) -> None:
        self._numbers = numbers
        self._wide = word_size == 8
        self.size = 128
        self._base = 16 if self._wide else 12
        self._queued = struct.Struct("<iIQ" if self._wide else "<iII")
        self._child = struct.Struct("<iIiII")
        self._fault = struct.Struct("<QIII" if self._wide else "<IIII")
        self._poll = struct.Struct("<qi" if self._wide else "<ii")

    def encode(self, info: SigInfo) -> bytes:
        """All 128 bytes, zero where nothing is."""
        data = bytearray(128)
        code = self._numbers.code_outward(info.signo, info.code)
        struct.pack_into("<iii", data, 0, self._numbers.outward(info.signo), code, info.errno)
        word = (1 << 64) - 1 if self._wide else _MASK32
        base = self._base
        if info.signo in _FAULTS and SI_USER < info.code <= SI_KERNEL:
            self._fault.pack_into(data, base, info.addr & word, info.trapno, 0, 0)
        elif info.signo == Signal.SIGCHLD and info.code > SI_USER:
            status = info.status if info.code == 1 else self._numbers.outward(info.status & 0x7F)
            self._child.pack_into(
                data, base, info.pid, info.uid & _MASK32, status, info.utime & _MASK32, info.stime & _MASK32
            )
        elif info.signo == Signal.SIGIO and info.code > SI_USER:
            self._poll.pack_into(data, base, info.band, info.fd)
        elif info.code == SI_TIMER:
            self._queued.pack_into(data, base, 0, 0, info.value & word)
        else:
            self._queued.pack_into(data, base, info.pid, info.uid & _MASK32, info.value & word)
        return bytes(data)

    def decode(self, data: bytes) -> SigInfo:
        """What a program queues (sigqueueinfo): signal, code, ids and value."""
        number, code, errno = struct.unpack_from("<iii", data)
        pid, uid, value = self._queued.unpack_from(data, self._base)
        return SigInfo(self._numbers.inward(number), self._numbers.code_inward(code), errno, pid=pid, uid=uid, value=value)


def _action(numbers: SignalNumbers, word_size: int) -> Custom:
    """struct sigaction; the trampoline is an argument of its own (__sigaction_sigtramp)."""
    form = struct.Struct("<Q16si4x" if word_size == 8 else "<I16si")

    def decode(data: bytes) -> SigAction:
        handler, mask, flags = form.unpack(data)
        neutral = flags_inward(flags)
        if flags & ~_KNOWN_SA:
            neutral |= 1 << 40
        return SigAction(handler, neutral, 0, numbers.mask_inward(int.from_bytes(mask[:8], "little")))

    def encode(action: SigAction) -> bytes:
        return form.pack(
            action.handler, numbers.mask_outward(action.mask).to_bytes(16, "little"),
            flags_outward(action.flags & ~SaFlags.RESTORER),
        )

    return Custom(form.size, decode, encode)


def unknown_action_flags(action: SigAction) -> bool:
    """Whether a decoded action had flags that NetBSD does not know."""
    return bool(action.flags >> 40)


def _alt_stack(word_size: int) -> Custom:
    """stack_t: SS_DISABLE is 4 here."""
    form = struct.Struct("<QQi4x" if word_size == 8 else "<IIi")

    def decode(data: bytes) -> AltStack:
        base, size, flags = form.unpack(data)
        neutral = (SS_ONSTACK if flags & 1 else 0) | (SS_DISABLE if flags & 4 else 0)
        return AltStack(base, neutral | (BAD_FLAGS if flags & ~5 else 0), size)

    def encode(stack: AltStack) -> bytes:
        return form.pack(stack.base, stack.size, (1 if stack.flags & SS_ONSTACK else 0) | (4 if stack.flags & SS_DISABLE else 0))

    return Custom(form.size, decode, encode)


def _event(numbers: SignalNumbers, word_size: int) -> Custom:
    """struct sigevent: SIGEV_NONE 0, SIGEV_SIGNAL 1, SIGEV_THREAD 2 (Linux: 1, 0, 2)."""
    form = struct.Struct("<iiQ" if word_size == 8 else "<iiI")
    kinds = {0: 1, 1: 0, 2: 2}

    def decode(data: bytes) -> SigEvent:
        notify, number, value = form.unpack_from(data)
        return SigEvent(value, numbers.inward(number), kinds.get(notify, -1), 0)

    return Custom(32 if word_size == 8 else 20, decode, _no_decoding)


# --- times
def _times(codes: str, unit: int, *, checked: bool) -> Custom:
    """Seconds and a fraction of `unit` parts ↔ ns, EINVAL for what is no time; or ↔ `Seconds` when nothing is to be `checked`."""
    form = struct.Struct(codes)
    per = _SECOND // unit

    if not checked:
        return Custom(form.size, lambda data: Seconds(*form.unpack(data)), lambda value: form.pack(*value))

    def decode(data: bytes) -> int:
        seconds, parts = form.unpack(data)
        if seconds < 0 or not 0 <= parts < unit:
            raise EINVAL
        return min(int(seconds) * _SECOND + int(parts) * per, _NS_MAX)

    def encode(ns: int) -> bytes:
        seconds, rest = divmod(ns, _SECOND)
        return form.pack(seconds, rest // per)

    return Custom(form.size, decode, encode)


def _pair(one: Custom, record: Any) -> Custom:
    """Two times in a row: itimerval, itimerspec."""
    def decode(data: bytes) -> Any:
        return record(one.decode(data[: one.size]), one.decode(data[one.size :]))

    return Custom(2 * one.size, decode, lambda value: one.encode(value[0]) + one.encode(value[1]))


# --- integers and limits
def _integer(codes: str) -> Custom:
    """One integer; what is too wide is cut."""
    form = struct.Struct(codes)
    mask = (1 << (8 * form.size)) - 1
    signed = codes[-1].islower()
    sign = 1 << (8 * form.size - 1)

    def encode(value: int) -> bytes:
        value &= mask
        return form.pack(value - (mask + 1) if signed and value & sign else value)

    return Custom(form.size, lambda data: form.unpack(data)[0], encode)


def _wait_status(numbers: SignalNumbers) -> Custom:
    def encode(status: int) -> bytes:
        return (numbers.status_outward(status) & _MASK32).to_bytes(4, "little")

    return Custom(4, lambda data: int.from_bytes(data, "little"), encode)


def _rlimits() -> Custom:
    form = struct.Struct("<QQ")

    def decode(data: bytes) -> Rlimits:
        return Rlimits(*((1 << 64) - 1 if limit == _INFINITY else limit for limit in form.unpack(data)))

    return Custom(16, decode, lambda value: form.pack(*(min(limit, _INFINITY) for limit in value)))


def _rusage(times: str, longs: str) -> Custom:
    form = struct.Struct(f"<{times}{times}14{longs}")
    mask = (1 << 63) - 1 if longs == "q" else 0x7FFF_FFFF

    def encode(usage: Rusage) -> bytes:
        return form.pack(
            *divmod(usage.utime // 1000, 1_000_000), *divmod(usage.stime // 1000, 1_000_000), *(field & mask for field in usage[2:])
        )

    return Custom(form.size, _no_decoding, encode)


def _spawn_attr(numbers: SignalNumbers) -> Custom:
    """posix_spawnattr_t, the same for both word sizes."""
    form = struct.Struct("<hxxiii16s16s")

    def decode(data: bytes) -> SpawnAttr:
        *plain, default, mask = form.unpack(data)
        sets = (numbers.mask_inward(int.from_bytes(one[:8], "little") & (1 << (NSIG - 1)) - 1) for one in (default, mask))
        return SpawnAttr(*plain, *sets)

    return Custom(form.size, decode, _no_decoding)


def _spawn_action(word_size: int) -> Custom:
    """struct posix_spawn_file_actions_entry: a union of a path with flags and mode, and a descriptor."""
    wide = word_size == 8
    form = struct.Struct("<iiQiI" if wide else "<iiIiI")

    def decode(data: bytes) -> SpawnAction:
        kind, fd, first, flags, mode = form.unpack(data)
        return SpawnAction(kind, fd, struct.unpack("<i", data[8:12])[0] if kind == 1 else first, flags, mode)

    return Custom(form.size, decode, _no_decoding)


def layouts(numbers: SignalNumbers, word_size: int) -> dict[type, Any]:
    """All of them.  time_t has 64 bits on both; a timeval's microseconds 32, padded where a word has eight bytes."""
    wide = word_size == 8
    spec_codes, val_codes = ("<qq", "<qi4x") if wide else ("<qi", "<qi")
    spec = _times(spec_codes, _SECOND, checked=True)
    val = _times(val_codes, 1_000_000, checked=True)
    usage = _rusage("qi4x", "q") if wide else _rusage("qi", "i")
    return {
        SigSet: SigSetLayout(numbers),
        SigInfo: SiginfoLayout(numbers, word_size),
        SigAction: _action(numbers, word_size),
        AltStack: _alt_stack(word_size),
        SigEvent: _event(numbers, word_size),
        Timespec: spec,
        Timespec64: spec,
        Timeval: val,
        RawTimespec: _times(spec_codes, _SECOND, checked=False),
        RawTimeval: _times(val_codes, 1_000_000, checked=False),
        ITimerVal: _pair(val, ITimerVal),
        TimerSpec: _pair(spec, TimerSpec),
        Int32: _integer("<i"),
        UInt32: _integer("<I"),
        Word: _integer("<Q" if wide else "<I"),
        WaitStatus: _wait_status(numbers),
        SpawnActions: Layout(SpawnActions, "<IIQ" if wide else "<III"),
        SpawnAction: _spawn_action(word_size),
        SpawnAttr: _spawn_attr(numbers),
        Rlimits: _rlimits(),
        Rusage: usage,
        Wrusage: Custom(2 * usage.size, _no_decoding, lambda value: b"".join(map(usage.encode, value))),
    }
