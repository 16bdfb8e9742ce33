"""The arrays that public functions of kernels take, and checks of them."""

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[np.float32]
Count = NDArray[np.int64]
"""A number in its first element, which changes from step to step."""


def check_array(
    name: str, array: object, shape: tuple[int | None, ...], dtype: DTypeLike = np.float32
) -> None:
    """TypeError unless `array` is an array of `dtype`, ValueError unless it has `shape` (None: any size)."""
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        found = f"{array.dtype} array" if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name} must be a {np.dtype(dtype)} array, not {found}")
    fits = len(array.shape) == len(shape) and all(
        want in (None, size) for size, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{name} must have shape ({wanted}), not {array.shape}")


def check_indices(name: str, array: object, shape: tuple[int | None, ...], limit: int | None = None) -> None:
    """TypeError unless `array` holds integers, of any width. ValueError unless it has `shape`, and values in
    0 .. limit - 1 (None: no limit)."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be an integer array, not {getattr(array, 'dtype', type(array).__name__)}"
        )
    check_array(name, array, shape, array.dtype)
    if array.size and (array.min() < 0 or (limit is not None and array.max() >= limit)):
        bound = "not be negative" if limit is None else f"lie in 0 .. {limit - 1}"
        raise ValueError(f"{name} must {bound}; found {array.min()} .. {array.max()}")
