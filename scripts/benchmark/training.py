"""Cases of one outer step: loss, gradient and optimiser, on given tasks."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import nn

from metarun.algorithms import ANIL, MAML, Algorithm, MetaSGD, ProtoNet, to_channels_last
from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.backbones import ResNet12
from metarun.tasks.batch import TaskBatch
from scripts.benchmark.case import NO_SLOWER, Comparison, Duel, Peer, Setting, Targets, check_agreement
from scripts.benchmark.networks import Protocol, compile_blocks, in_float64, random_tasks, with_torchs_batch_norm
from scripts.benchmark.peers import (
    as_one_set,
    easyfsls_resnet12,
    gradient_loss,
    gradient_step,
    import_easyfsl,
    import_learn2learn,
    learn2learns_resnet12,
    prototypical_loss,
)
from scripts.benchmark.timing import Work

Method = Literal["maml", "fomaml", "anil", "metasgd"]

MAML_OMNIGLOT = Protocol(way=5, shot=1, query=1, steps=1, meta_batch=32)
MAML_OMNIGLOT_20WAY = Protocol(way=20, shot=1, query=1, steps=5, meta_batch=16)
MAML_MINIIMAGENET = Protocol(
    way=5, shot=1, query=15, steps=5, inner_lr=0.01, meta_batch=4, image=(3, 84, 84), filters=32, downsample="pool"
)
PROTONET_OMNIGLOT = Protocol(way=60, shot=1, query=5, downsample="pool", norm="running")
PROTONET_MINIIMAGENET = Protocol(
    way=20, shot=5, query=15, image=(3, 84, 84), filters=64, downsample="pool", norm="running"
)

RESNET12 = Protocol(way=5, shot=1, query=5, image=(3, 84, 84), network="resnet12", norm="running")
MAML_RESNET12 = replace(RESNET12, query=1, norm="batch", inner_lr=0.01)

TITLES: dict[Method, str] = {"maml": "MAML", "fomaml": "first-order MAML", "anil": "ANIL", "metasgd": "Meta-SGD"}


def gradient_case(method: Method, data: str, protocol: Protocol, targets: Targets, short: Protocol) -> Comparison:
    """Return the case of a gradient-based method's outer step."""
    return Comparison(
        title=f"{TITLES[method]} step, {data} {protocol.shape}, {protocol.network}, {_count(protocol.steps)}",
        targets=targets,
        prepare=lambda setting: prepare_gradient_step(method, short if setting.short else protocol, setting),
        max_repeats=most_repeats(protocol),
    )


def _count(steps: int) -> str:
    return f"{steps} inner step{'s' if steps > 1 else ''}"


def protonet_case(data: str, protocol: Protocol, targets: Targets, short: Protocol) -> Comparison:
    """Return the case of ProtoNet's training step."""
    return Comparison(
        title=f"ProtoNet step, {data} {protocol.shape}, {protocol.network}",
        targets=targets,
        prepare=lambda setting: prepare_protonet_step(short if setting.short else protocol, setting),
        max_repeats=most_repeats(protocol),
    )


def most_repeats(protocol: Protocol) -> int | None:
    """Return the limit on repeats: a step of ResNet-12 takes seconds."""
    return 3 if protocol.network == "resnet12" else None


def comparisons() -> dict[str, Comparison]:
    """Return the cases, by name."""
    omniglot = MAML_OMNIGLOT
    few = replace(omniglot, meta_batch=8)
    others: tuple[Method, ...] = ("fomaml", "anil", "metasgd")
    small_way = replace(MAML_OMNIGLOT_20WAY, meta_batch=8, steps=2)
    small_image = replace(MAML_MINIIMAGENET, meta_batch=2, query=1, steps=2)
    return {
        "maml_omniglot": gradient_case("maml", "Omniglot", omniglot, Targets(3, 30), few),
        "maml_omniglot_20way": gradient_case("maml", "Omniglot", MAML_OMNIGLOT_20WAY, Targets(1.7, 20), small_way),
        "maml_miniimagenet": gradient_case("maml", "mini-ImageNet", MAML_MINIIMAGENET, Targets(1.6, 10), small_image),
        **{f"{name}_omniglot": gradient_case(name, "Omniglot", omniglot, Targets(2.8, 30), few) for name in others},
        "protonet_omniglot": protonet_case(
            "Omniglot", PROTONET_OMNIGLOT, Targets(2, 3), replace(PROTONET_OMNIGLOT, way=20)
        ),
        "protonet_miniimagenet": protonet_case(
            "mini-ImageNet", PROTONET_MINIIMAGENET, Targets(2.5, 3), replace(PROTONET_MINIIMAGENET, way=5, query=3)
        ),
        "protonet_resnet12": protonet_case(
            "mini-ImageNet", RESNET12, NO_SLOWER, replace(RESNET12, query=1, image=(3, 32, 32))
        ),
        "maml_resnet12": gradient_case(
            "maml", "mini-ImageNet", MAML_RESNET12, NO_SLOWER, replace(MAML_RESNET12, way=2, image=(3, 32, 32))
        ),
    }


def prepare_gradient_step(method: Method, protocol: Protocol, setting: Setting) -> Duel:
    """Prepare the outer step of a gradient-based method, ours and learn2learn's.

    The losses are compared in float64: in float32, gradient steps through max-pooling can differ by 1e-4 from it.
    """
    tasks = random_tasks(protocol, setting.device)
    ours = make_method(method, protocol).to(setting.device)
    learner, embed = make_learner(method, ours, protocol.inner_lr)
    compile_blocks(ours)
    theirs = gradient_step(learner, embed, tasks, protocol.steps)
    exact, exact_tasks = in_float64(ours, tasks)
    peer, peers_embedding = (each.double() for each in make_learner(method, exact, protocol.inner_lr))
    agreement = check_agreement(
        f"{method}'s query loss in float64",
        exact.meta_loss(exact_tasks).item(),
        gradient_loss(peer, peers_embedding, exact_tasks, protocol.steps, backward=False),
    )
    return Duel(outer_step(ours, tasks), {"learn2learn": Peer(theirs, agreement=agreement)}, flops=theirs)


def make_method(method: Method, protocol: Protocol) -> Algorithm:
    """Return our method with the protocol's network."""
    torch.manual_seed(0)
    backbone, way, rate, steps = protocol.backbone(), protocol.way, protocol.inner_lr, protocol.steps
    if method == "metasgd":
        return MetaSGD(backbone, way, inner_lr_min=rate, inner_lr_max=rate, inner_steps=steps).train()
    if method == "anil":
        return ANIL(backbone, way, inner_lr=rate, inner_steps=steps).train()
    return MAML(backbone, way, inner_lr=rate, inner_steps=steps, order=1 if method == "fomaml" else 2).train()


def make_learner(method: Method, ours: Algorithm, rate: float) -> tuple[Any, nn.Module]:
    """Return learn2learn's learner with the weights of `ours`, and the network applied before it."""
    algorithms = import_learn2learn().algorithms
    backbone = ours.get_submodule("backbone")
    backbone = learn2learns_resnet12(backbone) if isinstance(backbone, ResNet12) else with_torchs_batch_norm(backbone)
    head = copy.deepcopy(ours.get_submodule("head"))
    if method == "anil":
        return algorithms.MAML(head, lr=rate), backbone
    network = nn.Sequential(backbone, head).train()
    if method == "metasgd":
        return algorithms.MetaSGD(network, lr=rate), nn.Identity()
    return algorithms.MAML(network, lr=rate, first_order=method == "fomaml"), nn.Identity()


def outer_step(algorithm: Algorithm, tasks: TaskBatch) -> Work:
    """Return our outer step; a learning rate of 0 keeps the weights for the next one."""
    optimizer = OuterOptimizer("adam", list(algorithm.parameters()), lr=0.0)

    def step() -> None:
        optimizer.zero_grad()
        algorithm.meta_loss(tasks).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def prepare_protonet_step(protocol: Protocol, setting: Setting) -> Duel:
    """Prepare ProtoNet's training step, ours and both peers'."""
    tasks = random_tasks(protocol, setting.device)
    networks = [network.to(setting.device).train() for network in peers_networks(protocol)]
    ours = compile_blocks(to_channels_last(ProtoNet(protocol.backbone()).to(setting.device)).train())
    x, labels = as_one_set(tasks)

    def learn2learns_loss() -> torch.Tensor:
        return prototypical_loss(networks[0], x, labels, protocol.way, protocol.shot, protocol.query)

    classifier = import_easyfsl().methods.PrototypicalNetworks(networks[1])

    def easyfsls_loss() -> torch.Tensor:
        classifier.process_support_set(tasks.support_x[0], tasks.support_y[0])
        # Its scores are distances; the paper and we use their squares.
        scores = -classifier(tasks.query_x[0]).square()
        return nn.functional.cross_entropy(scores, tasks.query_y[0])

    # easyfsl embeds support and queries separately, each with its own batch statistics. In training these move the
    # running ones, which are still the same now.
    ours.eval(), networks[1].eval()
    in_eval = check_agreement("ProtoNet's loss in eval mode", ours.meta_loss(tasks).item(), easyfsls_loss().item())
    ours.train(), networks[1].train()
    agreement = check_agreement("ProtoNet's loss", ours.meta_loss(tasks).item(), learn2learns_loss().item())
    theirs = plain_step(learn2learns_loss, networks[0])
    peers = {
        "learn2learn": Peer(theirs, agreement=agreement),
        "easyfsl": Peer(plain_step(easyfsls_loss, networks[1]), agreement=in_eval, note="losses compared in eval mode"),
    }
    return Duel(outer_step(ours, tasks), peers, flops=theirs)


def peers_networks(protocol: Protocol) -> tuple[nn.Module, nn.Module]:
    """Return learn2learn's and easyfsl's network with the same weights; neither has conv4 of our kind."""
    ours = protocol.backbone()
    if isinstance(ours, ResNet12):
        return learn2learns_resnet12(ours), easyfsls_resnet12(ours)
    return ours, protocol.backbone()


def plain_step(loss: Callable[[], torch.Tensor], network: nn.Module) -> Work:
    """Return a peer's training step."""
    optimizer = torch.optim.Adam(network.parameters(), lr=0.0)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
