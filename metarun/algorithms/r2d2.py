"""R2-D2: ridge regression as the head."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, embed_together
from metarun.system.inputs import Inputs
from metarun.system.limits import check_above
from metarun.tasks.stream import Kind


class R2D2(Stepless):
    """R2-D2, ridge regression differentiable discriminator (Bertinetto et al. 2019, https://arxiv.org/abs/1805.08136).

    A task's head is the ridge regression from support features to one-hot labels, in closed form and differentiable:
    W = X' (X X' + lambda I)^-1 Y (equation 6). The logits are alpha X_query W + beta (equation 7). As in the authors'
    code, a column of ones is appended to X, so W has an intercept, which is regularised too. Unlike in that code, X and
    Y are not divided by the square root of their number of rows; equation 6 does not divide them. Support and query go
    through the backbone together, as in the code. In regression the head is fitted to the targets themselves.

    Args:
        backbone: maps examples to features.
        init_lambda: initial regularisation.
        learn_lambda: meta-learn the logarithm of lambda, as in the paper; the default of the authors' code is not to.
        init_scale: initial alpha, which is meta-learned; so is beta, which is initially 0.
    """

    solves: ClassVar[tuple[Kind, ...]] = ("classification", "regression")
    predicts_from_features = True

    def __init__(
        self, backbone: Backbone, init_lambda: float = 1.0, learn_lambda: bool = True, init_scale: float = 1.0
    ) -> None:
        super().__init__()
        self.backbone = backbone
        check_above("algo.init_lambda", init_lambda, 0)
        check_above("algo.init_scale", init_scale, 0)
        self.log_lambda = nn.Parameter(torch.tensor(math.log(init_lambda)), requires_grad=learn_lambda)
        self.scale = nn.Parameter(torch.tensor(float(init_scale)))  # alpha
        self.bias = nn.Parameter(torch.tensor(0.0))  # beta; softmax ignores it, but it is in the paper

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless` (equations 6 and 7)."""
        features = embed_together(self.backbone, support_x, query_x)
        support, query = (F.pad(each, (0, 1), value=1.0) for each in features)  # a column of ones: (n, features + 1)
        regression = support_y.is_floating_point()
        targets = support_y if regression else F.one_hot(support_y, way).to(support.dtype)  # (way * shot, way)
        weights = ridge_regression(support, targets, self.log_lambda.exp())  # (features + 1, way)
        logits: Tensor = self.scale * (query @ weights) + self.bias
        return logits


def ridge_regression(x: Tensor, y: Tensor, regularisation: Tensor) -> Tensor:
    """Return the weights (features, outputs) that minimise |x w - y|^2 + regularisation |w|^2.

    The size of the linear system is the smaller side of x: with fewer examples than features, Woodbury's identity
    reduces it to the number of examples (equation 6).

    Args:
        x: (examples, features).
        y: (examples, outputs).
        regularisation: above 0, a scalar.
    """
    examples, features = x.shape
    if examples < features:
        return x.mT @ _solve(x @ x.mT, regularisation, y)
    return _solve(x.mT @ x, regularisation, x.mT @ y)


def _solve(gram: Tensor, regularisation: Tensor, right: Tensor) -> Tensor:
    regularised = gram + regularisation * torch.eye(gram.shape[0], dtype=gram.dtype, device=gram.device)
    # `_ex` does not synchronise to check for errors; the matrix is positive definite.
    factor, _ = torch.linalg.cholesky_ex(regularised)
    return torch.cholesky_solve(right, factor)
