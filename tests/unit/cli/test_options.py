"""The table of options: where they end, what a wrong one says."""

from __future__ import annotations

import pytest

from ring3.cli.options import Option, UsageError, describe, folded, parse

OPTIONS = (
    Option("--many", "X", "more than once", int, many=True),
    Option("--one", "Y", "once"),
    Option("--flag", "", "on or off"),
    Option("--maybe", "FILE", "with or without", optional=True),
    Option("-f", "", "one letter"),
    Option("-y", "", "another"),
    Option("-tt", "", "two of one"),
    Option("-e", "EXPR", "with a value"),
)


@pytest.mark.parametrize(("line", "values", "rest"), [
    ("", {}, ""),
    ("prog --one 1", {}, "prog --one 1"),
    ("-- --one 1", {}, "--one 1"),
    ("--flag -- prog -- x", {"--flag": True}, "prog -- x"),
    ("--one a --one b prog", {"--one": "b"}, "prog"),
    ("--one=a=b prog", {"--one": "a=b"}, "prog"),
    ("--one -- prog", {"--one": "--"}, "prog"),
    ("--many 1 --many=2 prog", {"--many": [1, 2]}, "prog"),
    ("--maybe prog x", {"--maybe": ""}, "prog x"),
    ("--maybe=file prog", {"--maybe": "file"}, "prog"),
    ("- x", {}, "- x"),
    ("--flag --help prog", {"--help": True}, ""),
    ("prog --help", {}, "prog --help"),
    ("-fy prog -fy", {"-f": True, "-y": True}, "prog -fy"),
    ("-ttfe a prog", {"-tt": True, "-f": True, "-e": "a"}, "prog"),
    ("-ff prog", {"-f": True}, "prog"),
])
def test_parse(line: str, values: dict[str, object], rest: str) -> None:
    found, words = parse(OPTIONS, line.split())
    found = {name: value for name, value in found.items() if value != []}
    assert (found, words) == (values, rest.split())


@pytest.mark.parametrize(("line", "says"), [
    ("--on 1", "there is no option --on; did you mean --one?"),
    ("-x", "there is no option -x"),
    ("-fx", "there is no option -fx"),
    ("-ef x", "there is no option -ef"),
    ("--fy", "there is no option --fy"),
    ("-fe", "-e needs a value: -e EXPR"),
    ("--one", "--one needs a value: --one Y"),
    ("--flag=1", "--flag takes no value"),
    ("--many x", "--many x: invalid literal"),
])
def test_refusals(line: str, says: str) -> None:
    with pytest.raises(UsageError, match="^" + says.replace("?", r"\?")):
        parse(OPTIONS, line.split())


def test_describe() -> None:
    lines = describe(OPTIONS).splitlines()
    assert lines[0].split() == ["--many", "X", "more", "than", "once"]
    assert lines[3].startswith("  --maybe[=FILE] ")


def test_a_help_is_folded_to_the_terminal() -> None:
    text = f"Prose that is long enough\nto be a paragraph.\n\n{describe(OPTIONS)}\n  an example as it stands"
    for width in (30, 50, 80, 200):
        folded_text = folded(text, width)
        assert max(map(len, folded_text.splitlines())) <= width
        assert folded_text.split() == text.split()
        assert "\n  an example as it stands" in folded(text, 60)
    assert folded(text, 60).startswith("Prose that is long enough to be a paragraph.\n\n")
