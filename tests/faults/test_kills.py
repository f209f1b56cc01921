"""After a kill at any time, the same command resumes and reproduces the numbers of an uninterrupted run."""

import json
import random
import signal
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.faults.bent import at_renaming, die
from tests.faults.commands import Command, metarun
from tests.faults.conftest import (
    SHARE,
    TINY,
    assert_same_numbers,
    killed_repeatedly,
    no_traceback,
    the_run,
    undisturbed,
)

pytestmark = pytest.mark.command

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
SMALL = ["train.validate_every=4", "train.validate_tasks=6", "test.tasks=12", "test.steps=2", "task.query=5"]
CONV4 = ["backbone.filters=8", "train.iterations=32", *SMALL]
SINUSOID = ["data=sinusoid", "task=10points", "backbone=mlp", "train.iterations=60", *SMALL[:-1]]
STEPWISE = ["train.lr_decay=0.5", "train.lr_decay_every=7"]
ACTING = ["data=navigation2d", "data.horizon=20", "task.shot=5", "task.query=5", "train.meta_batch=5"]
ACTING += ["train.iterations=24", *SMALL[:-1], "backbone.hidden=[8]"]
NOISY = ["backbone=module", "backbone.module._target_=noisy.network"]
NOISY_NETWORK = """
from torch import nn

def network():
    return nn.Sequential(nn.Conv2d(1, 8, 5, stride=4), nn.Dropout(0.3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
"""

# All kinds of methods, and everything that has state: schedules, running statistics, random numbers in a network, other
# optimisers, other precisions.
CASES = {
    "maml": ["algo=maml", "algo.inner_steps=2", "train.lr_schedule=cosine", "train.over_tasks=loop", *CONV4],
    "maml on a sinusoid": ["algo=maml", "train.lr_schedule=linear", *SINUSOID],
    "mamlpp": ["algo=mamlpp", "algo.inner_steps=2", *CONV4],
    "reptile": ["algo=reptile", "train.outer_optimizer=sgd", "train.outer_lr=0.1", *CONV4],
    "protonet, running statistics": ["algo=protonet", "backbone.norm=running", *STEPWISE, *CONV4],
    "protonet, best early": ["algo=protonet", "train.outer_lr=0.3", *CONV4, "train.iterations=48"],
    "anil in bfloat16": ["algo=anil", "precision=bf16", "algo.inner_steps=2", *CONV4],
    "a network that draws random numbers": ["algo=protonet", *NOISY, "train.iterations=32", *SMALL],
    "baseline": ["algo=baseline", *CONV4],
    "promp": ["algo=promp", *ACTING],
    "metasgd": ["algo=metasgd", "algo.inner_steps=2", "train.clip_grad=1", *CONV4],
}


def expected(number: int) -> set[int]:
    """The possible exit codes after a signal, before and after the command handles signals."""
    return (
        {-number} if number == signal.SIGKILL else {128 + number, -number, 130 if number == signal.SIGINT else -number}
    )


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.timeout(1800)
def test_fifty_kills_at_random_times_change_no_number(folder, instants):
    wanted, kills = max(1, round(50 * SHARE / len(CASES))), {}
    for name, config in CASES.items():
        words, kills[name] = ["train", *config], 0
        alone, seconds = undisturbed(words, folder / f"{name}, undisturbed", NOISY_NETWORK)
        for attempt in count():  # repeat a run that ended before it was killed often enough
            place = folder / f"{name}, {attempt}"
            place.mkdir()
            (place / "noisy.py").write_text(NOISY_NETWORK)
            kills[name] += kill_and_resume(words, place, 0.35 * seconds, wanted - kills[name], instants)
            assert_same_numbers(the_run(place), alone)
            if kills[name] == wanted:
                break
            seconds *= 0.7  # so that more kills come before the end of the next run
    print(f"{sum(kills.values())} kills: {kills}")
    early = json.loads((the_run(folder / "protonet, best early, 0") / "result.json").read_text())
    assert early["best_iteration"] < early["iterations"], "an early checkpoint was chosen"


def kill_and_resume(words: list[str], place: Path, within: float, max_kills: int, instants: random.Random) -> int:
    """Kill a run up to `max_kills` times, each within so many CPU seconds, by any signal; return the count."""
    sent: list[int] = []

    def choose() -> tuple[float, int]:
        sent.append(instants.choice(SIGNALS))
        return instants.uniform(0, within), sent[-1]

    ends = killed_repeatedly(words, place, choose, max_kills)
    for number, ended in zip(sent, ends, strict=False):
        assert ended.code in {*expected(number), 0}, ended
    return sum(ended.code != 0 for ended in ends)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [["algo=maml", *SINUSOID], *([f"algo={algo}", *ACTING] for algo in ("maml_rl", "promp", "rl2"))],
    ids=lambda words: words[0],
)
def test_a_few_kills_change_no_number(folder, instants, words):
    words = ["train", *words]
    alone, seconds = undisturbed(words, folder / "undisturbed")
    place = folder / "killed"
    place.mkdir()
    signals = iter(SIGNALS)
    ends = killed_repeatedly(
        words, place, lambda: (instants.uniform(0.2, 0.5) * seconds, next(signals)), max_kills=len(SIGNALS)
    )
    assert len(ends) > 2
    assert_same_numbers(the_run(place), alone)


def killed_at_a_renaming(nth: int, afterwards: bool, folder: Path) -> bool:
    """Kill a run at a renaming and resume it; return whether there was such a renaming."""
    folder.mkdir()
    ended = Command(TINY, folder, partial(at_renaming, nth, die, afterwards)).end()
    assert ended.code in (0, -signal.SIGKILL), ended
    again = no_traceback(metarun(*TINY, folder=folder))
    assert again.code == 0, again
    return ended.code != 0


@pytest.mark.slow
@pytest.mark.sampled
def test_a_kill_between_a_checkpoint_and_its_curve_changes_no_number(folder):
    alone, _ = undisturbed(TINY, folder / "undisturbed")
    assert killed_at_a_renaming(7, afterwards=False, folder=folder / "killed")
    assert_same_numbers(the_run(folder / "killed"), alone)


@pytest.mark.slow
@pytest.mark.sampled
@pytest.mark.timeout(900)
def test_a_kill_before_and_after_every_renaming_changes_no_number(folder):
    alone, _ = undisturbed(TINY, folder / "undisturbed")
    nth, kills = 1, 0
    while killed_at_a_renaming(nth, False, folder / f"before {nth}") | killed_at_a_renaming(
        nth, True, folder / f"after {nth}"
    ):
        assert_same_numbers(the_run(folder / f"before {nth}"), alone)
        assert_same_numbers(the_run(folder / f"after {nth}"), alone)
        nth, kills = nth + round(1 / SHARE), kills + 2
    print(f"{kills} kills, before and after a renaming")
    assert nth > 10, "config, environment, checkpoints, curves, tasks, examples and the row are renamed"


@pytest.mark.slow
@pytest.mark.sampled
def test_a_run_killed_repeatedly_while_finishing_is_resumed(folder):
    alone, _ = undisturbed(TINY, folder / "undisturbed")
    place = folder / "killed"
    place.mkdir()
    for name in ("result.json", "tasks.parquet", "SHA256SUMS", "environment.json"):
        assert Command(TINY, place, partial(at_renaming, name, die, True)).end().code == -signal.SIGKILL, name
        (the_run(place) / "result.json").unlink(missing_ok=True)
    ended = no_traceback(metarun(*TINY, folder=place))
    assert ended.code == 0
    assert "cannot be read" not in ended.out
    assert_same_numbers(the_run(place), alone)
