"""`train.augment` in whole commands."""

import json
from pathlib import Path

import pytest

from tests.commands.test_within import SMALL


@pytest.mark.slow
def test_augmentation_changes_the_training_and_nothing_else(metarun):
    plain = metarun("train", "algo=protonet", *SMALL)
    assert plain.code == 0, plain.err
    changed = metarun("train", "algo=protonet", *SMALL, "train.augment={crop:2,flip:0.5,jitter:0.4}")
    assert changed.code == 0, changed.err
    assert "meta-training examples are augmented at random: crop, jitter, flip" in changed.out + changed.err
    runs = sorted(Path("results/runs").iterdir())
    one, other = (json.loads((run / "result.json").read_text()) for run in runs)
    assert all(one[key] == other[key] for key in ("stream_hash", "data_hash"))
    assert len({(run / "curve.csv").read_text() for run in runs}) == 2
