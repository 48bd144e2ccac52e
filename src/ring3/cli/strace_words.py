"""What people who know strace type, as `ring3 trace` has it: letters in one word, values without a gap, long names.

    -fyys200 -etrace=openat -o/tmp/x     becomes     -f -y -s 200 -e trace=openat -o /tmp/x

Some of strace's options mean nothing here, or nothing good; each of those is refused in one sentence that says what to write
instead.  Not here: what the options do (`trace.py`).  Source: strace(1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ring3.cli.options import UsageError

_FLAGS: Final = frozenset("fykTcCrtqzZwvxdDAinhV")
_VALUES: Final[Mapping[str, str]] = MappingProxyType({        # strace's letter: the option it is here
    "e": "-e", "o": "-o", "s": "-s", "a": "-a", "P": "-P", "S": "-S", "E": "--env", "u": "--user", "X": "-X",
    "p": "-p", "I": "-I", "b": "-b", "O": "-O", "U": "-U",
})
_DOUBLED: Final = frozenset({"tt", "ttt", "yy", "ff", "qq", "qqq", "xx", "DD", "DDD"})
_LONG: Final[Mapping[str, str]] = MappingProxyType({
    "--trace": "-e trace", "--signal": "-e signal", "--signals": "-e signal", "--status": "-e status", "--quiet": "-e quiet",
    "--silent": "-e quiet", "--silence": "-e quiet", "--fault": "-e fault", "--output": "-o", "--string-limit": "-s",
    "--columns": "-a",
    "--trace-path": "-P", "--summary-sort-by": "-S", "--const-print-style": "-X", "--attach": "-p",
})
_LONG_FLAGS: Final[Mapping[str, str]] = MappingProxyType({
    "--follow-forks": "-f", "--summary-only": "-c", "--summary": "-C", "--summary-wall-clock": "-w", "--decode-fds": "-y",
    "--failed-only": "-Z", "--successful-only": "-z", "--stack-traces": "-k", "--syscall-times": "-T",
    "--relative-timestamps": "-r",
    "--output-separately": "-ff", "--no-abbrev": "-v", "--instruction-pointer": "-i", "--syscall-number": "-n", "--debug": "-d",
    "--strings-in-hex": "-xx", "--version": "-V",
})
_REFUSED: Final[Mapping[str, str]] = MappingProxyType({
    "-p": "ring3 traces programs that it runs: write ring3 trace -- PROGRAM",
    "-ff": "one file has everybody's lines, with the thread's number before each: grep '^NUMBER ' FILE",
    "-v": "structs print as strace shows them without -v; ring3 explain -- PROGRAM shows an exec's whole environment",
    "-x": "strings print as strace shows them without -x; for bytes write --ktrace FILE, and then ring3 kdump -x -f FILE",
    "-A": "a shell appends: -o >(cat >>FILE)",
    "-i": "-k shows where a call was made, and who called that",
    "-n": "calls have names here; ring3 kdump -N shows numbers",
    "-d": "there is nothing to debug between ring3 and the program: ring3 run --stats says what the kernel did",
    "-D": "ring3 is the program's kernel and cannot be its grandchild",
    "-I": "signals at the terminal go to the program; ring3 ends with it",
    "-b": "a program cannot be left to itself: ring3 is its kernel; -e 'trace=!all' prints nothing of it",
    "-O": "times are the kernel's own and have no overhead to take away",
    "-U": "the columns of -c are always the same; --json FILE has every call for tables of your own",
    "-V": "ring3 --version says it",
})


def spelled(words: Sequence[str]) -> list[str]:
    """The words as `ring3 trace` has its options.  Raises UsageError for one that is strace's and refused.

    >>> spelled(["-fyys200", "-etrace=openat", "--", "ls", "-l"])
    ['-f', '-y', '-s', '200', '-e', 'trace=openat', '--', 'ls', '-l']
    """
    rest, done = list(words), []
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        word = rest.pop(0)
        if word.startswith("--"):
            done += _long(word, rest)
            continue
        for option, value in _letters(word[1:], rest):
            refusal = _REFUSED.get(option)
            if refusal is not None:
                raise UsageError(f"{option}: {refusal}")
            done += [option] if value is None else [option, value]
    return done + rest


def _letters(letters: str, rest: list[str]) -> Iterator[tuple[str, str | None]]:
    """The options that a word of letters is."""
    if any(letter not in _FLAGS and letter not in _VALUES for letter in letters[:1]):
        yield f"-{letters}", None
        return
    at = 0
    while at < len(letters):
        letter = letters[at]
        if letter in _VALUES:
            text = letters[at + 1 :] or (rest.pop(0) if rest else None)
            yield _VALUES[letter], text
            return
        end = at
        while end < len(letters) and letters[end] == letter:
            end += 1
        run = letters[at:end]
        at = end
        if run in _DOUBLED or len(run) == 1:
            yield {"yy": "-y", "xx": "-x", "qqq": "-qq", "DD": "-D", "DDD": "-D"}.get(run, f"-{run}"), None
        else:
            yield f"-{run}", None


def _long(word: str, rest: list[str]) -> list[str]:
    """A long option: strace's under its short name, ring3's as it is."""
    name, equals, value = word.partition("=")
    short = _LONG.get(name)
    if short is not None and (equals or rest):
        text = value if equals else rest.pop(0)
        option, _, key = short.partition(" ")
        words = [option, f"{key}={text}" if key else text]
    elif name in _LONG_FLAGS:
        words = [_LONG_FLAGS[name]]
    elif name in ("--timestamps", "--absolute-timestamps"):
        precision = {"": "-t", "s": "-t", "us": "-tt", "unix": "-ttt", "none": ""}.get(value.removeprefix("precision:"))
        if precision is None:
            raise UsageError(f"{word}: write -t, -tt (microseconds) or -ttt (since the epoch)")
        words = [precision] if precision else []
    else:
        return [word]
    refusal = _REFUSED.get({"-xx": "-x"}.get(words[0], words[0])) if words else None
    if refusal is not None:
        raise UsageError(f"{name}: {refusal}")
    return words
