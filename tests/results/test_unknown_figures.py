"""How AUROCs are written in tables."""

import pytest

from metarun.results.unknown_figures import auroc_text
from tests.cli.test_compare import record

RUN = {"auroc_unknown": 0.853, "auroc_unknown_ci95": 0.004, "floor_auroc_unknown": 0.78, "test_unknown": 5}


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ([RUN], "85.3 ± 0.4 (78.0)"),
        ([{**RUN, "floor_auroc_unknown": 0.86}], "85.3 ± 0.4 (86.0) ↓"),
        ([{**RUN, "floor_auroc_unknown": 0.855}], "85.3 ± 0.4 (85.5)"),  # not clearly below
        ([{**RUN, "auroc_unknown_ci95": None}], "85.3 (78.0)"),
        ([RUN, {**RUN, "auroc_unknown": 0.873}], "86.3 sd 1.4 (78.0)"),
        ([{}], "–"),
    ],
)
def test_an_auroc_has_its_interval_or_spread_and_its_floor(runs, text):
    assert auroc_text([record(**run) for run in runs], "unknown") == text
