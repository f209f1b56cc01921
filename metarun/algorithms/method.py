"""What all methods have, of supervised and of reinforcement learning."""

from typing import ClassVar

from torch import nn

from metarun.tasks.stream import Kind
from metarun.tasks.vectorize import How


class Method(nn.Module):
    """A module that holds what is meta-learned, and nothing about any task.

    Constructors raise a UserError, with the config key, for an argument that is out of range.

    Attributes:
        solves: the kinds of task it can solve.
        order: 1 or 2, of the meta-gradient, which is the gradient of the meta-loss or its first-order form; None if
            there are no inner gradient steps, or the update is not that gradient.
        outputs: the size of a fixed head, which is the only way it can solve; None: any way.
        splittable: whether the meta-loss is the mean of the tasks' own, so that a meta-batch may be split.
        sequential: whether meta-training takes the tasks of a meta-batch one after another, because a task begins with
            what the one before left. Parts of a meta-batch may follow each other, but processes cannot share it.
        needs_equal_shots: whether each class needs the same number of support examples.
        learns: whether there is anything to meta-train; if not, the run only evaluates.
        how: how `over_tasks` runs the tasks of a batch; the run sets it from `train.over_tasks`. A method that cannot
            be vectorised sets "loop" in its class.
    """

    solves: ClassVar[tuple[Kind, ...]] = ("classification",)
    splittable: ClassVar[bool] = True
    sequential: bool = False
    needs_equal_shots: ClassVar[bool] = False
    learns: ClassVar[bool] = True
    how: How = "auto"
    order: int | None = None
    outputs: int | None = None

    def on_step(self, fraction: float) -> None:
        """Prepare a meta-training step; `fraction` of meta-training, from 0 to 1, is done."""
