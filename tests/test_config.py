"""What makes two runs the same run."""

import pytest
from hydra import compose, initialize_config_dir

from metarun.config import config_dir, overlaid, register, resolve, run_id


def config(*overrides):
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        words = [f"chosen.{part}=x" for part in ("algo", "data", "backbone")]
        return resolve(compose("config", [*words, *overrides]))


def asked(*overrides):
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        words = [f"chosen.{part}=null" for part in ("algo", "data")]
        return resolve(compose("test", ["run=0a1b", *words, *overrides]))


def test_keys_that_came_later_leave_ids_as_they_were():
    now = config()
    earlier = {key: value for key, value in now.items() if key not in ("tf32", "deterministic")}
    earlier["data"] = {key: value for key, value in now["data"].items() if key not in ("storage", "invert")}
    assert run_id(now) == run_id(earlier)
    assert resolve_again(earlier) == {**now, "data": earlier["data"]}


def resolve_again(stored):
    from omegaconf import OmegaConf

    return resolve(OmegaConf.create(stored))


@pytest.mark.parametrize("word", ["data.storage=disk", "device=cpu", "train.over_tasks=loop", "logger=[csv,wandb]"])
def test_what_cannot_change_a_number_is_no_part_of_a_runs_identity(word):
    assert run_id(config(word)) == run_id(config())


def test_what_can_change_a_number_is():
    words = [
        (),
        ("precision=bf16",),
        ("precision=float64",),
        ("tf32=true",),
        ("deterministic=true",),
        ("data.invert=true",),
    ]
    assert len({run_id(config(*each)) for each in words}) == len(words)


def test_a_test_is_made_as_the_run_was_unless_it_says_otherwise():
    trained = config("tf32=true")
    assert overlaid(trained, asked())["tf32"] is True
    assert overlaid(trained, asked("tf32=false", "deterministic=true"))["tf32"] is False
    assert overlaid(trained, asked("deterministic=true"))["deterministic"] is True
    del trained["tf32"]  # a run made before there was such a key
    assert "tf32" not in overlaid(trained, asked())
