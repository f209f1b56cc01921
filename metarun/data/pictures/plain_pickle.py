"""Read pickles that hold only plain values and numpy arrays; no code that a pickle names is run or even imported."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from metarun.errors import UserError

_BYTE_TYPES = ("u1", "i1", "i2", "i4", "i8", "u2", "u4", "u8", "f4", "f8", "b1")
_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")


def load_plain(content: bytes) -> Any:
    """Return what a pickle of Python 2 or 3 holds: dicts, lists, numbers, texts, bytes and arrays.

    The texts of Python 2 and the bytes of Python 3 become texts, byte for byte (Latin-1).

    Raises:
        ValueError: it is damaged, or names anything but numpy's arrays.
    """
    try:
        return _plain(_Inert(io.BytesIO(content), encoding="latin1").load())
    except Exception as error:  # unpickling raises a dozen types on untrusted bytes
        raise ValueError(str(error) or type(error).__name__) from error


def wrong_file(path: Path, reason: str) -> UserError:
    """Return the error for a file of a published set that holds something else."""
    return UserError(f"{path} is not what the release has ({reason})", "download it again.")


class _Inert(pickle.Unpickler):
    """Builds records of arrays and dtypes in place of numpy's own, which then never see untrusted arguments."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Return a stand-in; a new one each time, because a pickle can set attributes of what it gets."""
        if module in _ARRAYS and name == "_reconstruct":
            return lambda *_: _Array()
        if (module, name) == ("numpy", "ndarray"):
            return lambda *_: None  # the type of an array, never called
        if (module, name) == ("numpy", "dtype"):
            return lambda code, *_: _DType(code)
        if (module, name) == ("_codecs", "encode"):  # bytes, in protocol 2 of Python 3
            return lambda text, *_: text
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is neither a plain value nor an array")


class _DType:
    """What a pickle says of a dtype."""

    __slots__ = ("code", "order")

    def __init__(self, code: object) -> None:
        self.code, self.order = code, "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class _Array:
    """What a pickle says of an array."""

    __slots__ = ("state",)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> Any:
        """Return the array.

        Raises:
            ValueError: of Python objects, or of another size than its bytes.
        """
        _, shape, dtype, fortran, raw = self.state
        if not isinstance(dtype, _DType) or dtype.code not in _BYTE_TYPES or dtype.order not in ("|", "<", ">", "="):
            raise ValueError("it has an array that is not of numbers")
        if not all(type(length) is int and length >= 0 for length in shape):
            raise ValueError("it has an array without a shape")
        data = raw.encode("latin1") if isinstance(raw, str) else bytes(raw)
        flat = np.frombuffer(data, np.dtype(f"{dtype.order}{dtype.code}"))
        return flat.reshape(shape, order="F" if fortran else "C")


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.array()
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin1")
    raise ValueError(f"it holds a {type(value).__name__.lstrip('_')}")
