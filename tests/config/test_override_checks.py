import re

import pytest

from metarun.config.override_checks import check_overrides
from metarun.errors import UserError


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("algo=[maml]", "algo=[maml] is a list but a run has one algo; write algo=maml."),
        (
            "+backbone=[conv4, mlp]",
            "+backbone=[conv4, mlp] is a list but a run has one backbone; write backbone=conv4, or "
            "-m backbone=conv4,mlp for a run with each.",
        ),
        ("data=[]", "data=[] is a list but a run has one data; write data=NAME."),
        ("~data", "~data removes data, which every config has; write data=NAME to change it."),
        ("~algo=maml", "~algo=maml removes algo, which every config has; write algo=NAME to change it."),
        ("~task", "~task removes task, which every config has; write task=NAME to change it."),
        ("~train.iterations", "write train.iterations=VALUE to change it."),
        ("~seed", "write seed=VALUE to change it."),
    ],
)
def test_a_list_and_a_removal_that_leave_no_config_are_refused(override, sentence):
    with pytest.raises(UserError, match=re.escape(sentence) + "$"):
        check_overrides("train", [override], [])


def test_the_run_of_a_test_cannot_be_removed():
    with pytest.raises(UserError, match=r"^~run removes run, which every config has; write run=VALUE"):
        check_overrides("test", ["~run"], [])


def test_other_lists_and_removals_are_left_to_hydra():
    removed = ["~algo.inner_lr", "~data.split", "~logger", "~recipe", "~published", "~run", "~train.weight_decay"]
    chosen = ["task=[5way1shot]", "logger=[csv,wandb]", "backbone.hidden=[4]", "data=omniglot+glyphs", "algo=maml"]
    check_overrides("train", [*removed, *chosen], [])
