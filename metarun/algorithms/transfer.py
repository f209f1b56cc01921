"""A method on the backbone that another method trained."""

from torch import Tensor

from metarun.algorithms.algorithm import Algorithm
from metarun.errors import UserError


def load_under_another_head(algorithm: Algorithm, state: dict[str, Tensor], name: str, trained: str) -> bool:
    """Give `algorithm` the backbone of a checkpoint, and whatever else of it fits.

    Args:
        algorithm: which gets the weights.
        state: of the method that was trained.
        name: what the algorithm is called.
        trained: what that method is called.

    Returns:
        Whether the method now has to `calibrate`, having found none of what the checkpoint need not have.

    Raises:
        UserError: the algorithm needs weights at meta-test that the checkpoint does not have.
    """
    own = algorithm.state_dict()
    missing = [key for key, value in own.items() if key not in state or state[key].shape != value.shape]
    needed = [key for key in missing if not key.startswith(algorithm.optional_weights)]
    if needed:
        raise UserError(
            f"algo={name} has weights of its own that it must learn ({', '.join(needed[:3])}), which a checkpoint of "
            f"{trained} does not have in that form",
            f"meta-train it with `metarun train algo={name}`, or test by a head "
            "that needs none, such as protonet, simpleshot or baseline.",
        )
    fresh = (
        algorithm.optional_weights if missing else ()
    )  # all of it or nothing: a mean goes with the count it was taken over
    algorithm.load_state_dict({key: value if key.startswith(fresh) else state[key] for key, value in own.items()})
    return bool(missing)
