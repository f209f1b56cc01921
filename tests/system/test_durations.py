import pytest

from metarun.errors import UserError
from metarun.system.durations import format_duration, parse_duration


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("45", 45), ("0.5h", 1800)])
def test_durations_are_parsed(text, seconds):
    assert parse_duration("train.time_budget", text) == seconds


@pytest.mark.parametrize("text", ["soon", "10 minutes", "-3m", "", "m", "0s"])
def test_an_invalid_duration_is_refused(text):
    with pytest.raises(UserError, match=r"train\.time_budget='.*'.*write it like 90s, 10m or 1h30m"):
        parse_duration("train.time_budget", text)


@pytest.mark.parametrize(("seconds", "text"), [(7.4, "7 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")])
def test_durations_are_formatted_in_at_most_two_units(seconds, text):
    assert format_duration(seconds) == text
