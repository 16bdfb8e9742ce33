"""Causal depthwise convolution: each channel mixes its own last `size` values.

    out[t, c] = sum_{j < size} weight[c, j] * x[t - size + 1 + j, c] + bias[c]

The size - 1 values before the first token are the layer's state, zero at the start of a sequence.

    x, out  (n, n_channels) float32      weight  (n_channels, size) float32      bias  (n_channels,) or None
    tail    (size - 1, n_channels) float32: the last columns of the call before; returned anew for the next

Source: Gu & Dao 2023, "Mamba" (arXiv:2312.00752), section 3.4.
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array

Array = NDArray[np.float32]


def causal_conv_reference(x: Array, weight: Array, bias: Array | None, tail: Array) -> tuple[Array, Array]:
    """x (n, n_channels), weight (n_channels, size), tail (size - 1, n_channels) -> out, the next tail."""
    check_array("x", x, (None, None))
    n, n_channels = x.shape
    check_array("weight", weight, (n_channels, None))
    size = weight.shape[1]
    check_array("tail", tail, (size - 1, n_channels))
    whole = np.concatenate([tail, x])
    out = np.zeros_like(x)
    for j in range(size):
        out += whole[j : j + n] * weight[:, j]
    if bias is not None:
        check_array("bias", bias, (n_channels,))
        out += bias
    return out, whole[n:]
