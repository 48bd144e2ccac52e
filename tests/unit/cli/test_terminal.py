"""Progress keeps quiet until it takes long, and leaves nothing behind."""

from __future__ import annotations

import io

from ring3.cli.terminal import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_short_work_is_not_spoken_of() -> None:
    stream, clock = Terminal(), Clock()
    with Progress("work", stream, clock) as progress:
        clock.now = 0.9
        progress("half")
    assert stream.getvalue() == ""


def test_long_work_is_and_the_line_goes() -> None:
    stream, clock = Terminal(), Clock()
    with Progress("work", stream, clock) as progress:
        for now, word in ((1.0, "a"), (1.05, "too soon"), (1.2, "b")):
            clock.now = now
            progress(word)
    assert stream.getvalue() == "\rwork: a\x1b[K\rwork: b\x1b[K\r\x1b[K"


def test_elsewhere_nothing_is_said() -> None:
    stream, clock = io.StringIO(), Clock()
    with Progress("work", stream, clock) as progress:
        clock.now = 9
        progress("x")
    assert stream.getvalue() == ""


def test_the_line_goes_when_the_work_fails() -> None:
    stream, clock = Terminal(), Clock()
    try:
        with Progress("work", stream, clock) as progress:
            clock.now = 2
            progress("x")
            raise ValueError
    except ValueError:
        assert stream.getvalue().endswith("\r\x1b[K")
