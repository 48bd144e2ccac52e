"""Linux's structs of the calls about processes, signals, memory and clocks: neutral record (or marker) → layout.

Invariant: `LAYOUTS64` and `LAYOUTS32` have the same keys.  Not here: signal frames (`sigframe64.py`, `sigframe32.py`), structs of
files and the times they share with everybody (`layouts_files.py`).
Sources: include/uapi/asm-generic/siginfo.h, linux/{resource,times,sysinfo,utsname,timex,capability}.h, asm/ldt.h, kernel/signal.c
(`siginfo_layout`), include/linux/compat.h.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from ring3.abi.layout import Custom, Layout
from ring3.abi.procrecords import (
    CapHeader,
    Id16,
    Int32,
    ITimerVal,
    OldRlimits,
    OldSigAction,
    OldSigSet,
    Rlimits,
    Rusage,
    SigEvent,
    SignalfdInfo,
    SigSet,
    SystemInfo,
    Timex,
    Timex64,
    Tms,
    UInt32,
    UserDesc,
    Utsname,
    WaitStatus,
    Word,
)
from ring3.abi.signals import SI_KERNEL, SI_TIMER, SI_USER, AltStack, SigAction, SigInfo, Signal
from ring3.errors import EINVAL

_SECOND = 1_000_000_000
_KTIME_MAX = (1 << 63) - 1
_MASK32 = 0xFFFF_FFFF
_MASK64 = (1 << 64) - 1
_FIELD = 65                    # __NEW_UTS_LEN + 1
_SI_SIGIO = -5

# What a positive si_code of these signals is about (kernel/signal.c, sig_sicodes).
_FAULTS = frozenset((Signal.SIGILL, Signal.SIGFPE, Signal.SIGSEGV, Signal.SIGBUS, Signal.SIGTRAP))


def _no_decoding(_data: bytes) -> Any:
    raise NotImplementedError("the kernel only writes this struct")


# --- siginfo_t: 128 bytes; which member of its union holds the rest depends on signal and code
class SiginfoLayout:
    """siginfo_t ↔ `SigInfo` for one word size."""

    __slots__ = ("_base", "_child", "_fault", "_header", "_poll", "_queued", "_sys", "_timer", "size")

    def __init__(self, word_size: int) -> None:
        wide = word_size == 8
        self.size = 128
        self._base = 16 if wide else 12
        self._header = struct.Struct("<iii")
        self._queued = struct.Struct("<iIQ" if wide else "<iII")
        self._timer = struct.Struct("<iiQ" if wide else "<iiI")
        self._child = struct.Struct("<iIi4xqq" if wide else "<iIiii")
        self._fault = struct.Struct("<Q" if wide else "<I")
        self._poll = struct.Struct("<qi" if wide else "<ii")
        self._sys = struct.Struct("<QiI" if wide else "<IiI")

    def encode(self, info: SigInfo) -> bytes:
        """All 128 bytes, zero where nothing is."""
        data = bytearray(128)
        self._header.pack_into(data, 0, info.signo, info.errno, info.code)
        self._pack_union(data, info)
        return bytes(data)

    def _pack_union(self, data: bytearray, info: SigInfo) -> None:
        base, code, signo = self._base, info.code, info.signo
        word = _MASK64 if base == 16 else _MASK32
        if SI_USER < code < SI_KERNEL:
            if signo in _FAULTS:
                self._fault.pack_into(data, base, info.addr & word)
            elif signo == Signal.SIGCHLD:
                self._child.pack_into(
                    data, base, info.pid, info.uid & _MASK32, info.status, info.utime & 0x7FFF_FFFF, info.stime & 0x7FFF_FFFF
                )
            elif signo == Signal.SIGSYS:
                self._sys.pack_into(data, base, info.addr & word, info.syscall, info.arch)
            elif code <= 6:
                self._poll.pack_into(data, base, info.band, info.fd)
            else:
                struct.pack_into("<iI", data, base, info.pid, info.uid & _MASK32)
        elif code == SI_TIMER:
            self._timer.pack_into(data, base, info.timer_id, info.overrun & 0x7FFF_FFFF, info.value & word)
        elif code == _SI_SIGIO:
            self._poll.pack_into(data, base, info.band, info.fd)
        elif code < 0:
            self._queued.pack_into(data, base, info.pid, info.uid & _MASK32, info.value & word)
        else:
            struct.pack_into("<iI", data, base, info.pid, info.uid & _MASK32)

    def decode(self, data: bytes) -> SigInfo:
        """What a guest queues (rt_sigqueueinfo): ids and value; other members of the union are the same bytes."""
        signo, errno, code = self._header.unpack_from(data, 0)
        pid, uid, value = self._queued.unpack_from(data, self._base)
        if code == SI_TIMER:
            return SigInfo(signo, code, errno, timer_id=pid, overrun=(uid & 0x7FFF_FFFF), value=value)
        addr = self._fault.unpack_from(data, self._base)[0]
        return SigInfo(signo, code, errno, pid=pid, uid=uid, value=value, addr=addr)


# --- struct signalfd_siginfo, the same everywhere
_SIGNALFD = struct.Struct("<IiiIIiIIIIiIQQQQ4xiQI28x")


def _encode_signalfd(info: SigInfo) -> bytes:
    """The members that go with the signal's kind; the others are zero (fs/signalfd.c)."""
    fields = dict.fromkeys(("pid", "uid", "fd", "tid", "band", "overrun", "status", "value", "utime", "stime", "addr"), 0)
    if SI_USER < info.code < SI_KERNEL and info.signo in _FAULTS:
        names: tuple[str, ...] = ("addr",)
    elif info.code == SI_TIMER:
        names = ("overrun", "value")
        fields["tid"] = info.timer_id
    elif info.fd or info.band:
        names = ("fd", "band")
    elif info.code > SI_USER and info.signo == Signal.SIGCHLD:
        names = ("pid", "uid", "status", "utime", "stime")
    else:
        names = ("pid", "uid", "value") if info.code < 0 else ("pid", "uid")
    for name in names:
        fields[name] = getattr(info, name)
    f = {name: value & _MASK32 for name, value in fields.items()}
    return _SIGNALFD.pack(
        info.signo, info.errno, info.code, f["pid"], f["uid"], info.fd if "fd" in names else 0, f["tid"], f["band"],
        f["overrun"], 0,
        fields["status"], f["value"], fields["value"] & _MASK64, fields["utime"], fields["stime"], fields["addr"] & _MASK64,
        info.syscall, 0, info.arch,
    )


# --- signals
def _alt_stack(codes: str) -> Custom:
    form = struct.Struct(codes)

    def decode(data: bytes) -> AltStack:
        base, flags, size = form.unpack(data)
        return AltStack(base, flags, size)

    return Custom(form.size, decode, _packer(form))


def _packer(form: struct.Struct) -> Any:
    """How a tuple becomes the bytes of `form`."""
    return lambda value: form.pack(*value)


def _action(codes: str, order: tuple[int, int, int, int]) -> Custom:
    """`order` tells where handler, flags, restorer and mask stand in the struct."""
    form = struct.Struct(codes)
    place = [order.index(i) for i in range(4)]
    narrow = form.size < 32

    def decode(data: bytes) -> SigAction:
        words = form.unpack(data)
        return SigAction(words[order[0]], words[order[1]] & _MASK32, words[order[2]], words[order[3]])

    def encode(action: SigAction) -> bytes:
        words = [action[which] for which in place]
        if narrow:
            words = [word & _MASK32 if which != 3 or form.size == 16 else word for which, word in zip(place, words, strict=True)]
        return form.pack(*words)

    return Custom(form.size, decode, encode)


def _event(codes: str) -> Custom:
    form = struct.Struct(codes)

    def decode(data: bytes) -> SigEvent:
        return SigEvent(*form.unpack_from(data))

    return Custom(64, decode, _no_decoding)


# --- integers
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


def _id16() -> Custom:
    form = struct.Struct("<H")
    return Custom(2, lambda data: form.unpack(data)[0], lambda value: form.pack(value if value <= 0xFFFF else 65534))


# --- times, limits, system
def _itimer(codes: str) -> Custom:
    form = struct.Struct(codes)

    def decode(data: bytes) -> ITimerVal:
        interval_s, interval_us, value_s, value_us = form.unpack(data)
        for seconds, micros in ((interval_s, interval_us), (value_s, value_us)):
            if seconds < 0 or not 0 <= micros < 1_000_000:
                raise EINVAL
        return ITimerVal(
            min(interval_s * _SECOND + interval_us * 1000, _KTIME_MAX), min(value_s * _SECOND + value_us * 1000, _KTIME_MAX)
        )

    def encode(value: ITimerVal) -> bytes:
        words = (*divmod(value.interval // 1000, 1_000_000), *divmod(value.value // 1000, 1_000_000))
        return form.pack(*words)

    return Custom(form.size, decode, encode)


def _rusage(codes: str) -> Custom:
    form = struct.Struct(codes)
    mask = 0x7FFF_FFFF if form.size == 72 else (1 << 63) - 1

    def encode(usage: Rusage) -> bytes:
        return form.pack(
            *divmod(usage.utime // 1000, 1_000_000), *divmod(usage.stime // 1000, 1_000_000), *(field & mask for field in usage[2:])
        )

    return Custom(form.size, _no_decoding, encode)


def _tms(codes: str) -> Custom:
    form = struct.Struct(codes)
    mask = 0x7FFF_FFFF if form.size == 16 else (1 << 63) - 1
    return Custom(form.size, _no_decoding, lambda tms: form.pack(*(ticks & mask for ticks in tms)))


def _sysinfo64(info: SystemInfo) -> bytes:
    head = info[:10]
    return struct.pack("<q3Q6QHxx4x2QI4x", *head, info.procs, info.totalhigh, info.freehigh, 1)


def _sysinfo32(info: SystemInfo) -> bytes:
    """Sizes too large for 32 bits are told in pages (kernel/sys.c)."""
    unit = 1
    if info.totalram >> 32 or info.totalswap >> 32:
        unit = 4096
    sizes = [size // unit & _MASK32 for size in info[4:10]]
    high = [size // unit & _MASK32 for size in info[11:13]]
    return struct.pack("<i3I6IHxx2II8x", info.uptime, *info[1:4], *sizes, info.procs, *high, unit)


def _utsname() -> Custom:
    def encode(name: Utsname) -> bytes:
        return b"".join(field[: _FIELD - 1].ljust(_FIELD, b"\0") for field in name)

    return Custom(6 * _FIELD, _no_decoding, encode)


def _rlimits32(infinity: int) -> Custom:
    form = struct.Struct("<II")

    def decode(data: bytes) -> Rlimits:
        cur, top = form.unpack(data)
        return Rlimits(_MASK64 if cur == _MASK32 else cur, _MASK64 if top == _MASK32 else top)

    def encode(value: Rlimits) -> bytes:
        return form.pack(*(min(limit, infinity) for limit in value))

    return Custom(8, decode, encode)


def _timex(head: str, tail: str) -> Custom:
    """`head`: modes, offset, freq, maxerror, esterror, status, constant, precision, tolerance, time, tick."""
    form = struct.Struct(head)
    size = form.size + struct.calcsize(tail)
    first = struct.Struct("<I")

    def decode(data: bytes) -> Timex:
        return Timex(first.unpack_from(data)[0], 0, 0, 0)

    def encode(t: Timex) -> bytes:
        seconds, rest = divmod(t.time, _SECOND)
        body = form.pack(
            t.modes, 0, 0, t.maxerror, t.esterror, t.status, t.constant, t.precision, t.tolerance, seconds, rest // 1000, t.tick
        )
        return body.ljust(size, b"\0")

    return Custom(size, decode, encode)


def _same_on_both() -> dict[type, Any]:
    return {
        SigSet: _integer("<Q"),
        SignalfdInfo: Custom(128, _no_decoding, _encode_signalfd),
        Timex64: _timex("<I4xqqqqi4xqqqqqq", "<112x"),
        Int32: _integer("<i"),
        UInt32: _integer("<I"),
        WaitStatus: _integer("<i"),
        Id16: _id16(),
        Utsname: _utsname(),
        CapHeader: Layout(CapHeader, "<Ii"),
        UserDesc: Layout(UserDesc, "<IIII"),
    }


def _layouts64() -> dict[type, Any]:
    return _same_on_both() | {
        SigInfo: SiginfoLayout(8),
        SigAction: _action("<QQQQ", (0, 1, 2, 3)),
        OldSigAction: _action("<QQQQ", (0, 1, 2, 3)),
        OldSigSet: _integer("<Q"),
        AltStack: _alt_stack("<Qi4xQ"),
        SigEvent: _event("<Qiii"),
        Word: _integer("<Q"),
        ITimerVal: _itimer("<qqqq"),
        Rusage: _rusage("<4q14q"),
        Tms: _tms("<4q"),
        SystemInfo: Custom(112, _no_decoding, _sysinfo64),
        Rlimits: Layout(Rlimits, "<QQ"),
        OldRlimits: Layout(Rlimits, "<QQ"),
        Timex: _timex("<I4xqqqqi4xqqqqqq", "<112x"),
    }


def _layouts32() -> dict[type, Any]:
    return _same_on_both() | {
        SigInfo: SiginfoLayout(4),
        SigAction: _action("<IIIQ", (0, 1, 2, 3)),
        OldSigAction: _action("<IIII", (0, 2, 3, 1)),
        OldSigSet: _integer("<I"),
        AltStack: _alt_stack("<IiI"),
        SigEvent: _event("<Iiii"),
        Word: _integer("<I"),
        ITimerVal: _itimer("<iiii"),
        Rusage: _rusage("<4i14i"),
        Tms: _tms("<4i"),
        SystemInfo: Custom(64, _no_decoding, _sysinfo32),
        Rlimits: _rlimits32(_MASK32),
        OldRlimits: _rlimits32(0x7FFF_FFFF),
        Timex: _timex("<Iiiiiiiiiiii", "<80x"),
    }


LAYOUTS64: Mapping[type, Any] = _layouts64()
LAYOUTS32: Mapping[type, Any] = _layouts32()
