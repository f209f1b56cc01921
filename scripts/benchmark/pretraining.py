"""Case of pre-training: part of an epoch of Baseline, batches included."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from metarun.algorithms import Baseline, to_channels_last
from metarun.algorithms.outer_optimizer import OuterOptimizer
from metarun.algorithms.pretraining import pretraining_batch
from metarun.tasks.class_stream import ClassTaskStream
from metarun.tasks.stream import StreamSpec
from scripts.benchmark.case import NO_SLOWER, Comparison, Duel, Peer, Setting, check_agreement
from scripts.benchmark.networks import Protocol, compile_blocks, omniglot
from scripts.benchmark.peers import InMemory

BATCH = Protocol(way=8, shot=1, query=1, downsample="pool", norm="running")  # 16 pictures, as Chen et al. 2019


def comparisons() -> dict[str, Comparison]:
    """Return the case, by name."""
    return {
        "baseline_omniglot": Comparison(
            "Baseline: 100 of the 5,140 batches of an epoch of pre-training, Omniglot",
            NO_SLOWER,
            lambda setting: prepare_pretraining(20 if setting.short else 100, setting),
        )
    }


def prepare_pretraining(batches: int, setting: Setting) -> Duel:
    """Prepare ours and a loop of plain PyTorch, each with its own random batches of the same size."""
    data = omniglot(real=not setting.short)
    train = data.splits["train"]
    tasks = ClassTaskStream(data, StreamSpec("train", BATCH.shape, 0, setting.device, torch.float32))
    torch.manual_seed(0)
    ours = Baseline(BATCH.backbone(), len(train.class_names)).to(setting.device)
    network = nn.Sequential(BATCH.backbone(), nn.Linear(64, len(train.class_names))).to(setting.device).train()
    network[1].load_state_dict(ours.classifier.state_dict())
    to_channels_last(ours).train()
    held = InMemory(train, setting.device)
    pictures = TensorDataset(held.values, torch.tensor(held.labels, device=setting.device))
    loader = DataLoader(pictures, BATCH.examples, shuffle=True)
    adam = torch.optim.Adam(network.parameters(), lr=0.0)  # a rate of 0 keeps the weights for the next call
    optimizer = OuterOptimizer("adam", list(ours.parameters()), lr=0.0)

    def plain_loss(x: Tensor, classes: Tensor) -> Tensor:
        return F.cross_entropy(network(x), classes)

    def ours_epoch() -> None:
        for i in range(batches):
            optimizer.zero_grad()
            ours.meta_loss(tasks.draw(i, 1)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    def plain_epoch() -> None:
        for _, (x, classes) in zip(range(batches), loader, strict=False):
            adam.zero_grad()
            plain_loss(x, classes).backward()  # type: ignore[no-untyped-call]
            adam.step()

    batch = tasks.draw(0, 1)
    x, classes = pretraining_batch(batch)
    assert isinstance(x, Tensor)
    agreement = check_agreement("Baseline's loss", ours.meta_loss(batch).item(), plain_loss(x, classes).item())
    compile_blocks(ours)
    return Duel(ours_epoch, {"plain PyTorch": Peer(plain_epoch, agreement=agreement)}, flops=plain_epoch)
