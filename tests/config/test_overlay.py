"""`metarun test` combines the trained run's config with what it requests."""

from hydra import compose, initialize_config_dir

from metarun.config.compose import resolve
from metarun.config.folder import config_dir
from metarun.config.overlay import overlay, with_requested_algo
from metarun.config.schema import register


def config(*overrides):
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        words = [f"chosen.{part}=x" for part in ("algo", "data", "backbone")]
        return resolve(compose("config", [*words, *overrides]))


def composed_test(*overrides):
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        words = [f"chosen.{part}=null" for part in ("algo", "data")]
        return compose("test", ["run=0a1b", *words, *overrides])


def requested(*overrides):
    return resolve(composed_test(*overrides))


def test_the_runs_values_are_kept_unless_the_test_sets_them():
    trained = config("tf32=true")
    assert overlay(trained, requested())["tf32"] is True
    assert overlay(trained, requested("tf32=false", "deterministic=true"))["tf32"] is False
    assert overlay(trained, requested("deterministic=true"))["deterministic"] is True
    del trained["tf32"]  # a run made before this key existed
    assert "tf32" not in overlay(trained, requested())


def test_another_algo_fits_a_run_of_another_version_with_more_keys():
    trained = config()
    trained["train"]["later"] = 1
    combined = with_requested_algo(trained, composed_test("algo=simpleshot"))
    assert combined["algo"]["_target_"] == "metarun.algorithms.SimpleShot"
    assert combined["train"]["later"] == 1
