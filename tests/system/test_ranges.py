import pytest

from metarun.errors import UserError
from metarun.system.ranges import ends, is_range, parse_range


def test_numbers_and_ranges():
    assert [parse_range("task.way", value) for value in (5, "5..20", "7..7")] == [5, "5..20", 7]
    assert [ends(value) for value in (5, "5..20")] == [(5, 5), (5, 20)]
    assert [is_range(value) for value in ("5..20", "20..5", "0..5", "5", 5, None)] == [True, *[False] * 5]


@pytest.mark.parametrize("value", ["five", "5..", "5...6", 2.5, True, [5], "5..1000000000000"])
def test_what_is_neither_is_told_with_the_key(value):
    with pytest.raises(
        UserError, match=r"task.way=.* is not a whole number; set `task.way` to one, or to a range such as"
    ):
        parse_range("task.way", value)


def test_an_empty_range_is_told():
    with pytest.raises(UserError, match=r"task.way=9..5 is an empty range; write the smaller number first: 5..9"):
        parse_range("task.way", "9..5")
