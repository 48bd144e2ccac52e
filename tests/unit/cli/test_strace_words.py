"""strace's ways to write options."""

from __future__ import annotations

import pytest

from ring3.cli.options import UsageError
from ring3.cli.strace_words import spelled


@pytest.mark.parametrize(
    ("words", "become"),
    [
        ("-f -o x ls -l", "-f -o x ls -l"), ("-fyyttT ls", "-f -y -tt -T ls"), ("-s200 ls", "-s 200 ls"),
        ("-etrace=open ls", "-e trace=open ls"),
        ("-cfw ls", "-c -f -w ls"), ("-qqq ls", "-qq ls"), ("-ttt ls", "-ttt ls"), ("-r ls", "-r ls"),
        ("-u root ls", "--user root ls"),
        ("-E A=b ls", "--env A=b ls"), ("--trace=open ls", "-e trace=open ls"), ("--trace open ls", "-e trace=open ls"),
        ("--follow-forks --output=x ls", "-f -o x ls"), ("--json x ls", "--json x ls"), ("-- -x", "-- -x"), ("ls -p 5", "ls -p 5"),
        ("--timestamps=us ls", "-tt ls"), ("--string-limit=9 ls", "-s 9 ls"), ("-e", "-e"), ("- x", "- x"), ("", ""),
        ("-Q ls", "-Q ls"),
    ],
)
def test_letters_and_long_names(words: str, become: str) -> None:
    assert spelled(words.split()) == become.split()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("-p 5", "programs that it runs"), ("-ff -o x ls", "grep"), ("-v ls", "ring3 explain"), ("-xx ls", "ring3 kdump -x"),
        ("-b execve ls", "left"),
        ("-i ls", "-k"), ("-U time ls", "--json"), ("-O 5 ls", "no overhead"), ("--attach=5", "programs that it runs"),
        ("-V", "ring3 --version"),
        ("--strings-in-hex ls", "kdump"), ("--timestamps=ns ls", "-ttt"), ("-fv ls", "-v: "), ("-A -o x ls", "appends"),
    ],
)
def test_what_is_refused_says_what_to_write_instead(words: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        spelled(words.split())
