"""Floors of data=movielens on the meta-test tasks of a run: `python scripts/movielens_floors.py [--shots 5 10]`.

The user's mean is that of the support ratings. The film's mean is the mean of meta-train users. Their sum is the film's
mean plus how far this user's support ratings are, on average, from the means of those films.
"""

import argparse
from collections.abc import Sequence

import torch

from metarun.data import MovieLens
from metarun.results.statistics import mean_and_ci95
from metarun.tasks import TaskShape
from metarun.tasks.source import task_source

FILM_MEAN = 0  # the column of inputs


def main(words: Sequence[str] | None = None) -> None:
    """Print the squared error of each floor in a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 10])
    parser.add_argument("--query", type=int, default=10)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--order", choices=["timestamp"], default=None)
    asked = parser.parse_args(words)
    source = task_source(MovieLens(order=asked.order, standardise=False).load())
    for shot in asked.shots:
        stream = source.stream("test", TaskShape(1, shot, asked.query), 0, torch.device("cpu"), torch.float64)
        task = stream.draw(0, asked.tasks)
        support, query = (x[..., FILM_MEAN : FILM_MEAN + 1] for x in (task.support_x, task.query_x))
        guesses = {
            "user's mean": task.support_y.mean(1, keepdim=True).expand_as(task.query_y),
            "film's mean": query,
            "their sum": query + (task.support_y - support).mean(1, keepdim=True),
        }
        for name, guess in guesses.items():
            mean, half = mean_and_ci95((guess - task.query_y).square().mean((1, 2)).numpy())
            print(f"{shot} ratings  {name}  {mean:.4f} ± {half:.4f}")


if __name__ == "__main__":
    main()
