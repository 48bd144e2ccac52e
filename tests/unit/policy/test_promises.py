"""Promises are words; a set of them is a mask."""

from __future__ import annotations

import pytest

from ring3.policy import promises


def test_words_have_the_bits_of_the_reference() -> None:
    words = ("stdio", "rpath", "exec", "prot_exec", "no_error")
    assert [promises.BITS[word].bit_length() - 1 for word in words] == [0, 1, 9, 22, 26]
    assert len(promises.BITS) == 27


def test_what_is_parsed_shows_as_it_was() -> None:
    assert promises.show(promises.parse("exec stdio  rpath stdio")) == "stdio rpath exec"
    assert promises.parse("") == 0


def test_an_unknown_word_is_refused_with_a_near_one() -> None:
    with pytest.raises(ValueError, match="'stdoi' is no promise; did you mean stdio"):
        promises.parse("rpath stdoi")


def test_a_word_that_is_no_promise_is_held_by_nobody() -> None:
    assert promises.mask_of({"root"}) == 0
    assert promises.mask_of({"root", "stdio"}) == promises.BITS["stdio"]
