"""The GPU that each run of a sweep sees, and the signals that it gets."""

import signal
import threading
from collections import deque
from contextlib import suppress

import pytest
from omegaconf import OmegaConf

from metarun.errors import Interrupted
from metarun.sweeps.job import Job
from metarun.sweeps.pool import Pool, gpus


@pytest.mark.parametrize(("visible", "found"), [("-1", []), ("", []), ("2, 0", ["2", "0"]), ("1,-1,0", ["1"])])
def test_a_negative_number_hides_the_gpus_that_follow(monkeypatch, visible, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus() == found


class StubChild:
    """A run that ends when all of the pool have started."""

    def __init__(self, started: threading.Barrier, visible: str) -> None:
        self.started, self.visible, self.signals, self.stderr = started, visible, [], deque()

    def events(self):
        self.started.wait(30)
        return iter(())

    def wait(self) -> int:
        return 0

    def send_signal(self, number: int) -> None:
        self.signals.append(number)


@pytest.fixture
def pool_of(monkeypatch):
    """Return a function that runs jobs in a pool of as many stubs, and returns these."""

    def run(jobs: int, on_start=lambda _: None) -> list[StubChild]:
        started, children = threading.Barrier(jobs), []

        def start(command, environment, own_session) -> StubChild:
            children.append(StubChild(started, environment["CUDA_VISIBLE_DEVICES"]))
            on_start(pool)
            return children[-1]

        monkeypatch.setattr("metarun.sweeps.pool.run_command", lambda _: [])
        monkeypatch.setattr("metarun.sweeps.pool.Child", start)
        pool = Pool(OmegaConf.create(), jobs, lambda: jobs)
        with suppress(Interrupted):
            pool.run([Job(i, [], str(i)) for i in range(jobs)])
        return children

    return run


def test_more_runs_than_gpus_share_them_evenly(pool_of, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert sorted(child.visible for child in pool_of(4)) == ["0", "0", "1", "1"]


def test_a_run_that_is_just_starting_gets_the_signal_too(pool_of, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    (child,) = pool_of(1, on_start=lambda pool: pool._stop(signal.SIGINT, None))
    assert child.signals == [signal.SIGTERM]
