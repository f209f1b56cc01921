"""The peers: training loops as in learn2learn's examples, and easyfsl's own classes."""

import sys
import warnings
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from metarun.algorithms.learn2learn import importing as learn2learn
from metarun.backbones import ResNet12
from metarun.data import Examples
from metarun.tasks.batch import TaskBatch, TaskShape
from scripts.benchmark.networks import with_weights_of

import_learn2learn = learn2learn.import_learn2learn
Learner = Any  # learn2learn has no types


@cache
def import_easyfsl() -> Any:
    """Return the module `easyfsl` with the submodules in use, without the warnings of its imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn2learn.import_torchvision()
        import easyfsl.datasets
        import easyfsl.methods
        import easyfsl.modules
        import easyfsl.samplers
        import easyfsl.utils
    return easyfsl


def svm_classifier() -> Any:
    """Return learn2learn's head of MetaOptNet.

    Its quadratic programs are solved by qpth, which imports cvxpy for another solver of its own.
    """
    from_learn2learn = import_learn2learn().nn.metaoptnet
    with patch.dict(sys.modules, {"cvxpy": ModuleType("cvxpy")}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its docstrings
        from qpth.qp import QPFunction
    from_learn2learn.QPFunction = QPFunction  # it could not import it
    return from_learn2learn.SVClassifier()


def ridge_logits(support: Tensor, labels: Tensor, query: Tensor, way: int, regularisation: float) -> Tensor:
    """Return (queries, way) unscaled logits of R2-D2 as MetaOptNet's authors compute them (`MetaOptNetHead_Ridge`).

    LibFewShot's `R2D2Layer` is adapted from the same code, but calls `torch.solve`, which torch no longer has.

    Args:
        support: (examples, features).
        labels: (examples,).
        query: (queries, features).
        way: classes.
        regularisation: lambda.
    """
    identity = torch.eye(len(support), dtype=support.dtype, device=support.device)
    one_hot = torch.zeros(len(support), way, dtype=support.dtype, device=support.device)
    one_hot = one_hot.scatter_(1, labels[:, None], 1)
    inverse = torch.linalg.solve(support @ support.T + regularisation * identity, identity)
    return query @ (support.T @ inverse @ one_hot)


def learn2learns_resnet12(ours: ResNet12) -> nn.Module:
    """Return learn2learn's ResNet-12 without dropout, with the weights of ours."""
    network = import_learn2learn().vision.models.ResNet12Backbone(dropblock_dropout=0.0)
    network.avgpool = nn.AdaptiveAvgPool2d(1)  # the same for its 5x5 maps of 84x84 pictures; others are smaller
    return with_weights_of(ours, network)


def easyfsls_resnet12(ours: ResNet12) -> nn.Module:
    """Return easyfsl's ResNet-12 of FEAT with the weights of ours."""
    return with_weights_of(ours, import_easyfsl().modules.feat_resnet12())


def gradient_loss(learner: Learner, embed: nn.Module, tasks: TaskBatch, steps: int, backward: bool) -> float:
    """Adapt a clone to each task and backpropagate its query loss, as learn2learn's examples do; return the mean.

    Args:
        learner: `learn2learn.algorithms.MAML` or `MetaSGD`.
        embed: applied to examples before the learner: the features, in ANIL.
        tasks: a meta-batch.
        steps: inner steps.
        backward: compute the outer gradient.
    """
    total = 0.0
    for support_x, support_y, query_x, query_y in zip(
        tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y, strict=True
    ):
        clone, features = learner.clone(), embed(support_x)
        for _ in range(steps):
            clone.adapt(F.cross_entropy(clone(features), support_y))
        loss = F.cross_entropy(clone(embed(query_x)), query_y)
        if backward:
            loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total / len(tasks)


def gradient_step(learner: Learner, embed: nn.Module, tasks: TaskBatch, steps: int) -> Callable[[], object]:
    """Return one step of learn2learn's outer loop; a learning rate of 0 keeps the weights for the next one."""
    weights = [*learner.parameters(), *embed.parameters()]
    optimizer = torch.optim.Adam(weights, lr=0.0)

    def step() -> None:
        optimizer.zero_grad()
        gradient_loss(learner, embed, tasks, steps, backward=True)
        for weight in weights:
            if weight.grad is not None:
                weight.grad.data.mul_(1.0 / len(tasks))
        optimizer.step()

    return step


def prototypical_loss(network: nn.Module, x: Tensor, labels: Tensor, way: int, shot: int, query: int) -> Tensor:
    """Return the loss of one task as learn2learn's prototypical example computes it.

    Args:
        network: the embedding.
        x: (way * (shot + query), *image), classes in any order, support first within a class.
        labels: (way * (shot + query),).
        way: classes.
        shot: support examples per class.
        query: queries per class.
    """
    order = torch.sort(labels, stable=True)
    x, labels = x[order.indices], order.values
    embeddings = network(x)
    is_support = torch.zeros(len(x), dtype=torch.bool)
    for i in range(shot):
        is_support[torch.arange(way) * (shot + query) + i] = True
    prototypes = embeddings[is_support.to(x.device)].reshape(way, shot, -1).mean(1)
    queries = embeddings[~is_support.to(x.device)]
    n, m = len(queries), way
    distances = (queries.unsqueeze(1).expand(n, m, -1) - prototypes.unsqueeze(0).expand(n, m, -1)) ** 2
    return F.cross_entropy(-distances.sum(dim=2), labels[~is_support.to(x.device)])


def as_one_set(tasks: TaskBatch) -> tuple[Tensor, Tensor]:
    """Return the first task's examples and labels as the peers' data sets return them."""
    return torch.cat([tasks.support_x[0], tasks.query_x[0]]), torch.cat([tasks.support_y[0], tasks.query_y[0]])


class InMemory(Dataset[tuple[Tensor, int]]):
    """Examples for the peers: all in memory as float32, so that nothing is decoded."""

    def __init__(self, examples: Examples, device: torch.device) -> None:
        values = torch.from_numpy(examples.values).to(device)
        self.values = values.float() / 255 if values.dtype == torch.uint8 else values.float()
        self.labels = [c for c, size in enumerate(examples.sizes.tolist()) for _ in range(size)]

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.values[index], self.labels[index]

    def __len__(self) -> int:
        return len(self.labels)

    def get_labels(self) -> list[int]:
        """Return the labels, as easyfsl's `FewShotDataset` does."""
        return self.labels


def learn2learn_tasks(dataset: InMemory, shape: TaskShape) -> Any:
    """Return learn2learn's endless Taskset."""
    l2l = import_learn2learn()
    meta, transforms = l2l.data.MetaDataset(dataset), l2l.data.transforms
    chosen = [
        transforms.NWays(meta, n=shape.way),
        transforms.KShots(meta, k=shape.shot + shape.query),
        transforms.LoadData(meta),
        transforms.RemapLabels(meta),
    ]
    return l2l.data.Taskset(meta, task_transforms=chosen, num_tasks=-1)


def easyfsl_tasks(dataset: InMemory, shape: TaskShape, tasks: int) -> DataLoader[Any]:
    """Return the loader of easyfsl's tutorials, in this process."""
    # easyfsl 1.5 passes its sampler's base class an argument that torch has removed.
    with patch.object(Sampler, "__init__", lambda *_, **__: None):
        sampler = import_easyfsl().samplers.TaskSampler(dataset, shape.way, shape.shot, shape.query, tasks)
    return DataLoader(dataset, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
