"""The residual connection: out = a + b, element by element.

    a, b, out  the same shape, float32

Source: He et al. 2015, "Deep Residual Learning" (arXiv:1512.03385).
"""

import numpy as np
from numpy.typing import NDArray

from .checks import check_array


def add_reference(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """a (...), b (...) -> (...)."""
    check_array("a", a, np.shape(a))
    check_array("b", b, a.shape)
    return a + b
