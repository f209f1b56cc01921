"""Meta-test a finished run on other tasks, or with another head, without training."""

import logging
from functools import partial
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from metarun.algorithms import Algorithm, PolicyMethod, load_from_other_method
from metarun.config.compose import resolve, stored_yaml
from metarun.config.instantiate import takes
from metarun.config.overlay import overlay, with_requested_algo, without_algo
from metarun.config.run_id import run_id, seedless_id, with_absolute_paths
from metarun.config.schema import Config
from metarun.data.pictures.brightness import brightness, compare_brightness, is_closer_inverted
from metarun.errors import UserError
from metarun.loggers.terminal import Screen
from metarun.results.find_run import find_run
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.rl.stream import EnvironmentSource
from metarun.runner.compiled_blocks import choose_blocks
from metarun.runner.components import Parts, parts_to_test
from metarun.runner.encoding import check_hash
from metarun.runner.episodes import find_episodes, test_on_episodes, with_episodes
from metarun.runner.execution import describe_environment, meta_test, run_once
from metarun.runner.finished import directory_of
from metarun.runner.head_check import check_head
from metarun.runner.made_tasks import training_stream
from metarun.runner.record import TRAINED_KEYS
from metarun.runner.stored_config import stored_config
from metarun.system.limits import check_one_of
from metarun.system.signals import deferred_signals
from metarun.training import checkpoint
from metarun.training.resume import best_weights, last_weights, load_weights

log = logging.getLogger(__name__)

WEIGHTS = ("best", "last")
CALIBRATION_TASKS = 200  # meta-train tasks for calibrating a head on another method's features


def retest(config: DictConfig, shared: dict[str, Parts] | None = None) -> Path:
    """Meta-test a finished run on other tasks or data, or with another head, and write a new record.

    Args:
        config: of `metarun test`, as composed.
        shared: see `parts_to_test`; None for a single test.

    Returns:
        The directory of the new record.

    Raises:
        UserError: there is no such run, or its checkpoint does not fit the tasks.
    """
    requested = resolve(without_algo(config))  # its interpolations are resolved with the run's config
    parent = find_run(Path(requested["results_dir"]), str(requested["run"]))
    requested = _as_encoder_reads(requested, config, parent)
    check_one_of("test.weights", requested["test"]["weights"], WEIGHTS)
    trained = parent.read_result()
    weights = parent.best.is_file() or parent.last.is_file()
    if trained is None or not _has_checkpoint(trained) or not weights:
        problem = f"is not a finished training run ({parent.path})"
        if trained is not None and trained["status"] == "failed":
            problem = f"failed before a checkpoint was chosen ({trained['reason'].rstrip('.')})"
        raise UserError(f"run={requested['run']} {problem}", "use a run that `metarun train` finished.")
    replaced = [key for key in ("data", "algo") if config[key] is not None]
    stored = stored_config(parent, requested["trust"], replaced)
    resolved = with_requested_algo(overlay(stored, requested), config)
    episodes = None
    if requested["episodes"] is not None:
        episodes = find_episodes(requested, parent, stored, trained)
        resolved = with_episodes(resolved, requested, episodes)
    if config.algo is not None:
        requested["algo"] = resolved["algo"]
    requested["run"] = str(parent.path.resolve())
    run = directory_of(resolved, run_id({**resolved, "run": trained["id"]}))
    _check_weights(run, parent, trained["id"], requested)
    parts = (
        Parts(resolved)
        if config.algo is not None
        else parts_to_test(resolved, parent.path, {} if shared is None else shared)
    )
    parts.is_trained = config.algo is None
    if episodes is not None:
        test_on_episodes(parts, episodes)
    return run_once(run, resolved, lambda run, console: _retest(run, parent, trained, requested, parts, console))


def _as_encoder_reads(requested: Config, config: DictConfig, parent: RunDirectory) -> Config:
    """Return the requested config with its data read as the pre-trained encoder of a run needs them, if it has one."""
    if config.data is None:
        return requested
    stored = stored_config(parent, requested["trust"], ("data", "backbone", "algo"))
    if not stored.get("encoder_input"):  # missing in runs of earlier versions
        return requested
    config = config.copy()
    config["encoder_input"] = stored["encoder_input"]
    return resolve(without_algo(config))


def _check_weights(run: RunDirectory, parent: RunDirectory, parent_id: str, requested: Config) -> None:
    """Raise a UserError if a record was made with weights that the run no longer has, since it was trained again."""
    record = None if requested["force"] else run.read_result()
    tested = (record or {}).get("checkpoint_hash")
    if tested is None:
        return
    path = _checkpoint(parent, requested)
    try:
        now = checkpoint.checksum(checkpoint.load(path, parent_id)["algorithm"])
    except (UserError, KeyError):  # damaged now; the record is still valid
        return
    if now != tested:
        raise UserError(
            f"{run.path} was made with other weights than those in {path}, since that run was trained again",
            "use force=true to test the new weights.",
        )


def _checkpoint(parent: RunDirectory, requested: Config) -> Path:
    return parent.last if requested["test"]["weights"] == "last" else parent.best


def _has_checkpoint(trained: Record) -> bool:
    """Whether a training has ended with a chosen checkpoint, also if it diverged later."""
    over = trained["status"] == "done" or trained.get("training_status") == "diverged"
    return over and "example_shape" in trained


def _retest(
    run: RunDirectory, parent: RunDirectory, trained: Record, requested: Config, parts: Parts, console: Console
) -> Record:
    check_hash(parts.encoder, trained, trained["id"])
    if list(parts.source.example_shape) != trained["example_shape"]:
        raise UserError(
            f"data={parts.config['chosen']['data']} has examples of shape {list(parts.source.example_shape)} but the "
            f"run was trained on {trained['example_shape']}",
            "use data of that shape.",
        )
    if not isinstance(parts.source, EnvironmentSource):
        check_head(parts, parts.test_shape)
        choose_blocks(parts.algorithm, parts.config, parts.device)
    of_training = partial(stored_config, parent, requested["trust"], ("backbone", "algo"))
    parts.trained_on = (lambda: of_training()["data"], str(trained.get("data_hash")))
    parts.check_examples()
    _compare_brightness(parts, trained)
    tasks, _ = parts.test_size
    carried = {"trained_by": trained["id"], **{key: trained[key] for key in TRAINED_KEYS if key in trained}}
    if "data_hash" in trained:
        carried["trained_data_hash"] = trained["data_hash"]
    if "seedless_id" in trained:  # missing in runs of earlier versions
        carried["seedless_id"] = seedless_id({**parts.config, "run": trained["seedless_id"]})
    kind, path = requested["test"]["weights"], _checkpoint(parent, requested)
    if parts.loaded is None:
        weights = last_weights(parent, trained) if kind == "last" else best_weights(parent, trained)
        if requested["algo"] is None:
            load_weights(parts.method, weights, path)
        elif isinstance(parts.method, PolicyMethod):
            load_weights(parts.method, weights, path)  # of another method of reinforcement learning
        else:
            if load_from_other_method(parts.algorithm, weights, parts.config["chosen"]["algo"], trained["algo"]):
                _calibrate(parts)
            _choose(parts)
        parts.loaded = checkpoint.checksum(weights)
    carried["checkpoint_hash"] = parts.loaded
    if requested["algo"] is not None:
        head = parts.config["chosen"]["algo"]
        carried = {**carried, "algo": head, "trained_algo": trained["algo"], "order": parts.method.order}
    if kind == "last":
        carried["tested_weights"] = kind
    log.info("meta-testing the %s weights of %s on %s tasks", kind, parent.path.name, f"{tasks:,}")
    if "training_diverged_at" in trained:
        steps = (f"{trained[key]:,}" for key in ("training_diverged_at", "best_iteration"))
        log.warning("its training diverged by step %s; testing the checkpoint of step %s", *steps)
    run.start(stored_yaml(with_absolute_paths(requested), "test"), overwrite=parts.config["force"])
    run.record_environment(describe_environment(parts))
    screen = Screen(console, parts.metric)
    with deferred_signals(screen.close) as interruption:
        return meta_test(run, parent, parts, carried, screen, interruption)


def _compare_brightness(parts: Parts, trained: Record) -> None:
    """Warn if the pictures are much brighter or darker than those in training, such as inverted ones."""
    splits = parts.raw.splits
    found = brightness(splits["test"]) if splits else None
    before = trained.get("example_mean")  # missing in runs of earlier versions
    if found is None or before is None or (difference := compare_brightness(before, found[0])) is None:
        return
    node, advice = parts.config["data"], ""
    if is_closer_inverted(before, found[0]) and takes("data", node, "invert"):
        advice = f"; set data.invert={str(not node.get('invert', False)).lower()} if light and dark are swapped"
    log.warning("%s: %s%s", parts.source.name, difference, advice)


def _calibrate(parts: Parts) -> None:
    """Calibrate the head on meta-train tasks."""
    try:
        stream = training_stream(parts, "train", parts.train_shape, parts.config["seed"])
    except UserError:  # other data may have fewer classes or examples
        stream = parts.stream("train", parts.test_shape, parts.config["seed"])
    parts.algorithm.eval()
    for i in range(CALIBRATION_TASKS):
        parts.algorithm.calibrate(stream.draw(i, 1))


def _choose(parts: Parts) -> None:
    """Let a method choose what it chooses on meta-val, as it does in a training of its own."""
    if type(parts.algorithm).choose is not Algorithm.choose:
        _, steps = parts.test_size
        parts.algorithm.choose(parts.stream("val", parts.test_shape, parts.config["seed"]), steps)
