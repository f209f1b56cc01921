import math

import pytest

from metarun.config.values import check_plain
from metarun.errors import UserError


def test_what_json_can_say_may_stand_in_a_config():
    check_plain({"a": {"b": [1, 2.5, "日本語", True, None]}, "seed": 2**63 - 1, "low": -(2**63) + 1, "high": 3.4e38})


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (math.nan, "train.outer_lr=nan is not finite"),
        (math.inf, "train.outer_lr=inf is not finite"),
        (float("1e400"), "train.outer_lr=inf is not finite"),
        (-1e300, r"train.outer_lr=-1e\+300 is more than a float32 holds; 3.4e\+38 is possible"),
        (2**63, "train.outer_lr is a whole number of 64 bits; 63 are possible"),
        (10**400, "train.outer_lr is a whole number of 1,329 bits; 63 are possible"),
        (b"x", "train.outer_lr is a bytes, which no key takes"),
        ("a\0b", r"train.outer_lr='a\\x00b' has a NUL in it"),
        ("\udcff", r"train.outer_lr='\\udcff' is no text in UTF-8"),
        ({1: 2}, "train.outer_lr has a key 1, which is no text"),
        ([1, [math.nan]], "train.outer_lr.1.0=nan is not finite"),
    ],
)
def test_what_no_run_can_take_is_named(value, fault):
    with pytest.raises(UserError, match=fault):
        check_plain({"train": {"outer_lr": value}})
