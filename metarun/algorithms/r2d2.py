"""Ridge regression as a head."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.stepless import Stepless
from metarun.backbones import Backbone, embed_together
from metarun.errors import UserError
from metarun.system.inputs import Inputs


class R2D2(Stepless):
    """R2-D2, ridge regression differentiable discriminator (Bertinetto et al. 2019, https://arxiv.org/abs/1805.08136).

    A task's head is the ridge regression from support features to one-hot labels. It has a closed form, so features
    are learned for which that regression does best: W = X' (X X' + lambda I)^-1 Y (equation 6), and the logits are
    alpha X_query W + beta (equation 7). As in the authors' code a column of ones is appended to X, which gives W an
    intercept, itself regularised. Unlike it, X and Y are not divided by the square root of their rows: equation 6 as
    it stands, where the code's lambda counts once per support example. Support and query go through the backbone
    together, as there.

    Args:
        backbone: maps examples to the features that are regressed on.
        init_lambda: the regularisation to begin with.
        learn_lambda: meta-learn it, by its logarithm; the paper does, the code's default is not to.
        init_scale: alpha to begin with; it is meta-learned, as is beta, which begins at 0.

    Raises:
        UserError: an argument is out of range.
    """

    predicts_from_features = True

    def __init__(
        self,
        backbone: Backbone,
        init_lambda: float = 1.0,
        learn_lambda: bool = True,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        if init_lambda <= 0:
            raise UserError(f"algo.init_lambda={init_lambda} but ridge regression needs more than 0", "raise it.")
        if init_scale <= 0:
            raise UserError(f"algo.init_scale={init_scale} but logits need a scale above 0", "raise `algo.init_scale`.")
        self.log_lambda = nn.Parameter(torch.tensor(math.log(init_lambda)), requires_grad=learn_lambda)
        self.scale = nn.Parameter(torch.tensor(float(init_scale)))  # alpha
        self.bias = nn.Parameter(torch.tensor(0.0))  # beta; no softmax sees it, it is the paper's all the same

    def logits(self, support_x: Inputs, support_y: Tensor, query_x: Inputs, way: int) -> Tensor:
        """See `Stepless` (equations 6 and 7)."""
        features = embed_together(self.backbone, support_x, query_x)
        support, query = (F.pad(each, (0, 1), value=1.0) for each in features)  # a column of ones: (n, features + 1)
        targets = F.one_hot(support_y, way).to(support.dtype)  # (way * shot, way)
        weights = ridge_regression(support, targets, self.log_lambda.exp())  # (features + 1, way)
        logits: Tensor = self.scale * (query @ weights) + self.bias
        return logits


def ridge_regression(x: Tensor, y: Tensor, regularisation: Tensor) -> Tensor:
    """Return the weights (features, outputs) that minimise |x w - y|^2 + regularisation |w|^2.

    A system as large as the smaller side of x is solved: with fewer examples than features, Woodbury's identity makes
    it one of examples (equation 6), which is what few-shot learning needs.

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
    regularised = gram + regularisation * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    # Positive definite; the `_ex` form does not wait for the device to ask whether it is.
    factor, _ = torch.linalg.cholesky_ex(regularised)
    return torch.cholesky_solve(right, factor)
