"""Examples of several named fields, such as token ids with a mask, from the data set to the meta-gradient."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from metarun.algorithms import ANIL, MAML, Baseline, FineTune, NearestCentroid, ProtoNet, Reptile, SimpleShot
from metarun.data import SPLITS, ClassDataset, Examples
from metarun.data.files.cache import apply_storage
from metarun.data.inputs import InputSpec
from metarun.errors import UserError
from metarun.evaluation.evaluate import evaluate
from metarun.evaluation.feature_cache import on_cached_features
from metarun.evaluation.floor import floor
from metarun.evaluation.transduction import is_transductive
from metarun.tasks import TaskShape
from metarun.tasks.batch import TaskBatch
from metarun.tasks.source import task_source
from metarun.tasks.stream import TaskStream
from metarun.training.gradient_check import check_order

LENGTH, WORDS = 6, 20
TOKENS = np.dtype([("ids", np.int32, (LENGTH,)), ("mask", np.bool_, (LENGTH,))])
CPU = torch.device("cpu")


class MeanEmbedding(nn.Module):
    """The mean embedding of the unmasked words."""

    features = 8

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(WORDS, self.features))

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        weights = x["mask"].to(self.embedding.dtype)[..., None]
        return (self.embedding[x["ids"]] * weights).sum(-2) / weights.sum(-2)


def tokens(classes: int = 6, per_class: int = 8, dtype: np.dtype = TOKENS, seed: int = 0) -> ClassDataset:
    rng = np.random.default_rng(seed)

    def of_class(c: int) -> np.ndarray:
        examples = np.zeros(per_class, dtype)
        lengths = rng.integers(2, LENGTH + 1, per_class)
        examples["mask"] = np.arange(LENGTH) < lengths[:, None]
        examples["ids"] = np.where(examples["mask"], (rng.integers(0, 6, (per_class, LENGTH)) + 2 * c) % WORDS, 0)
        return examples

    splits = {split: Examples.from_classes({f"{split}{c}": of_class(c) for c in range(classes)}) for split in SPLITS}
    return ClassDataset("tokens", splits)


def stream(data: ClassDataset | None = None, dtype: torch.dtype = torch.float64) -> TaskStream:
    return task_source(data or tokens()).stream("train", TaskShape(4, 2, 3), 0, CPU, dtype)


def make(name: str) -> nn.Module:
    torch.manual_seed(0)
    made = {
        "maml": lambda: MAML(MeanEmbedding(), 4, 0.5, 2),
        "anil": lambda: ANIL(MeanEmbedding(), 4, 0.5, 2),
        "reptile": lambda: Reptile(MeanEmbedding(), 4, 0.1, 2, 4, 4, "sgd"),
        "protonet": lambda: ProtoNet(MeanEmbedding()),
        "baseline": lambda: Baseline(MeanEmbedding(), 6),
        "finetune": lambda: FineTune(MeanEmbedding(), 6),
        "simpleshot": lambda: SimpleShot(MeanEmbedding(), 6),
    }[name]()
    return made.double()


METHODS = ("maml", "anil", "reptile", "protonet", "baseline", "finetune", "simpleshot")


def test_the_fields_of_a_task_are_those_of_its_examples():
    data = tokens()
    assert data.inputs == {
        "ids": InputSpec((LENGTH,), "int32", "ids"),
        "mask": InputSpec((LENGTH,), "bool", "mask"),
    }
    tasks = stream(data).draw(0, 5)
    assert tasks.support_x["ids"].shape == (5, 4 * 2, LENGTH)
    assert (tasks.query_x["ids"].dtype, tasks.query_x["mask"].dtype) == (torch.int64, torch.bool)
    stored = data.splits["train"].values
    for c, ids, mask in zip(
        tasks.classes[0], tasks.support_x["ids"][0, ::2], tasks.support_x["mask"][0, ::2], strict=True
    ):
        of_class = stored[8 * int(c) : 8 * int(c) + 8]
        assert any((row["ids"] == ids.numpy()).all() and (row["mask"] == mask.numpy()).all() for row in of_class)


def test_tasks_from_disk_equal_those_from_memory(root):
    data = tokens()
    here, there = (stream(apply_storage(data, storage)).draw(3, 4) for storage in ("memory", "disk"))
    assert apply_storage(data, "disk").splits["val"].on_disk
    for name in ("ids", "mask"):
        assert torch.equal(here.support_x[name], there.support_x[name])
        assert torch.equal(here.query_x[name], there.query_x[name])


def test_the_hash_covers_every_field():
    one = tokens()
    changed = tokens()
    changed.splits["test"].values["mask"][0, 0] ^= True
    assert one.hash != changed.hash
    assert tokens().hash == one.hash


@pytest.mark.parametrize("name", METHODS)
def test_looped_and_vectorised_agree(name):
    tasks = stream().draw(0, 3)
    found = []
    for how in ("loop", "vectorised"):
        method = make(name)
        method.how = how
        loss = method.meta_loss(tasks)
        loss.backward()
        found.append((loss.detach(), method.backbone.embedding.grad, method.eval().predict(tasks, 2)))
    for looped, vectorised in zip(*found, strict=True):
        torch.testing.assert_close(looped, vectorised, rtol=1e-10, atol=1e-12)


def test_the_meta_gradient_matches_finite_differences():
    check_order(make("maml"), stream().draw(0, 1))


def test_masked_positions_do_not_change_predictions():
    tasks = stream().draw(0, 2)
    support = dict(tasks.support_x, ids=tasks.support_x["ids"].masked_fill(~tasks.support_x["mask"], 7))
    other = TaskBatch(support, tasks.support_y, tasks.query_x, tasks.query_y, tasks.way, tasks.classes)
    for method in (make("protonet"), NearestCentroid(MeanEmbedding())):
        assert torch.equal(method.predict(tasks, 0), method.predict(other, 0))


def test_the_floor_counts_ids():
    ids = torch.tensor([[1, 1, 2], [3, 3, 3], [1, 2, 0], [3, 0, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.bool)
    x = {"ids": ids[None], "mask": mask[None]}
    support, query = ({name: field[:, part] for name, field in x.items()} for part in (slice(2), slice(2, None)))
    labels = torch.tensor([[0, 1]])
    # counts of 0, 1, 2, 3: the support (0, 2, 1, 0) and (0, 0, 0, 3); the queries (0, 1, 1, 0) and (0, 0, 0, 1)
    expected = torch.tensor([[[[-1.0, -11.0], [-6.0, -4.0]]]])
    assert torch.equal(floor(TaskBatch(support, labels, query, labels, 2)), expected)


def test_evaluation_on_cached_features_gives_the_same_predictions():
    method, tasks = make("protonet").eval(), stream()
    of_features = on_cached_features(method, tasks, 100, lambda: None, {})
    assert of_features is not None
    torch.testing.assert_close(
        of_features[0].predict(of_features[1].draw(2, 3), 0), method.predict(tasks.draw(2, 3), 0)
    )
    assert evaluate(method, tasks, 20, 0).headline.mean() > 0.3
    assert not is_transductive(method, tasks, 0)


def test_invalid_inputs_are_refused():
    with pytest.raises(UserError, match="split 'train' of tokens has dtype float64 but examples must be"):
        tokens(dtype=np.dtype([("ids", np.int32, (LENGTH,)), ("mask", np.bool_, (LENGTH,)), ("x", np.float64)]))
    with_floats = np.dtype([*TOKENS.descr, ("x", np.float32, (2,))])
    data = tokens(dtype=with_floats)
    data.splits["val"].values["x"][9, 1] = np.nan
    with pytest.raises(UserError, match="class 'val1' of split 'val' of tokens has an example with a number"):
        ClassDataset("tokens", data.splits)
