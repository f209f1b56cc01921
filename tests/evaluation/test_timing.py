"""The time of one task on a busy machine."""

import time

import torch

from metarun.evaluation.timing import fastest_ms


def test_the_times_of_a_task_are_the_least_of_several_in_wall_and_cpu_time(monkeypatch):
    clocks = {"perf_counter": 0.0, "process_time": 0.0}
    costs = {0: (0.001, 0.001), 1: (0.5, 0.02), 2: (0.03, 0.04), 3: (0.25, 0.03)}  # 0: the warm-up; 1, 3: others ran

    def run(task: torch.Tensor) -> None:
        for clock, cost in zip(clocks, costs[int(task)], strict=True):
            clocks[clock] += cost

    for clock in tuple(clocks):
        monkeypatch.setattr(time, clock, lambda clock=clock: clocks[clock])
    wall, cpu = fastest_ms(run, torch.tensor, warm_up=1, repeats=3)
    assert (round(wall, 6), round(cpu, 6)) == (30, 20)
