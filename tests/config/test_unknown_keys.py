import re

import pytest
from omegaconf import OmegaConf, open_dict

from metarun.config.compose import resolve
from metarun.config.schema import RetestConfig, RunConfig
from metarun.config.unknown_keys import describe_unknown_key, known_part, unknown_keys
from metarun.errors import UserError

CONFIG = {
    "algo": {"any": 1},
    "logger": {"csv": {"any": 1}},
    "train": {"outer_lr": 0.1, "weight_decay": 0.1},
    "published": {"of": {"any": 1}, "page": 3},
    "task": 5,
    "foo": {"bar": 1},
}


def test_keys_are_unknown_in_the_groups_of_the_schema_and_open_where_a_class_takes_them():
    assert list(unknown_keys(CONFIG, RunConfig)) == ["train.weight_decay", "published.page", "foo"]
    assert list(unknown_keys({"published": None, "run": "a"}, RetestConfig)) == ["published"]


def test_the_known_part_has_every_other_key_with_its_value():
    known = known_part(CONFIG, RunConfig)
    assert known == {
        **{key: CONFIG[key] for key in ("algo", "logger", "task")},
        "train": {"outer_lr": 0.1},
        "published": {"of": {"any": 1}},
    }
    assert list(unknown_keys(known, RunConfig)) == []


@pytest.mark.parametrize(
    ("schema", "key", "sentence"),
    [
        (RunConfig, "train.weight_decay", "unknown key 'train.weight_decay'. Did you mean 'train.lr_decay'? --cfg job"),
        (RunConfig, "foo", "unknown key 'foo'. --cfg job shows every key."),
        (RunConfig, "lr", "unknown key 'lr'. Did you mean 'train.outer_lr' or 'algo.inner_lr'?"),
        (RunConfig, "run", "unknown key 'run': only `metarun test` has it."),
        (RunConfig, "default_norm", "unknown key 'default_norm'. "),
        (RetestConfig, "test.foo", "unknown key 'test.foo'. "),
        (RetestConfig, "train.outer_lr", "unknown key 'train.outer_lr': only `metarun train` has it."),
        (RetestConfig, "test.query", "only `metarun train` has it. Did you mean 'task.query'?"),
    ],
)
def test_a_key_that_hydra_added_to_a_schema_is_refused(schema, key, sentence):
    config = OmegaConf.structured(schema)
    with open_dict(config):
        OmegaConf.update(config, key, 1, force_add=True)
    with pytest.raises(UserError, match=re.escape(sentence)):
        resolve(config)


def test_a_plus_sign_is_offered_only_where_a_new_key_has_an_effect():
    new = {key: "adds a new one" in describe_unknown_key(key, []) for key in ("algo.x", "hydra.x", "train.x", "x")}
    assert new == {"algo.x": True, "hydra.x": True, "train.x": False, "x": False}
