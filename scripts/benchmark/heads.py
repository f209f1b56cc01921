"""Cases of one outer step of methods with a head per task: matching networks, R2-D2, MetaOptNet."""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms import R2D2, MatchingNet, MetaOptNet, to_channels_last
from metarun.algorithms.solvers.crammer_singer import dual_coefficients
from metarun.backbones import Backbone
from metarun.tasks.batch import TaskBatch
from scripts.benchmark.case import NO_SLOWER, Comparison, Duel, Peer, Setting, check_agreement
from scripts.benchmark.networks import Protocol, compile_blocks, default_float64, in_float64, random_tasks
from scripts.benchmark.peers import import_easyfsl, ridge_logits, svm_classifier
from scripts.benchmark.training import outer_step, plain_step

MATCHING = Protocol(way=20, shot=1, query=5, meta_batch=4, downsample="pool", norm="running")
R2D2_OMNIGLOT = Protocol(way=60, shot=1, query=5, downsample="pool", norm="running")
METAOPTNET = Protocol(way=5, shot=15, query=6, meta_batch=8, downsample="pool", norm="running")
LAMBDA, SCALE = 50.0, 10.0  # of R2-D2 on Omniglot, from its released code

Logits = Callable[[Tensor, Tensor, Tensor], Tensor]  # of support features, labels and query features


def comparisons() -> dict[str, Comparison]:
    """Return the cases, by name."""
    return {
        "matching_omniglot": Comparison(
            "matching networks with full context, step, Omniglot 20w1s, 4 tasks",
            NO_SLOWER,
            lambda setting: prepare_matching_step(
                replace(MATCHING, way=5, meta_batch=2) if setting.short else MATCHING, setting
            ),
        ),
        "r2d2_omniglot": Comparison(
            "R2-D2 step, Omniglot 60w1s",
            NO_SLOWER,
            lambda setting: prepare_r2d2_step(
                replace(R2D2_OMNIGLOT, way=20) if setting.short else R2D2_OMNIGLOT, setting
            ),
        ),
        "metaoptnet_omniglot": Comparison(
            "MetaOptNet step, Omniglot 5w15s, 8 tasks",
            NO_SLOWER,
            lambda setting: prepare_metaoptnet_step(
                replace(METAOPTNET, shot=3, meta_batch=2) if setting.short else METAOPTNET, setting
            ),
            max_repeats=3,
        ),
    }


def mean_query_loss(network: nn.Module, logits: Logits, tasks: TaskBatch) -> Tensor:
    """Return the mean loss over tasks, task by task: embed all of a task's examples, then apply a head."""
    losses = []
    for support_x, support_y, query_x, query_y in zip(
        tasks.support_x, tasks.support_y, tasks.query_x, tasks.query_y, strict=True
    ):
        support, query = network(torch.cat([support_x, query_x])).split([len(support_x), len(query_x)])
        losses.append(F.cross_entropy(logits(support, support_y, query), query_y))
    return torch.stack(losses).mean()


def prepare_matching_step(protocol: Protocol, setting: Setting) -> Duel:
    """Prepare the step of matching networks, ours and easyfsl's."""
    tasks = random_tasks(protocol, setting.device)
    torch.manual_seed(0)
    ours = MatchingNet(
        protocol.backbone(),
        full_context=True,
        read_steps=protocol.way * protocol.shot,  # these two as easyfsl
        normalise_query=False,
    )
    ours = to_channels_last(ours.to(setting.device)).train()
    theirs = easyfsls_matching(ours, protocol.backbone()).train()

    def easyfsls_loss() -> Tensor:
        losses = []
        for i in range(len(tasks)):
            theirs.process_support_set(tasks.support_x[i], tasks.support_y[i])
            losses.append(F.nll_loss(theirs(tasks.query_x[i]), tasks.query_y[i]))
        return torch.stack(losses).mean()

    # easyfsl embeds support and queries separately, each with its own batch statistics.
    ours.eval(), theirs.eval()
    agreement = check_agreement("the loss in eval mode", ours.meta_loss(tasks).item(), easyfsls_loss().item())
    ours.train(), theirs.train()
    compile_blocks(ours)
    step = plain_step(easyfsls_loss, theirs)
    peer = Peer(step, agreement=agreement, note="losses compared in eval mode")
    return Duel(outer_step(ours, tasks), {"easyfsl": peer}, flops=step)


def easyfsls_matching(ours: MatchingNet, backbone: Backbone) -> nn.Module:
    """Return easyfsl's matching networks with the LSTMs of ours."""
    theirs = import_easyfsl().methods.MatchingNetworks(backbone, feature_dimension=backbone.features)
    assert ours.context is not None
    theirs = theirs.to(next(ours.parameters()).device)
    sources = (
        (theirs.support_features_encoder, "_l0", ours.context.forwards),
        (theirs.support_features_encoder, "_l0_reverse", ours.context.backwards),
        (theirs.query_features_encoding_cell, "", ours.context.reader),
    )
    for cell, suffix, source in sources:
        for name, weight in source.named_parameters():
            getattr(cell, f"{name}{suffix}").data = weight.detach().clone()
    return theirs


def prepare_r2d2_step(protocol: Protocol, setting: Setting) -> Duel:
    """Prepare R2-D2's step, ours and that of MetaOptNet's authors."""
    way = protocol.way

    def logits(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        support, query = (F.pad(each, (0, 1), value=1.0) for each in (support, query))  # an intercept
        return SCALE * ridge_logits(support, labels, query, way, LAMBDA)

    ours = R2D2(protocol.backbone(), init_lambda=LAMBDA, init_scale=SCALE, learn_lambda=False)
    return _against(ours, "authors' head", logits, None, protocol, setting)


def prepare_metaoptnet_step(protocol: Protocol, setting: Setting) -> Duel:
    """Prepare MetaOptNet's step, ours and learn2learn's."""
    way, head = protocol.way, svm_classifier()

    def logits(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        head.fit_(support, labels, way)
        scores: Tensor = head(query)
        return scores

    def ours_on_their_kernel(support: Tensor, labels: Tensor, query: Tensor) -> Tensor:
        identity = torch.eye(len(support), device=support.device)  # the authors add it, for their solver
        kernel = support @ support.mT + identity
        return query @ support.mT @ dual_coefficients(kernel, labels, way, head.C_reg)

    ours = MetaOptNet(protocol.backbone(), c=head.C_reg)
    return _against(ours, "learn2learn", logits, ours_on_their_kernel, protocol, setting)


def _against(
    ours: R2D2 | MetaOptNet, name: str, logits: Logits, same: Logits | None, protocol: Protocol, setting: Setting
) -> Duel:
    """Return the step of our method and of a peer's head on the same network.

    Args:
        ours: our method.
        name: of the peer.
        logits: of the peer.
        same: what the peer's loss is compared with; None: our method's loss.
        protocol: of the tasks.
        setting: how the case is measured.
    """
    tasks = random_tasks(protocol, setting.device)
    ours = to_channels_last(ours.to(setting.device)).train()
    exact, exact_tasks = in_float64(ours, tasks)
    with default_float64():
        mine = exact.meta_loss(exact_tasks) if same is None else mean_query_loss(exact.backbone, same, exact_tasks)
        theirs = mean_query_loss(exact.backbone, logits, exact_tasks)
    agreement = check_agreement("the loss in float64", mine.item(), theirs.item())
    compile_blocks(ours)
    network = protocol.backbone().to(setting.device).train()
    step = plain_step(lambda: mean_query_loss(network, logits, tasks), network)
    return Duel(outer_step(ours, tasks), {name: Peer(step, agreement=agreement)}, flops=step)
