"""Words that Hydra's grammar does not read bare."""

import shlex
import string

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from metarun.cli.quoting import culprit, quote, readable

PARSER = OverridesParser.create()
TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), min_size=1)


def value(word: str):
    return PARSER.parse_override(word).value()


@pytest.mark.parametrize("sign", [*sorted(set(string.punctuation) - set(",$\\:")), "ü"])
def test_a_sign_is_read_as_it_is_or_named_with_what_to_type(sign):
    for text in (f"a{sign}b", f"{sign}/b", f"a{sign}"):
        word = readable(f"data.root={text}")
        found = culprit(word)
        if found is None:
            assert value(word) == text
        else:
            assert found[0] == sign
            (typed,) = shlex.split(found[1])
            assert value(typed) == text


@pytest.mark.parametrize(
    "word", ["a=1", "a=x/y.z", "a=[1,2]", "a='~'", "a=choice(1,2)", "a=${b}", "~a", "a", "a=", "a=1,2"]
)
def test_a_word_that_hydra_reads_is_left_alone(word):
    assert readable(word) == word


def test_commas_still_part_the_values_of_a_sweep():
    assert readable("data.root=~/a,~/b,c,7") == 'data.root="~/a","~/b",c,7'


def test_an_entry_of_a_list_is_quoted_by_itself():
    assert culprit("trust=[~/a,b]") == ("~", "'trust=[\"~/a\",b]'")


def test_a_sign_of_the_key_is_none_of_the_value():
    assert culprit("da&ta=x") is None


@given(TEXT.filter(lambda text: "${" not in text))
def test_what_is_quoted_is_read_back(text):
    assert value(f"k={quote(text)}") == text
