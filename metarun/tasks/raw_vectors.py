"""The examples of a task as plain vectors, for floors without learning."""

import torch
from torch import Tensor

from metarun.data.examples import FloorVectors
from metarun.system.inputs import Inputs, first_field


def floor_vectors(support_x: Inputs, query_x: Inputs, kind: FloorVectors) -> tuple[Tensor, Tensor]:
    """Return (n, numbers) and (m, numbers) vectors of one task's support and query examples.

    Args:
        support_x: (n, *shape), or a dict of fields.
        query_x: (m, *shape), likewise.
        kind: "raw", see `raw_vectors`, or "over_time": the mean and the deviation over the last dimension.
    """
    if kind == "raw":
        return raw_vectors(support_x, query_x)
    assert isinstance(support_x, Tensor)
    assert isinstance(query_x, Tensor)
    return _over_time(support_x), _over_time(query_x)


def _over_time(maps: Tensor) -> Tensor:
    return torch.cat([maps.mean(-1).flatten(1), maps.std(-1, correction=0).flatten(1)], 1)


def raw_vectors(support_x: Inputs, query_x: Inputs) -> tuple[Tensor, Tensor]:
    """Return (n, numbers) and (m, numbers) vectors of one task's support and query examples.

    Floats are unchanged. Ids are counted: each id of the task is a dimension, as in a bag of words. Masked positions do
    not count.
    """
    if isinstance(support_x, Tensor) and isinstance(query_x, Tensor):
        if support_x.is_floating_point():
            return support_x.flatten(1), query_x.flatten(1)
        support_x, query_x = {"ids": support_x}, {"ids": query_x}
    assert isinstance(support_x, dict)
    assert isinstance(query_x, dict)
    examples = {name: torch.cat([field, query_x[name]]) for name, field in support_x.items()}
    masks = [field for field in examples.values() if field.dtype == torch.bool]
    vectors = []
    for field in examples.values():
        if field.is_floating_point():
            vectors.append(field.flatten(1))
        elif field.dtype != torch.bool:
            vectors.append(_counts(field, masks))
    widest = max((vector.dtype for vector in vectors), key=lambda dtype: dtype.itemsize)
    joined = torch.cat([vector.to(widest) for vector in vectors], 1)
    support = first_field(support_x).shape[0]
    return joined[:support], joined[support:]


def _counts(ids: Tensor, masks: list[Tensor]) -> Tensor:
    """Return (n, different ids) how often each occurs at positions that no mask of the same shape excludes."""
    different, columns = torch.unique(ids, return_inverse=True)
    ones = torch.ones(ids.shape, dtype=torch.get_default_dtype(), device=ids.device)
    for mask in masks:
        if mask.shape == ids.shape:
            ones = ones * mask
    counts = ones.new_zeros(len(ids), len(different))
    return counts.scatter_add_(1, columns.flatten(1), ones.flatten(1))
