"""Load the checkpoint of one method into another."""

import logging
from collections.abc import Sequence

from torch import Tensor

from metarun.algorithms.algorithm import Algorithm
from metarun.errors import UserError

log = logging.getLogger(__name__)


def load_from_other_method(algorithm: Algorithm, state: dict[str, Tensor], name: str, trained: str) -> bool:
    """Load the backbone of another method's checkpoint, and any other weights that fit, into `algorithm`.

    Warns of a trained adapter that does not fit.

    Args:
        algorithm: to load into.
        state: of the trained method.
        name: of the algorithm.
        trained: name of the trained method.

    Returns:
        Whether the algorithm has to `calibrate`, because the checkpoint lacks optional weights.

    Raises:
        UserError: the checkpoint lacks weights that the algorithm needs at meta-test.
    """
    own = algorithm.state_dict()
    missing = [key for key, value in own.items() if key not in state or state[key].shape != value.shape]
    needed = [key for key in missing if not key.startswith(algorithm.optional_weights)]
    if needed:
        raise UserError(
            f"algo={name} has weights of its own ({', '.join(needed[:3])}) that a checkpoint of {trained} does not "
            "have in that shape",
            f"meta-train it with `metarun train algo={name}`, or test with a method that needs none, such as protonet, "
            "simpleshot or baseline.",
        )
    if any(key.startswith("adapter.") and (key not in own or key in missing) for key in state):
        log.warning("the trained adapter is not used: it needs `algo.adapt` and `algo.adapt_rank` as in its training")
    kept = tuple(prefix for prefix in algorithm.optional_weights if _stays(prefix, missing))
    algorithm.load_state_dict({key: value if key.startswith(kept) else state[key] for key, value in own.items()})
    return bool(missing)


def _stays(prefix: str, missing: Sequence[str]) -> bool:
    """Whether optional weights stay as they are, given the weights that the checkpoint lacks.

    Either all do or none, since a mean belongs to its count; but an adapter belongs to the backbone.
    """
    return any(key.startswith(prefix) for key in missing) if prefix == "adapter." else bool(missing)
