"""Listed tasks as a stream: any way, unequal shots, in their order."""

import numpy as np
import pytest
import torch

from metarun.data.own.episodes import Episode, Episodes
from metarun.evaluation.evaluate import evaluate_predictions
from metarun.evaluation.floor import floor
from metarun.tasks.episode_stream import EpisodeStream
from metarun.tasks.varying_stream import by_shape, size_texts

ONE = Episode("one", np.array([0, 1]), np.array([0, 1]), np.array([2, 3]), np.array([0, 1]))
TWO = Episode("two", np.array([0, 2, 3, 1]), np.array([0, 0, 1, 2]), np.array([4]), np.array([2]))
THREE = Episode("three", np.array([4, 3]), np.array([0, 1]), np.array([0, 1]), np.array([0, 1]))


def stream(*episodes: Episode) -> EpisodeStream:
    values = np.array([[0.0], [1.0], [0.1], [0.9], [0.8]], np.float32)
    return EpisodeStream(Episodes("mine", values, episodes), "raw", torch.device("cpu"), torch.float32)


def test_tasks_are_drawn_as_they_are_listed():
    batch = stream(ONE, THREE).draw(1, 2)
    assert batch.support_x[..., 0].tolist() == pytest.approx(np.array([[0.8, 0.9], [0.0, 1.0]]))
    assert batch.query_y.tolist() == [[0, 1], [0, 1]], "after the last one they come again"
    assert batch.way == 2


def test_tasks_of_several_sizes_are_grouped():
    mixed = stream(ONE, TWO, THREE)
    assert size_texts(mixed) == ("2..3", "1..2")
    assert (mixed.shape.query, mixed.available, mixed.has_equal_shots) == (1, 3, False)
    assert [numbers.tolist() for _, numbers in by_shape(mixed, 3)] == [[0, 2], [1]]
    with pytest.raises(ValueError, match="of several sizes"):
        mixed.draw(0, 2)


def test_values_come_in_the_order_of_the_list():
    found = evaluate_predictions(floor, stream(ONE, TWO, THREE), 3)
    # In "two", 0.8 is nearer to the 0.9 of the second class than to the 1.0 of its own.
    assert found.values["accuracy"][-1].tolist() == [1.0, 0.0, 1.0]


def test_the_hash_is_of_the_tasks_that_count():
    assert stream(ONE, TWO).hash(1) == stream(ONE, THREE).hash(1)
    assert stream(ONE, TWO).hash(2) != stream(ONE, THREE).hash(2)
