"""Reading ktrace files: layouts of other systems, damage, and files that are none."""

from __future__ import annotations

import io
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ring3.abi.netbsd import ktrace
from ring3.abi.netbsd.ktrace import Record
from ring3.trace.kdump import Options, Printer
from ring3.trace.ktracefile import LAYOUTS, MAX_PAYLOAD, KtraceError, KtraceFile, Layout, TraceRecord

NS = 1_700_000_000_123_456_789


def record(layout: Layout, kind: int, payload: bytes, *, version: int = 2) -> bytes:
    """One record as that system writes it: of process 7, LWP 3, "prog"."""
    order = layout.order
    shorts = (kind, version) if order == "<" else (version, kind)
    seconds, ns = divmod(NS, 1_000_000_000)
    times = layout.times[version]
    fields = (seconds, ns // 1000) if version == 0 else (seconds, ns, 3)
    return struct.pack(f"{order}ihhi17s3x", len(payload), *shorts, 7, b"prog") + times.pack(*fields) + payload


def sample(layout: Layout, *, version: int = 2, count: int = 3) -> bytes:
    """A call, a path, a result, over and over."""
    word = "q" if layout.word_size == 8 else "i"
    call = struct.pack(f"{layout.order}ii{word}{word}", 5, 2 * layout.word_size, 0x1234, 0)
    result = struct.pack(f"{layout.order}hhi{word}{word}", 5, 0, 0, 3, 0)
    one = b"".join(record(layout, *rest, version=version) for rest in ((1, call), (3, b"/etc/passwd"), (2, result)))
    return one * count


def read(data: bytes) -> list[TraceRecord]:
    return list(KtraceFile(io.BytesIO(data)))


def dump(data: bytes, options: Options = Options()) -> str:  # noqa: B008 - a frozen value
    file = KtraceFile(io.BytesIO(data))
    printer = Printer(file, options)
    return "".join(printer.lines(found) for found in file)


@pytest.mark.parametrize("version", [0, 1, 2])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
@pytest.mark.parametrize("count", [1, 3])
def test_every_layout_is_found_and_read(layout: Layout, version: int, count: int) -> None:
    if "old" in layout.name and version == 2:
        pytest.skip("there was no version 2 then")
    data = sample(layout, version=version, count=count)
    file = KtraceFile(io.BytesIO(data))
    found = list(file)
    assert file.layout == layout
    assert [(r.type, r.version, r.pid, r.lid, r.comm) for r in found[:3]] == [
        (kind, version, 7, 3 if version else None, b"prog") for kind in (1, 3, 2)
    ]
    assert found[0].time_ns == (NS if version else NS // 1000 * 1000)
    assert [r.offset for r in found[:2]] == [0, layout.size + len(found[0].payload)]
    lid = "      3 " if version else " "
    assert dump(data).splitlines()[:3] == [
        f"     7{lid}prog     CALL  open(0x1234,0)",
        f'     7{lid}prog     NAMI  "/etc/passwd"',
        f"     7{lid}prog     RET   open 3",
    ]


def test_an_empty_file_has_no_records() -> None:
    assert read(b"") == []


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_a_cut_file_says_where(layout: Layout) -> None:
    version = 1 if "old" in layout.name else 2
    data = sample(layout, version=version)
    whole = read(data)
    for cut in (len(data) - 1, len(data) - len(whole[-1].payload) - 1, whole[4].offset + 1):
        file = KtraceFile(io.BytesIO(data[:cut]))
        with pytest.raises(KtraceError) as caught:
            list(file)
        last = max(r.offset for r in whole if r.offset < cut)
        assert f"offset {last}: the file ends within a " in str(caught.value)


@pytest.mark.parametrize("damage", [
    struct.pack("<i", -1), struct.pack("<i", MAX_PAYLOAD + 1), struct.pack("<i", 0x7FFFFFFF), struct.pack("<ihh", 4, 99, 2),
    struct.pack("<ihh", 4, 0, 2), struct.pack("<ihh", 4, 1, 7), struct.pack("<ihhi", 4, 1, 2, -5),
])
def test_a_damaged_record_says_where(damage: bytes) -> None:
    data = sample(LAYOUTS[0])
    at = read(data)[3].offset
    data = data[:at] + damage + data[at + len(damage) :]
    file = KtraceFile(io.BytesIO(data))
    with pytest.raises(KtraceError, match=f"^offset {at}: "):
        list(file)


@pytest.mark.parametrize("data", [
    b"x", b"#!/bin/sh\necho this is a script of some length, longer than a header\n", b"\x7fELF" + bytes(100), b"\xff" * 200,
])
def test_what_is_no_ktrace_file(data: bytes) -> None:
    with pytest.raises(KtraceError, match=r"it is no ktrace file|too short"):
        read(data)


def test_huge_lengths_take_no_memory() -> None:
    head = struct.pack("<ihhi17s3xqqi4x", 0x7FFFFFF0, 1, 2, 1, b"", 0, 0, 1)
    good = sample(LAYOUTS[0], count=1)
    tracemalloc.start()
    with pytest.raises(KtraceError, match="more than any has"):
        read(good + head + bytes(1000))
    # The largest record there may be, of each type.
    for kind in (*Record, 20):
        dump(good + record(LAYOUTS[0], kind, b"\xff" * MAX_PAYLOAD))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 << 20


@given(st.binary(max_size=600))
def test_no_bytes_break_it(data: bytes) -> None:
    for prefix in (b"", sample(LAYOUTS[0], count=1)):
        try:
            dump(prefix + data)
        except KtraceError:
            continue


@given(st.integers(0, len(sample(LAYOUTS[0])) - 1), st.integers(0, 255), st.sampled_from([o.name for o in LAYOUTS]))
def test_no_changed_byte_breaks_it(at: int, byte: int, name: str) -> None:
    layout = next(layout for layout in LAYOUTS if layout.name == name)
    data = bytearray(sample(layout, version=1))
    data[at % len(data)] = byte
    try:
        dump(bytes(data))
    except KtraceError as error:
        assert "offset" in str(error) or "ktrace file" in str(error)  # noqa: PT017 - both outcomes are fine


@given(st.sampled_from([*Record, 16, 23]), st.binary(max_size=200))
def test_any_payload_prints(kind: int, payload: bytes) -> None:
    for layout in LAYOUTS[:4]:
        text = dump(record(layout, kind, payload), Options())
        assert text.endswith("\n")
        assert text.isascii()
        assert not any(ord(c) < 32 for c in text if c not in "\n\t")


def test_what_is_written_here_is_read_here() -> None:
    payloads = [
        (Record.SYSCALL, ktrace.syscall(1 << 33, (1, (1 << 64) - 1))), (Record.SYSRET, ktrace.sysret(70000, -3, 1 << 63, 2)),
        (Record.GENIO, ktrace.genio(-1, writes=True, data=b"x")), (Record.PSIG, ktrace.psig(11, 4096, 5, -1)),
    ]
    data = b"".join(
        ktrace.header(len(payload), kind, version, 1, b"c" * 40, NS, 1) + payload
        for kind, payload in payloads for version in (0, 1, 2)
    )
    assert [(r.type, r.version) for r in read(data)] == [(kind, version) for kind, _ in payloads for version in (0, 1, 2)]
