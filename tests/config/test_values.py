import math

import pytest

from metarun.config.values import check_plain
from metarun.errors import UserError


def test_json_values_are_allowed():
    check_plain({"a": {"b": [1, 2.5, "日本語", True, None]}, "seed": 2**63 - 1, "low": -(2**63) + 1, "high": 3.4e38})


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, "train.outer_lr=nan is not finite"),
        (math.inf, "train.outer_lr=inf is not finite"),
        (float("1e400"), "train.outer_lr=inf is not finite"),
        (-1e300, r"train.outer_lr=-1e\+300 is too large for a float32; at most 3.4e\+38 is possible"),
        (2**63, "train.outer_lr is an integer of 64 bits; at most 63 are possible"),
        (10**400, "train.outer_lr is an integer of 1,329 bits; at most 63 are possible"),
        (b"x", "train.outer_lr is a bytes, which no key takes"),
        ("a\0b", r"train.outer_lr='a\\x00b' contains a NUL"),
        ("\udcff", r"train.outer_lr='\\udcff' is not valid UTF-8"),
        ({1: 2}, "train.outer_lr has a key 1, which is not a string"),
        ([1, [math.nan]], "train.outer_lr.1.0=nan is not finite"),
    ],
)
def test_an_invalid_value_is_reported_with_its_key(value, problem):
    with pytest.raises(UserError, match=problem):
        check_plain({"train": {"outer_lr": value}})
