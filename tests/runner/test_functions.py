"""Every method of regression learns functions with several inputs and outputs."""

import pytest
import torch
from hydra import compose, initialize_config_dir

from metarun.config.compose import resolve
from metarun.config.folder import config_dir
from metarun.config.schema import register
from metarun.evaluation.floor import floor
from metarun.runner.components import Parts

METHODS = ("maml", "fomaml", "anil", "metasgd", "mamlpp", "reptile", "imaml", "cavia", "r2d2")
METHODS += ("cnp", "attentive_np", "transformer_np")


def parts_of(algo: str, data: str, *words: str) -> Parts:
    register()
    chosen = [f"chosen.algo={algo}", f"chosen.data={data}", "chosen.backbone=mlp", "device=cpu"]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return Parts(resolve(compose("config", [f"algo={algo}", f"data={data}", *chosen, *words])))


@pytest.mark.slow
@pytest.mark.parametrize("algo", METHODS)
def test_a_method_learns_functions_of_several_inputs_and_outputs(algo):
    words = (
        "data.inputs=2",
        "data.outputs=3",
        "data.noise=0.1",
        "backbone.hidden=[8]",
        "test.steps=2",
        "train.query=10",
    )
    parts = parts_of(algo, "gp", *words)
    tasks = parts.stream("train", parts.train_shape, 0).draw(0, 4)
    loss = parts.algorithm.meta_loss(tasks)
    loss.backward()
    assert loss.isfinite()
    assert any(weight.grad is not None and weight.grad.any() for weight in parts.algorithm.parameters())
    predicted = parts.algorithm.eval().predict(tasks, 2)
    assert predicted.shape[1:] == tasks.query_y.shape == (4, 10, 3)
    assert predicted.isfinite().all()


def test_the_floor_of_several_outputs_is_the_mean_of_each():
    parts = parts_of("r2d2", "linear", "data.inputs=2", "data.outputs=2")
    tasks = parts.test_stream.draw(0, 3)
    assert torch.equal(floor(tasks)[0, :, 0], tasks.support_y.mean(1))
    assert parts.algorithm.predict(tasks, 0).shape == (1, 3, 10, 2)
