"""Cases of sampling tasks and of evaluating a method on many of them."""

import copy
import random
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from metarun.algorithms import MAML, ProtoNet, to_channels_last
from metarun.algorithms.learn2learn.learner import adapted_learners
from metarun.backbones.pretrained import Pretrained
from metarun.data.examples import SPLITS, ClassDataset, Examples
from metarun.evaluation.evaluate import evaluate
from metarun.tasks.batch import Support, TaskBatch, TaskShape
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.stream import StreamSpec
from scripts.benchmark.case import Comparison, Duel, Peer, Setting, Targets, check_agreement
from scripts.benchmark.networks import Protocol, compile_blocks, omniglot, with_torchs_batch_norm
from scripts.benchmark.peers import InMemory, easyfsl_tasks, import_easyfsl, import_learn2learn, learn2learn_tasks

PROTONET = Protocol(way=5, shot=1, query=15, downsample="pool", norm="running")
MAML_TEST = Protocol(way=5, shot=1, query=1, steps=10)


def comparisons() -> dict[str, Comparison]:
    """Return the cases, by name."""
    return {
        "draw_tasks": Comparison(
            "sampling 1,000 tasks, Omniglot 5w1s",
            Targets(100, 100),
            lambda setting: prepare_drawing(100 if setting.short else 1000, setting),
        ),
        "test_protonet": Comparison(
            "meta-testing ProtoNet on 10,000 tasks, Omniglot 5w1s, 15 queries",
            Targets(40, 100),
            lambda setting: (
                prepare_protonet_test(1000, 10, replace(PROTONET, filters=16), setting)
                if setting.short
                else prepare_protonet_test(10_000, 50, PROTONET, setting)
            ),
        ),
        "test_features": Comparison(
            "meta-testing ProtoNet on 10,000 tasks, 5w1s, 15 queries, 384 numbers of a frozen encoder",
            Targets(3, 10),
            lambda setting: prepare_features_test(*((1000, 10) if setting.short else (10_000, 200)), setting),
        ),
        "test_maml": Comparison(
            "meta-testing MAML on 1,000 tasks, Omniglot 5w1s, 10 steps",
            Targets(2.8, 30),
            lambda setting: prepare_maml_test(*((40, 10) if setting.short else (1000, 50)), MAML_TEST, setting),
        ),
    }


def stream(split: str, shape: TaskShape, setting: Setting) -> ClassTaskStream:
    """Return tasks of Omniglot or, in a short benchmark, of a few random pictures."""
    data = omniglot(real=not setting.short)
    return ClassTaskStream(data, StreamSpec(split, shape, 0, setting.device, torch.float32))  # type: ignore[arg-type]


def prepare_drawing(tasks: int, setting: Setting) -> Duel:
    """Prepare sampling tasks until their tensors are on the device."""
    shape = TaskShape(5, 1, 1)
    ours = stream("train", shape, setting)
    examples = omniglot(real=not setting.short).splits["train"]
    taskset = learn2learn_tasks(InMemory(examples, setting.device), shape)
    loader = easyfsl_tasks(InMemory(examples, torch.device("cpu")), shape, tasks)
    random.seed(0)  # both peers use Python's generator

    def learn2learns() -> object:
        return [taskset.sample() for _ in range(tasks)]

    def easyfsls() -> object:
        return [[tensor.to(setting.device) for tensor in task[:4]] for task in loader]

    drawn, theirs = ours.draw(0, 1), taskset.sample()
    size = drawn.support_x.numel() + drawn.query_x.numel()
    peers = {
        "learn2learn": Peer(learn2learns, agreement=check_agreement("a task's size", size, theirs[0].numel())),
        "easyfsl": Peer(
            easyfsls,
            agreement=check_agreement("a task's size", size, sum(x.numel() for x in next(iter(loader))[0:3:2])),
        ),
    }
    return Duel(lambda: ours.draw(0, tasks), peers, flops=None)


def prepare_protonet_test(tasks: int, peers_tasks: int, protocol: Protocol, setting: Setting) -> Duel:
    """Prepare our evaluation and easyfsl's, which evaluates fewer tasks."""
    easyfsl = import_easyfsl()
    ours = compile_blocks(to_channels_last(ProtoNet(protocol.backbone()).to(setting.device)).eval())
    ours_stream = stream("test", protocol.shape, setting)
    classifier = easyfsl.methods.PrototypicalNetworks(protocol.backbone().to(setting.device)).eval()
    random.seed(0)
    dataset = InMemory(omniglot(real=not setting.short).splits["test"], torch.device("cpu"))
    loader = easyfsl_tasks(dataset, protocol.shape, peers_tasks)

    def easyfsls() -> object:
        return easyfsl.utils.evaluate(classifier, loader, device=str(setting.device), use_tqdm=False)

    task = ours_stream.draw(0, 1)
    with torch.no_grad():
        classifier.process_support_set(task.support_x[0], task.support_y[0])
        theirs = -classifier(task.query_x[0]).square().mean().item()
    agreement = check_agreement("ProtoNet's logits", ours.predict(task, 0).mean().item(), theirs)
    share = peers_tasks / tasks
    peer = Peer(easyfsls, share, agreement, f"the peer: {peers_tasks:,} tasks, scaled")
    pictures = min(tasks * protocol.examples, len(dataset))  # each is embedded once
    return Duel(
        lambda: evaluate(ours, ours_stream, tasks, 0),
        {"easyfsl": peer},
        flops=lambda: ours.predict(task, 0),
        flops_share=protocol.examples / pictures,
    )


def prepare_features_test(tasks: int, peers_tasks: int, setting: Setting) -> Duel:
    """Prepare our evaluation and easyfsl's on vectors such as MiniLM's of CLINC150: 75 classes of 150 texts."""
    easyfsl = import_easyfsl()
    random.seed(0)
    rng = np.random.default_rng(0)
    splits = {
        split: Examples.from_classes(
            {
                f"{split} {c}": vectors + rng.normal(size=(150, 384)).astype(np.float32)
                for c, vectors in enumerate(centres)
            }
        )
        for split, centres in zip(SPLITS, rng.normal(size=(3, 75, 1, 384)).astype(np.float32), strict=True)
    }
    data = ClassDataset("vectors", splits)
    shape = TaskShape(5, 1, 15)
    ours = ProtoNet(Pretrained(data.inputs, None, head="none").to(setting.device)).eval()
    ours_stream = ClassTaskStream(data, StreamSpec("test", shape, 0, setting.device, torch.float32))
    classifier = easyfsl.methods.PrototypicalNetworks(nn.Identity().to(setting.device)).eval()
    loader = easyfsl_tasks(InMemory(splits["test"], torch.device("cpu")), shape, peers_tasks)

    def easyfsls() -> object:
        return easyfsl.utils.evaluate(classifier, loader, device=str(setting.device), use_tqdm=False)

    task = ours_stream.draw(0, 1)
    classifier.process_support_set(task.support_x[0], task.support_y[0])
    theirs = -classifier(task.query_x[0]).square().mean().item()
    agreement = check_agreement("ProtoNet's logits", ours.predict(task, 0).mean().item(), theirs)
    peer = Peer(easyfsls, peers_tasks / tasks, agreement, f"the peer: {peers_tasks:,} tasks, scaled")
    return Duel(lambda: evaluate(ours, ours_stream, tasks, 0), {"easyfsl": peer}, flops=None)


def prepare_maml_test(tasks: int, peers_tasks: int, protocol: Protocol, setting: Setting) -> Duel:
    """Prepare our evaluation and learn2learn's loop, both over the whole curve; theirs evaluates fewer tasks."""
    torch.manual_seed(0)
    ours = MAML(protocol.backbone(), protocol.way, inner_lr=0.1, inner_steps=1).to(setting.device).eval()
    ours_stream = stream("test", protocol.shape, setting)
    network = nn.Sequential(with_torchs_batch_norm(ours.backbone), copy.deepcopy(ours.head)).train()
    learner = import_learn2learn().algorithms.MAML(network, lr=0.1, first_order=True)
    compile_blocks(ours)
    sampled = ours_stream.draw(0, peers_tasks)

    def learn2learns() -> torch.Tensor:
        return _curves(learner, sampled, protocol.steps)

    few = ours_stream.draw(0, 2)
    theirs = _curves(learner, few, protocol.steps)
    agreement = check_agreement(
        "MAML's logits", ours.predict(few, protocol.steps).square().mean().item(), theirs.square().mean().item()
    )
    share = peers_tasks / tasks
    peer = Peer(learn2learns, share, agreement, f"the peer: {peers_tasks:,} tasks, scaled")
    return Duel(
        lambda: evaluate(ours, ours_stream, tasks, protocol.steps),
        {"learn2learn": peer},
        flops=learn2learns,
        flops_share=share,
    )


@torch.no_grad()
def _curves(learner: Any, tasks: TaskBatch, steps: int) -> torch.Tensor:
    """Return (steps + 1, T, queries, way) logits of learn2learn's learner, task by task."""
    each = zip(tasks.support_x, tasks.support_y, tasks.query_x, strict=True)
    curves = [
        [
            adapted.predict(query_x)
            for adapted in adapted_learners(learner, nn.Identity(), Support(x, y, tasks.way), steps)
        ]
        for x, y, query_x in each
    ]
    return torch.stack([torch.stack(curve) for curve in curves], 1)
