"""What a run needed becomes the smallest list under which it goes the same way."""

from __future__ import annotations

from ring3.policy.learning import Learner, command_line, unveil_list
from ring3.policy.veil import BROWSE, CREATE, EXECUTE, READ, WRITE


def learner() -> Learner:
    return Learner(lambda personality, _learner: personality.abis)


def test_promises_that_were_asked_for_count_for_calls_that_any_of_several_allows() -> None:
    learned = learner()
    for words in ({"stdio"}, {"rpath", "wpath", "cpath"}, {"proc", "thread"}, set[str]()):
        learned.called(frozenset(words))
    learned.ask(None, "wpath", "cpath")
    learned.ask(None, "thread")
    assert learned.needed() == "stdio wpath cpath thread"


def test_a_call_that_several_promises_allow_takes_the_first() -> None:
    learned = learner()
    learned.called(frozenset({"unix", "inet"}))
    assert learned.needed() == "inet"


def always(_path: bytes) -> bool:
    return True


def test_reading_a_directory_is_browsing_it() -> None:
    assert unveil_list({b"/a": READ | BROWSE, b"/b": BROWSE}, always) == [(b"/a", READ), (b"/b", BROWSE)]


def test_what_a_directory_allows_is_not_said_again() -> None:
    seen = {b"/srv/x": READ, b"/srv/x/y": READ, b"/srv/x/z": READ | WRITE, b"/srv/x/z/q": BROWSE}
    assert unveil_list(seen, always) == [(b"/srv/x", READ), (b"/srv/x/z", READ | WRITE)]


def test_many_files_of_one_directory_are_the_directory() -> None:
    seen = {b"/usr/lib/%d" % number: READ for number in range(4)}
    assert unveil_list(seen, always) == [(b"/usr/lib", READ)]
    assert len(unveil_list(seen, always, exact=True)) == 4
    assert len(unveil_list({b"/etc/%d" % number: READ for number in range(4)}, always)) == 4, "never a directory of the root"
    assert len(unveil_list({b"/usr/lib/%d" % number: CREATE for number in range(4)}, always)) == 4, "never a right to make names"


def test_names_that_came_and_went_are_given_by_their_directory() -> None:
    seen = {b"/tmp/sort123": CREATE | WRITE, b"/out": CREATE | WRITE}
    assert unveil_list(seen, lambda path: path == b"/out") == [(b"/out", WRITE | CREATE), (b"/tmp", READ | WRITE | CREATE)]


def test_what_lies_in_a_directory_that_was_made_is_given_by_that() -> None:
    seen = {b"/w/new": CREATE, b"/w/new/a": CREATE | WRITE, b"/w/new/b/c": READ, b"/w/other": READ}
    assert unveil_list(seen, always, made={b"/w/new", b"/w/new/a"}) == [(b"/w/new", CREATE | READ | WRITE), (b"/w/other", READ)]
    assert len(unveil_list(seen, always, made={b"/w/new"}, exact=True)) == 4


def test_numbered_places_are_given_whole() -> None:
    assert unveil_list({b"/proc/17/mounts": READ, b"/proc/18/exe": EXECUTE}, always) == [(b"/proc", READ | EXECUTE)]


def test_the_command_can_be_pasted() -> None:
    text = command_line("stdio", [(b"/a b", READ)], ["sh", "-c", "echo $HOME"])
    assert text == "ring3 run --pledge \"stdio\" \\\n    --unveil '/a b:r' \\\n    -- sh -c 'echo $HOME'"
