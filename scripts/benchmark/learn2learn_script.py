"""MAML on Omniglot like learn2learn's own example: the peer of the whole command.

    python -m scripts.benchmark.learn2learn_script DATA STEPS VAL_TASKS TEST_TASKS DEVICE

Like `examples/vision/maml_omniglot.py` with the convolutional network, but faster: it holds the pictures of metarun's
cache in memory, while the example opens and resizes a PNG file for every picture, and it evaluates meta-val once at the
end, like our command, not at every step.
"""

import random
import sys

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.data import Glyphs, Omniglot, Split
from metarun.tasks.batch import TaskShape
from scripts.benchmark.networks import Protocol, with_torchs_batch_norm
from scripts.benchmark.peers import InMemory, Learner, import_learn2learn, learn2learn_tasks

WAY, SHOT, META_BATCH, INNER_LR, TEST_STEPS = 5, 1, 32, 0.4, 3


def main(data: str, steps: int, val_tasks: int, test_tasks: int, device: torch.device) -> None:
    """Meta-train, validate and meta-test; print both accuracies."""
    random.seed(0)
    torch.manual_seed(0)
    splits = (Omniglot() if data == "omniglot" else Glyphs()).load().splits
    tasksets = {s: learn2learn_tasks(InMemory(splits[s], device), TaskShape(WAY, SHOT, SHOT)) for s in splits}
    image = splits["train"].shape
    backbone = with_torchs_batch_norm(Protocol(WAY, SHOT, SHOT, image=image).backbone())  # type: ignore[arg-type]
    network = nn.Sequential(backbone, nn.Linear(64, WAY)).to(device)
    maml = import_learn2learn().algorithms.MAML(network, lr=INNER_LR)
    optimizer = torch.optim.Adam(maml.parameters(), lr=0.001)
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(META_BATCH):
            loss, _ = fast_adapt(maml.clone(), tasksets["train"].sample(), 1)
            loss.backward()  # type: ignore[no-untyped-call]
        for weight in maml.parameters():
            weight.grad.data.mul_(1.0 / META_BATCH)
        optimizer.step()
    evaluated: dict[Split, int] = {"val": val_tasks, "test": test_tasks}
    for split, tasks in evaluated.items():
        accuracies = [fast_adapt(maml.clone(), tasksets[split].sample(), TEST_STEPS)[1] for _ in range(tasks)]
        print(split, sum(accuracies) / tasks)


def fast_adapt(learner: Learner, task: tuple[Tensor, Tensor], steps: int) -> tuple[Tensor, float]:
    """Adapt to every other example of a task; return loss and accuracy on the rest."""
    x, labels = task
    order = torch.sort(labels, stable=True).indices
    x, labels = x[order], labels[order].to(x.device)
    support, query = slice(0, None, 2), slice(1, None, 2)
    for _ in range(steps):
        learner.adapt(F.cross_entropy(learner(x[support]), labels[support]))
    outputs = learner(x[query])
    correct = (outputs.argmax(1) == labels[query]).float().mean().item()
    return F.cross_entropy(outputs, labels[query]), correct


if __name__ == "__main__":
    data, steps, val_tasks, test_tasks, device = sys.argv[1:]
    main(data, int(steps), int(val_tasks), int(test_tasks), torch.device(device))
