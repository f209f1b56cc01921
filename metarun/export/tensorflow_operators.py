"""The operators of a traced graph, as TensorFlow has them: one function each, by the operator's name in torch.

Sizes that are known stay Python numbers, others become TensorFlow scalars. Written with what LiteRT has as built-in
operators too.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import torch

Value = Any  # a tensor of TensorFlow, or a number
Operator = Callable[..., Value]
OPERATORS: dict[Any, Operator] = {
    operator.add: operator.add,
    operator.sub: operator.sub,
    operator.mul: operator.mul,
    operator.floordiv: operator.floordiv,
    operator.getitem: operator.getitem,
}
_END = 2**31 - 1  # from here on, the end of a slice is the end of the dimension
_DTYPES = {
    torch.float32: tf.float32,
    torch.float64: tf.float64,
    torch.int64: tf.int64,
    torch.int32: tf.int32,
    torch.bool: tf.bool,
}


def _of(*names: str) -> Callable[[Operator], Operator]:
    """Register a function under names in torch.ops.aten."""

    def register(function: Operator) -> Operator:
        for name in names:
            packet, _, overload = name.partition(".")
            OPERATORS[getattr(getattr(torch.ops.aten, packet), overload or "default")] = function
        return function

    return register


def _alike(a: Value, b: Value) -> tuple[Value, Value]:
    """Return two operands of one dtype, as torch promotes them: a float wins, and a tensor over a number."""
    if not tf.is_tensor(a):
        return tf.cast(a, b.dtype), b
    if not tf.is_tensor(b):
        dtype = tf.float32 if a.dtype.is_integer and isinstance(b, float) else a.dtype
        return tf.cast(a, dtype), tf.cast(b, dtype)
    if a.dtype == b.dtype:
        return a, b
    return (a, tf.cast(b, a.dtype)) if a.dtype.is_floating else (tf.cast(a, b.dtype), b)


def _shape(sizes: Sequence[Value]) -> Value:
    if any(tf.is_tensor(size) for size in sizes):
        return tf.stack([tf.cast(size, tf.int32) for size in sizes])
    return list(sizes)


def _dtype(dtype: torch.dtype | None) -> Any:
    return _DTYPES[dtype or torch.float32]


for _names, _function in (
    (("mul.Tensor", "mul.Scalar"), tf.multiply),
    (("div.Tensor", "div.Scalar"), tf.divide),
    (("maximum",), tf.maximum),
    (("minimum",), tf.minimum),
    (("eq.Scalar", "eq.Tensor"), tf.equal),
    (("le.Scalar", "le.Tensor"), tf.less_equal),
    (("lt.Scalar", "lt.Tensor"), tf.less),
    (("ge.Scalar", "ge.Tensor"), tf.greater_equal),
    (("gt.Scalar", "gt.Tensor"), tf.greater),
):
    _of(*_names)(lambda a, b, of=_function: of(*_alike(a, b)))
for _name, _function in (
    *(("relu", tf.nn.relu), ("rsqrt", tf.math.rsqrt), ("sqrt", tf.sqrt), ("exp", tf.exp), ("log", tf.math.log)),
    *(("neg", tf.negative), ("abs", tf.abs), ("sigmoid", tf.sigmoid), ("tanh", tf.tanh), ("log1p", tf.math.log1p)),
    *(("mm", tf.matmul), ("bmm", tf.matmul), ("permute", tf.transpose), ("unsqueeze", tf.expand_dims)),
    *(("clone", tf.identity), ("alias", tf.identity), ("logical_not", tf.logical_not), ("flip", tf.reverse)),
    ("logical_and", tf.logical_and),
):
    _of(_name)(lambda *a, of=_function, **_: of(*a))


@_of("add.Tensor", "add.Scalar")
def _(a: Value, b: Value, alpha: float = 1) -> Value:
    return tf.add(*_alike(a, b if alpha == 1 else b * alpha))


@_of("sub.Tensor", "sub.Scalar")
def _(a: Value, b: Value, alpha: float = 1) -> Value:
    """Return a sum: LiteRT (TensorFlow 2.21) converts `constant - transpose(x)` into `transpose(x) - constant`.

    An inner step is such a difference: of a weight and the gradient of a convolution, which is transposed.
    """
    return tf.add(*_alike(a, b * -alpha))


@_of("reciprocal")
def _(x: Value) -> Value:
    return tf.pow(x, tf.cast(-1, x.dtype))  # 1 / x is turned round as a difference is


@_of("sym_size.int")
def _(x: Value, dim: int) -> Value:
    return tf.shape(x)[dim] if x.shape[dim] is None else x.shape[dim]


def _truediv(a: Value, b: Value) -> Value:
    return tf.cast(a, tf.float32) / tf.cast(b, tf.float32) if tf.is_tensor(a) or tf.is_tensor(b) else a / b


OPERATORS[operator.truediv] = _truediv


@_of("pow.Tensor_Scalar")
def _(x: Value, power: float) -> Value:
    return tf.square(x) if power == 2 else tf.pow(x, tf.cast(power, x.dtype))


@_of("pow.Scalar")
def _(base: float, power: Value) -> Value:
    return tf.pow(tf.cast(base, power.dtype), power)


@_of("squeeze.dims", "squeeze.dim")
def _(x: Value, dims: int | Sequence[int]) -> Value:
    chosen = [dim % len(x.shape) for dim in ([dims] if isinstance(dims, int) else dims)]
    ones = [dim for dim in chosen if x.shape[dim] == 1]
    return tf.squeeze(x, ones) if ones else x


@_of("view", "reshape", "_unsafe_view")
def _(x: Value, sizes: Sequence[Value]) -> Value:
    return tf.reshape(x, _shape(sizes))


@_of("leaky_relu")
def _(x: Value, slope: float = 0.01) -> Value:
    return tf.nn.leaky_relu(x, slope)


@_of("copy_")  # of an operation in place, whose result all later nodes use
def _(x: Value, values: Value, *_: Value) -> Value:
    return tf.broadcast_to(tf.cast(values, x.dtype), tf.shape(x))


@_of("expand")
def _(x: Value, sizes: Sequence[Value]) -> Value:
    lead, own = len(sizes) - len(x.shape), tf.shape(x)
    kept = [own[i - lead] if not tf.is_tensor(size) and size == -1 else size for i, size in enumerate(sizes)]
    return tf.broadcast_to(x, _shape(kept))


def _reduced(reduce: Callable[..., Value], x: Value, dims: Value, keepdim: bool) -> Value:
    """Reduce one dimension after the other.

    TensorFlow adds the numbers of several dimensions one by one, so that sums of ten thousand have an error of 5e-6.
    """
    chosen = sorted(dim % len(x.shape) for dim in (dims or range(len(x.shape))))
    for dim in chosen:
        x = reduce(x, dim, True)
    return x if keepdim else tf.squeeze(x, chosen)


@_of("mean", "mean.dim")
def _(x: Value, dims: Value = None, keepdim: bool = False, dtype: Any = None) -> Value:  # noqa: ARG001
    return _reduced(tf.reduce_mean, x, dims, keepdim)


@_of("sum", "sum.dim_IntList")
def _(x: Value, dims: Value = None, keepdim: bool = False, dtype: Any = None) -> Value:  # noqa: ARG001
    return _reduced(tf.reduce_sum, x, dims, keepdim)


@_of("amax")
def _(x: Value, dims: Value = None, keepdim: bool = False) -> Value:
    return tf.reduce_max(x, dims or None, keepdim)


@_of("argmax")
def _(x: Value, dim: int) -> Value:
    return tf.argmax(x, dim, output_type=tf.int64)


@_of("var_mean.correction")
def _(x: Value, dims: Value, correction: float = 0, keepdim: bool = False) -> Value:
    assert correction == 0
    mean = _reduced(tf.reduce_mean, x, dims, True)
    variance = _reduced(tf.reduce_mean, tf.square(x - mean), dims, keepdim)
    return variance, mean if keepdim else tf.squeeze(mean, dims)


@_of("linalg_vector_norm")
def _(x: Value, order: float = 2, dims: Value = None, keepdim: bool = False) -> Value:
    assert order == 2
    return tf.sqrt(tf.reduce_sum(tf.square(x), dims, keepdim))


@_of("clamp")
def _(x: Value, least: Value = None, most: Value = None) -> Value:
    x = x if least is None else tf.maximum(x, tf.cast(least, x.dtype))
    return x if most is None else tf.minimum(x, tf.cast(most, x.dtype))


@_of("gather")
def _(x: Value, dim: int, index: Value) -> Value:
    return tf.gather(x, index, axis=dim, batch_dims=dim % len(x.shape))


@_of("scatter_add")
def _(x: Value, dim: int, index: Value, values: Value) -> Value:
    assert dim % len(x.shape) == len(x.shape) - 1  # the logits of a class
    places = tf.one_hot(index, tf.shape(x)[-1], dtype=values.dtype)
    return x + tf.reduce_sum(places * values[..., None], -2)


@_of("full")
def _(sizes: Sequence[Value], value: Value, dtype: torch.dtype | None = None, **_: Any) -> Value:
    return tf.fill(_shape(sizes), tf.cast(value, _dtype(dtype))) if sizes else tf.cast(value, _dtype(dtype))


@_of("full_like")
def _(x: Value, value: Value, **_: Any) -> Value:
    return tf.fill(tf.shape(x), tf.cast(value, x.dtype)) if len(x.shape) else tf.cast(value, x.dtype)


@_of("scalar_tensor")
def _(value: Value, dtype: torch.dtype | None = None, **_: Any) -> Value:
    return tf.cast(value, _dtype(dtype))


@_of("where.self")
def _(condition: Value, a: Value, b: Value) -> Value:
    return tf.where(condition, *_alike(a, b))


@_of("_to_copy")
def _(x: Value, dtype: torch.dtype | None = None, **_: Any) -> Value:
    return x if dtype is None else tf.cast(x, _dtype(dtype))


@_of("arange.start_step")
def _(start: Value, end: Value, step: Value = 1, **_: Any) -> Value:
    return tf.range(*(tf.cast(each, tf.int64) for each in (start, end, step)))


@_of("cat")
def _(tensors: Sequence[Value], dim: int = 0) -> Value:
    return tf.concat(tensors, dim)


@_of("split_with_sizes")
def _(x: Value, sizes: Sequence[int], dim: int = 0) -> Value:
    return tf.split(x, list(sizes), dim)


@_of("select.int")
def _(x: Value, dim: int, index: int) -> Value:
    return tf.gather(x, index, axis=dim)


@_of("slice.Tensor")
def _(x: Value, dim: int = 0, start: Value = None, end: Value = None, step: int = 1) -> Value:
    parts = [slice(None)] * len(x.shape)
    parts[dim] = slice(start, None if isinstance(end, int) and end >= _END else end, step)
    return x[tuple(parts)]


@_of("constant_pad_nd")
def _(x: Value, pads: Sequence[int], value: float = 0) -> Value:
    before_after = [[0, 0] for _ in x.shape]
    for i in range(len(pads) // 2):
        before_after[-1 - i] = [max(0, pads[2 * i]), max(0, pads[2 * i + 1])]
    return tf.pad(x, before_after, constant_values=tf.cast(value, x.dtype))


@_of("convolution")
def _(
    x: Value,
    weight: Value,
    bias: Value,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    _: Any,
    groups: int,
) -> Value:
    assert not transposed
    assert groups == 1
    pads = [[0, 0], [padding[0]] * 2, [padding[1]] * 2, [0, 0]]
    by_pixel = tf.pad(tf.transpose(x, [0, 2, 3, 1]), pads) if any(padding) else tf.transpose(x, [0, 2, 3, 1])
    found = tf.nn.conv2d(by_pixel, tf.transpose(weight, [2, 3, 1, 0]), list(stride), "VALID", dilations=list(dilation))
    return tf.transpose(found if bias is None else found + bias, [0, 3, 1, 2])


@_of("max_pool2d_with_indices")
def _(
    x: Value, kernel: Any, stride: Any = (), padding: Any = (0, 0), dilation: Any = (1, 1), ceil: bool = False
) -> Value:
    assert list(dilation) == [1, 1]
    assert not ceil
    pads = [[0, 0], [padding[0]] * 2, [padding[1]] * 2, [0, 0]]
    by_pixel = tf.transpose(x, [0, 2, 3, 1])
    by_pixel = tf.pad(by_pixel, pads, constant_values=x.dtype.min) if any(padding) else by_pixel
    found = tf.nn.max_pool2d(by_pixel, list(kernel), list(stride or kernel), "VALID")
    return tf.transpose(found, [0, 3, 1, 2]), None
