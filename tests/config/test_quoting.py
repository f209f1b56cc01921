"""Quoting of values that Hydra's grammar rejects."""

import shlex
import string

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from metarun.config.quoting import offending_character, quote, quote_if_needed

PARSER = OverridesParser.create()
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1)


def value(word: str):
    return PARSER.parse_override(word).value()


@pytest.mark.parametrize("character", [*sorted(set(string.punctuation) - set(",$\\:")), "ü"])
def test_a_character_is_parsed_or_reported_with_the_quoted_override(character):
    for text in (f"a{character}b", f"{character}/b", f"a{character}"):
        word = quote_if_needed(f"data.root={text}")
        found = offending_character(word)
        if found is None:
            assert value(word) == text
        else:
            assert found[0] == character
            (typed,) = shlex.split(found[1])
            assert value(typed) == text


@pytest.mark.parametrize(
    "word", ["a=1", "a=x/y.z", "a=[1,2]", "a='~'", "a=choice(1,2)", "a=${b}", "~a", "a", "a=", "a=1,2"]
)
def test_a_valid_override_is_unchanged(word):
    assert quote_if_needed(word) == word


def test_commas_still_separate_the_values_of_a_sweep():
    assert quote_if_needed("data.root=~/a,~/b,c,7") == 'data.root="~/a","~/b",c,7'


def test_entries_of_a_list_are_quoted_individually():
    assert offending_character("trust=[~/a,b]") == ("~", "'trust=[\"~/a\",b]'")


def test_a_character_in_the_key_is_not_reported():
    assert offending_character("da&ta=x") is None


@given(TEXT.filter(lambda text: "${" not in text))
def test_quoted_text_is_parsed_back(text):
    assert value(f"k={quote(text)}") == text
