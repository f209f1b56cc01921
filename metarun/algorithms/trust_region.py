"""TRPO's outer step for policies that are adapted to each task, or to none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from metarun.algorithms.policy_method import PolicyGradientMethod, parts_in_memory
from metarun.errors import UserError
from metarun.rl.advantages import Experience
from metarun.rl.trajectories import Trajectories
from metarun.rl.trpo import trust_region_step
from metarun.system.flat import flat, split_like
from metarun.system.limits import check_above

# Returns (T, n, P) distributions at observations (T, n, *shape), as a function of the method's own weights.
PolicyParameters = Callable[[Sequence[Experience], Tensor], Tensor]


@dataclass(frozen=True)
class TrustRegion:
    """The settings of TRPO's step.

    Args:
        max_kl: mean divergence of the policies in one step, at most.
        curvature_trajectories: trajectories of each task from which the curvature is computed, of each inner step and
            after the last; None: all. So the curvature is that of policies adapted on these few, not of those that
            acted: to keep all trajectories of the inner steps would make its products about five times as slow.
    """

    max_kl: float
    curvature_trajectories: int | None

    def __post_init__(self) -> None:
        check_above("algo.max_kl", self.max_kl, 0)
        if self.curvature_trajectories is not None and self.curvature_trajectories < 1:
            raise UserError(
                f"algo.curvature_trajectories={self.curvature_trajectories} but it must be at least 1",
                "raise it, or set null for all.",
            )


def trust_region_update(
    method: PolicyGradientMethod,
    parameters_of: PolicyParameters,
    explored: Sequence[Experience],
    judged: Trajectories,
    settings: TrustRegion,
) -> None:
    """Move the weights of a method by a step of TRPO.

    Args:
        method: whose weights are changed.
        parameters_of: the policies, whose gradient goes through the adaptation.
        explored: what each inner step was computed of, if there are any.
        judged: trajectories of the adapted policies.
        settings: of the step.
    """
    problem = _Problem(method, parameters_of, explored, judged, settings.curvature_trajectories)
    before = parameters_to_vector(problem.learned).detach()
    step = trust_region_step(before, problem.gradient(), problem.curvature, problem.evaluate, settings.max_kl)
    problem.move_to(step.weights)


class _Problem:
    """The surrogate and the divergence as functions of the weights: means over tasks, summed over chunks of them."""

    def __init__(
        self,
        method: PolicyGradientMethod,
        parameters_of: PolicyParameters,
        explored: Sequence[Experience],
        judged: Trajectories,
        curvature_trajectories: int | None,
    ) -> None:
        self.learned = [weight for weight in method.policy.parameters() if weight.requires_grad]
        self._distribution = method.policy.distribution
        self._parameters_of = parameters_of
        self._tasks, horizon = len(judged), judged.rewards.shape[2]
        self._seen = [*explored, method.experience(judged)]
        self._steps = None if curvature_trajectories is None else curvature_trajectories * horizon
        self._parts = parts_in_memory(self._seen)
        with torch.no_grad():
            self._old = [self._parameters(part) for part in self._parts]
        self._graph: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def _of(self, part: slice, steps: int | None = None) -> tuple[list[Experience], Experience]:
        *explored, judged = (each.part(part, steps) for each in self._seen)
        return explored, judged

    def _parameters(self, part: slice, steps: int | None = None) -> Tensor:
        explored, judged = self._of(part, steps)
        return self._parameters_of(explored, judged.observations)

    def _loss(self, judged: Experience, parameters: Tensor, old: Tensor) -> Tensor:
        """Return the sum over tasks of the negative mean of probability ratio times advantage."""
        ratio = self._distribution.ratio(parameters, old, judged.actions)
        return -judged.mean(ratio * judged.advantages).sum()

    def gradient(self) -> Tensor:
        """Return the gradient of the surrogate."""
        total = torch.zeros_like(parameters_to_vector(self.learned))
        for part, old in zip(self._parts, self._old, strict=True):
            _, judged = self._of(part)
            loss = self._loss(judged, self._parameters(part), old) / self._tasks
            total += flat(torch.autograd.grad(loss, self.learned))
        return total

    def curvature(self, vector: Tensor) -> Tensor:
        """Return the Hessian of the mean divergence times a vector.

        The divergence and its slope are 0 where the policies are equal, so the Hessian is J^T F J, of the Jacobian J of
        the distributions, through the inner steps, and their Fisher information F. The product with J is the gradient
        of a product with its transpose, so that it takes second derivatives only.
        """
        total = torch.zeros_like(vector)
        for part in self._parts:
            parameters, dummy, transposed, share = self._graph or self._build(part)
            (image,) = torch.autograd.grad(transposed, dummy, vector, retain_graph=True)
            weighted = share * self._distribution.fisher_product(parameters.detach(), image)
            total += flat(torch.autograd.grad(parameters, self.learned, weighted, retain_graph=True))
        return total

    def _build(self, part: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the graph of a chunk; if there is only one, it is kept for the next product."""
        _, judged = self._of(part, self._steps)
        parameters = self._parameters(part, self._steps)
        dummy = torch.zeros_like(parameters, requires_grad=True)
        transposed = flat(torch.autograd.grad(parameters, self.learned, dummy, create_graph=True))
        share = judged.alive / judged.alive.sum(-1, keepdim=True) / self._tasks
        graph = parameters, dummy, transposed, share[..., None]
        if len(self._parts) == 1:
            self._graph = graph
        return graph

    @torch.no_grad()
    def evaluate(self, weights: Tensor) -> tuple[float, float]:
        """Return the surrogate and the mean divergence at other weights."""
        self.move_to(weights)
        loss = kl = 0.0
        for part, old in zip(self._parts, self._old, strict=True):
            _, judged = self._of(part)
            parameters = self._parameters(part)
            loss += float(self._loss(judged, parameters, old)) / self._tasks
            kl += float(judged.mean(self._distribution.kl(old, parameters)).sum()) / self._tasks
        return loss, kl

    def move_to(self, weights: Tensor) -> None:
        """Set the weights of the method; what was differentiated at the earlier ones stays valid until then."""
        for weight, value in zip(self.learned, split_like(weights, self.learned), strict=True):
            weight.data = value  # not in place: graphs refer to the weights before
