"""How well a method knows what it does not know: the likelihood and the intervals of its predicted distributions."""

import torch
from torch import Tensor

from metarun.algorithms import Algorithm, NeuralProcess
from metarun.algorithms.neural_process import negative_log_likelihood
from metarun.evaluation.evaluate import CHUNK_EXAMPLES, tasks_at_once
from metarun.results.records import Record
from metarun.results.statistics import mean_and_ci95
from metarun.tasks.batch import chunks
from metarun.tasks.stream import TaskStream

CENTRAL_90 = 1.6448536269514722  # standard deviations on either side of the mean that hold 90 % of a Gaussian


@torch.no_grad()
def describe_distribution(algorithm: Algorithm, stream: TaskStream, tasks: int, diverged: Tensor) -> Record:
    """Return the record's keys about the predicted distributions of the queries; empty if the method predicts none.

    Args:
        algorithm: in eval mode.
        stream: of meta-test tasks.
        tasks: how many of them.
        diverged: (tasks,) bool; these do not count.
    """
    if not isinstance(algorithm, NeuralProcess):
        return {}
    nll, covered = [], []
    for first, count in chunks(tasks, tasks_at_once(stream, CHUNK_EXAMPLES)):
        batch = stream.draw(first, count)
        mean, sd = algorithm.distributions(batch).double()  # (T, query, outputs) each
        target = batch.query_y.double()
        nll.append(negative_log_likelihood(mean, sd, target).mean((1, 2)).cpu())
        covered.append(((target - mean).abs() <= CENTRAL_90 * sd).double().mean((1, 2)).cpu())
    counted = ~diverged
    mean_nll, half = mean_and_ci95(torch.cat(nll)[counted].numpy())
    return {"nll": mean_nll, "nll_ci95": half, "coverage_90": float(torch.cat(covered)[counted].mean())}
