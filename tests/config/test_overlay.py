"""What a test takes over from the config of the run that it tests."""

from hydra import compose, initialize_config_dir

from metarun.config.compose import config_dir, resolve
from metarun.config.overlay import overlaid
from metarun.config.schema import register


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


def test_a_test_is_made_as_the_run_was_unless_it_says_otherwise():
    trained = config("tf32=true")
    assert overlaid(trained, asked())["tf32"] is True
    assert overlaid(trained, asked("tf32=false", "deterministic=true"))["tf32"] is False
    assert overlaid(trained, asked("deterministic=true"))["deterministic"] is True
    del trained["tf32"]  # a run made before there was such a key
    assert "tf32" not in overlaid(trained, asked())
