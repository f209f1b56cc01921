"""A finished run on other tasks, or under another head: one more row, without training."""

import logging
from functools import partial
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from metarun.algorithms import load_under_another_head
from metarun.config.compose import resolve, stored_yaml
from metarun.config.instantiate import takes
from metarun.config.overlay import overlaid, under_another_head, without_algo
from metarun.config.run_id import run_id, seedless_id, with_absolute_paths
from metarun.config.schema import Config
from metarun.data.brightness import brightness, compare_brightness, is_closer_inverted
from metarun.errors import UserError
from metarun.loggers.terminal import Screen
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory, find_run
from metarun.runner.components import Parts, parts_to_test
from metarun.runner.execution import meta_test, once, surroundings
from metarun.runner.finished import directory_of
from metarun.runner.record import TRAINED_KEYS
from metarun.runner.stored_config import stored_config
from metarun.system.signals import deferred_signals
from metarun.training import checkpoint
from metarun.training.resume import best_weights, load_weights

log = logging.getLogger(__name__)

PREPARING_TASKS = 200  # meta-train tasks that a head may look at before it judges another method's features


def retest(config: DictConfig, shared: dict[str, Parts] | None = None) -> Path:
    """Meta-test a finished run on other tasks or data, or under another head, and write one more row.

    Args:
        config: of `metarun test`, as it was composed.
        shared: see `parts_to_test`; None for a test by itself.

    Returns:
        The new row's directory.

    Raises:
        UserError: there is no such run, or its checkpoint cannot serve such tasks.
    """
    asked = resolve(without_algo(config))  # what it refers to is known when the run is
    parent = find_run(Path(asked["results_dir"]), str(asked["run"]))
    trained = parent.read_result()
    weights = parent.best.is_file() or parent.last.is_file()
    if trained is None or not _has_checkpoint(trained) or not weights:
        if trained is not None and trained["status"] == "failed":
            raise UserError(
                f"run={asked['run']} failed before meta-val chose a checkpoint ({trained['reason'].rstrip('.')})",
                "name one that `metarun train` finished.",
            )
        raise UserError(
            f"run={asked['run']} is no finished training ({parent.path})", "name one that `metarun train` finished."
        )
    replaced = [key for key in ("data", "algo") if config[key] is not None]
    stored = stored_config(parent, asked["trust"], replaced)
    resolved = under_another_head(overlaid(stored, asked), config)
    if config.algo is not None:
        asked["algo"] = resolved["algo"]
    asked["run"] = str(parent.path.resolve())
    run = directory_of(resolved, run_id({**resolved, "run": trained["id"]}))
    _check_weights(run, parent, asked)
    parts = (
        Parts(resolved)
        if config.algo is not None
        else parts_to_test(resolved, parent.path, {} if shared is None else shared)
    )
    parts.of_a_run = config.algo is None
    return once(run, resolved, lambda run, console: _retest(run, parent, trained, asked, parts, console))


def _check_weights(run: RunDirectory, parent: RunDirectory, asked: Config) -> None:
    """Refuse to show a row of weights that the trained run no longer holds: `force=true` may have trained it again."""
    record = None if asked["force"] else run.read_result()
    judged = (record or {}).get("checkpoint_hash")
    if judged is None:
        return
    try:
        now = checkpoint.checksum(checkpoint.load(parent.best, parent.id)["algorithm"])
    except (UserError, KeyError):  # damaged: what was judged when it was whole is still a row of that run
        return
    if now != judged:
        raise UserError(
            f"{run.path} judged other weights than {parent.best} holds now, since that run was trained again",
            "force=true judges these.",
        )


def _has_checkpoint(trained: Record) -> bool:
    """Whether a training is over and meta-val chose a checkpoint: also where the training diverged after that."""
    over = trained["status"] == "done" or trained.get("training_status") == "diverged"
    return over and "example_shape" in trained


def _retest(
    run: RunDirectory, parent: RunDirectory, trained: Record, asked: Config, parts: Parts, console: Console
) -> Record:
    if list(parts.source.example_shape) != trained["example_shape"]:
        raise UserError(
            f"data={parts.config['chosen']['data']} has examples of shape {list(parts.source.example_shape)} but the "
            f"run was trained on {trained['example_shape']}",
            "choose data of that shape.",
        )
    parts.check_head(parts.test_shape)
    of_training = partial(stored_config, parent, asked["trust"], ("backbone", "algo"))
    parts.trained_on = (lambda: of_training()["data"], str(trained.get("data_hash")))
    parts.check_examples()
    _compare_brightness(parts, trained)
    tasks, _ = parts.judging
    carried = {"trained_by": trained["id"], **{key: trained[key] for key in TRAINED_KEYS if key in trained}}
    if "data_hash" in trained:
        carried["trained_data_hash"] = trained["data_hash"]
    if "seedless_id" in trained:  # runs that were made before there was that key are without it
        carried["seedless_id"] = seedless_id({**parts.config, "run": trained["seedless_id"]})
    if parts.loaded is None:
        weights = best_weights(parent, trained)
        if asked["algo"] is None:
            load_weights(parts.algorithm, weights, parent.best)
        elif load_under_another_head(parts.algorithm, weights, parts.config["chosen"]["algo"], trained["algo"]):
            _prepare(parts)
        parts.loaded = checkpoint.checksum(weights)
    carried["checkpoint_hash"] = parts.loaded
    if asked["algo"] is not None:
        head = parts.config["chosen"]["algo"]
        carried = {**carried, "algo": head, "trained_algo": trained["algo"], "order": parts.algorithm.order}
    log.info("meta-testing the best checkpoint of %s on %s tasks", parent.path.name, f"{tasks:,}")
    if "training_diverged_at" in trained:
        steps = (f"{trained[key]:,}" for key in ("training_diverged_at", "best_iteration"))
        log.warning("its training diverged by step %s; what is judged is the checkpoint of step %s", *steps)
    run.start(stored_yaml(with_absolute_paths(asked), "test"), anew=parts.config["force"])
    run.record_environment(surroundings(parts))
    screen = Screen(console, parts.metric)
    with deferred_signals(screen.close) as interruption:
        return meta_test(run, parent, parts, carried, screen, interruption)


def _compare_brightness(parts: Parts, trained: Record) -> None:
    """Warn where the pictures are far from as bright as those of training, as dark ink is beside light on dark."""
    splits = parts.source.splits
    found = brightness(splits["test"]) if splits else None
    before = trained.get("example_mean")  # runs that were made before there was that key are without it
    if found is None or before is None or (told := compare_brightness(before, found[0])) is None:
        return
    node, advice = parts.config["data"], ""
    if is_closer_inverted(before, found[0]) and takes("data", node, "invert"):
        advice = (
            f"; set data.invert={str(not node.get('invert', False)).lower()} if light and dark are the other way round"
        )
    log.warning("%s: %s%s", parts.source.name, told, advice)


def _prepare(parts: Parts) -> None:
    """Let the head take what it needs from meta-train tasks; it sees no others."""
    try:
        stream = parts.stream("train", parts.train_shape, parts.config["seed"])
    except UserError:  # other data than the run was trained on may not have so many classes or examples
        stream = parts.stream("train", parts.test_shape, parts.config["seed"])
    parts.algorithm.eval()
    for i in range(PREPARING_TASKS):
        parts.algorithm.calibrate(stream.draw(i, 1))
