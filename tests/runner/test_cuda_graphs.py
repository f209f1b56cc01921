"""`train.cuda_graph`: when steps are recorded."""

import pytest
import torch

from metarun.config.run_id import run_id
from metarun.errors import UserError
from metarun.runner.cuda_graphs import find_recorder
from metarun.training.cuda_graph import CudaGraphs
from tests.runner.test_components import build_algorithm, config

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def with_choice(choice):
    made = config("protonet")
    return {**made, "train": {**made["train"], "cuda_graph": choice}}


def test_steps_are_recorded_on_a_gpu_if_asked_for():
    algorithm = build_algorithm(config("protonet"))
    assert isinstance(find_recorder(algorithm, with_choice(True), CUDA), CudaGraphs)
    assert find_recorder(algorithm, with_choice(False), CUDA) is None
    assert find_recorder(algorithm, config("protonet"), CUDA) is None
    with pytest.raises(UserError, match=r"^train\.cuda_graph=true needs a GPU but device=cpu; set `train"):
        find_recorder(algorithm, with_choice(True), CPU)
    with pytest.raises(UserError, match=r"^train\.cuda_graph='auto' is not one of true, false\.$"):
        find_recorder(algorithm, with_choice("auto"), CUDA)


def test_it_is_in_the_id_of_runs_that_use_it():
    without, true, false = map(run_id, (config("protonet"), with_choice(True), with_choice(False)))
    assert without == false != true
