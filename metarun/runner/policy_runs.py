"""What differs in a run of reinforcement learning: what is checked before, and how it is judged."""

import logging
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metarun.config.key_origins import set_by
from metarun.config.values import value_at
from metarun.data.contents import log_contents
from metarun.errors import UserError
from metarun.evaluation.evaluate import Evaluation
from metarun.evaluation.plane import paths_in_plane
from metarun.evaluation.poses import robot_poses
from metarun.evaluation.returns import EXPLORED, SUCCESS, evaluate_returns, oracle_returns, tasks_at_once
from metarun.evaluation.timing import fastest_ms
from metarun.loggers.terminal import Screen
from metarun.results.metrics import RETURN
from metarun.results.record_schema import LARGEST
from metarun.results.records import Record
from metarun.results.run_directory import RunDirectory
from metarun.results.statistics import mean_and_ci95
from metarun.rl.stream import EnvironmentStream
from metarun.rl.tasks import EnvironmentTasks
from metarun.runner.components import Parts
from metarun.runner.record import check_diverged, describe_conditions, describe_speed, describe_steps
from metarun.system.progress import OnProgress
from metarun.training.distributed import Ranks
from metarun.training.loop import Training

log = logging.getLogger(__name__)

TIMED_TASKS = 5  # whose adaptation is timed
TIMED_SECONDS = 0.3  # of acting, after which its speed is known well enough


def make_policy_training(parts: Parts, ranks: Ranks) -> Training:
    """Build the training of a config; raise a UserError if it is not possible."""
    train, test, seed = parts.config["train"], parts.config["test"], parts.config["seed"]
    check_settings(parts)
    if train.get("clip_grad") is not None:
        raise UserError(
            f"train.clip_grad={train['clip_grad']}{set_by('train.clip_grad')} but {type(parts.method).__name__} takes "
            "outer steps of its own, which are not clipped",
            "omit `train.clip_grad`.",
        )
    train_stream = parts.environments("train", parts.train_shape, seed)
    val_stream = parts.environments("val", parts.test_shape, test["seed"])
    log_contents(parts.source.data)
    method = parts.policy_method
    evaluate_returns(method, parts.environments("test", parts.test_shape, test["seed"]), 1, min(1, test["steps"]))
    log.info(
        "a step of meta-training acts in %d environments; each step of adaptation takes %d trajectories",
        train["meta_batch"],
        train["shot"],
    )
    return Training(method, parts.schedule, train_stream, val_stream, seed, ranks)


def check_settings(parts: Parts) -> None:
    """Raise a UserError for settings that have no meaning in reinforcement learning."""
    config = parts.config
    unset = {"train.augment": None, "test.interval": "closed", "test.unknown": 0, "test.out_of_scope": 0}
    for key, default in unset.items():
        value = value_at(config, key)
        if value not in (None, default):
            raise UserError(
                f"{key}={value}{set_by(key)} but data={parts.source.name} has environments to act in, and no examples",
                f"omit `{key}`.",
            )
    if config.get("audit"):
        raise UserError(f"audit=true{set_by('audit')} but data={parts.source.name} has no queries", "omit `audit`.")
    _ = parts.test_size


def test_policy(
    run: RunDirectory, training: RunDirectory, parts: Parts, trained: Record, screen: Screen, on_progress: OnProgress
) -> Record:
    """Judge the chosen checkpoint on the meta-test tasks and write the record."""
    check_settings(parts)
    test, (tasks, steps) = parts.config["test"], parts.test_size
    stream = parts.environments("test", parts.test_shape, test["seed"])

    with screen.phase("testing", f"meta-testing {run.path.name}"):
        started = time.perf_counter()
        found = evaluate_returns(parts.policy_method, stream, tasks, steps, on_progress)
        seconds = time.perf_counter() - started
        check_diverged(found)
        untrained = Parts(parts.config).policy_method
        floor_found = evaluate_returns(untrained, stream, tasks, steps, on_progress)
        ms = _adaptation_ms(parts, stream, steps)
    tested: Record = {
        "test_way": stream.shape.way,
        "test_shot": stream.shape.shot,
        "test_query": stream.shape.query,
        "test_tasks": tasks,
        **_figures(found, floor_found),
        "oracle_return": _oracle(stream, tasks, found),
        "trajectories_by_step": [step * stream.shape.shot for step in range(len(found.loss))],
        **describe_steps(found, steps),
        "transductive": False,
        **describe_speed(tasks, seconds, ms),
        "environment_steps_per_second": round(_steps_per_second(parts, stream)),
        "stream_hash": stream.hash(tasks),
        **describe_conditions(parts),
    }
    record = {"id": run.id, "status": "done", **trained, **tested}
    paths, poses = paths_in_plane(parts.policy_method, stream, steps), robot_poses(parts.policy_method, stream, steps)
    return run.finish(record, training, task_columns(found), paths=paths, poses=poses)


def _figures(found: Evaluation, floor_found: Evaluation) -> Record:
    mean, half = mean_and_ci95(found.headline.numpy())
    finite = ~found.diverged
    by_step = found.values[RETURN.column][:, finite].mean(1).tolist()
    floor = floor_found.headline
    solved = {"success_by_step": found.values[SUCCESS].mean(1).tolist()} if SUCCESS in found.values else {}
    return {
        RETURN.key: mean,
        RETURN.ci95: half,
        RETURN.by_step: by_step,
        RETURN.floor: float(floor.mean()) if len(floor) else None,
        EXPLORED: float(found.final[EXPLORED][finite].mean()) if len(found.final[EXPLORED]) else None,
        **solved,
    }


def _oracle(stream: EnvironmentStream, tasks: int, found: Evaluation) -> float | None:
    returns = oracle_returns(stream, tasks)
    return None if returns is None else float(returns[~found.diverged].mean())


def task_columns(found: Evaluation) -> dict[str, NDArray[Any]]:
    """Return the columns of `tasks.parquet`: one row per meta-test task and adaptation step."""
    returns = found.values[RETURN.column]
    steps, tasks = returns.shape
    solved = {SUCCESS: found.values[SUCCESS].flatten().numpy()} if SUCCESS in found.values else {}
    return {
        "task": np.tile(np.arange(tasks), steps),
        "step": np.repeat(np.arange(steps), tasks),
        RETURN.column: returns.masked_fill(~(returns.abs() < LARGEST), torch.nan).flatten().numpy(),
        **solved,
    }


def _steps_per_second(parts: Parts, stream: EnvironmentStream) -> float:
    """Return how many environment steps of adapted policies are taken in a second, with the policy's own time.

    More tasks at once are faster per step, so their number grows until acting in them takes long enough to be timed.
    """
    count, most = 1, tasks_at_once(stream)
    while True:
        tasks = stream.draw(0, count)
        *_, policy = parts.policy_method.adapt(tasks, 1)
        seconds = []
        for _ in range(3):  # other processes can only add time
            started = time.perf_counter()
            taken = tasks.explore(policy, 0).alive.numel()
            seconds.append(time.perf_counter() - started)
        if count == most or min(seconds) > TIMED_SECONDS:
            return taken / min(seconds)
        count = min(8 * count, most)


def _adaptation_ms(parts: Parts, stream: EnvironmentStream, steps: int) -> tuple[float, float]:
    """Return the milliseconds to act in a task and adapt to it, including all steps; wall and CPU time."""

    def adapt(task: EnvironmentTasks) -> None:
        for _ in parts.policy_method.adapt(task, steps):
            pass

    return fastest_ms(adapt, lambda number: stream.draw(number, 1), warm_up=1, repeats=TIMED_TASKS)
