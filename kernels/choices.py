"""The names of choices that plans make and kernels carry out."""

from typing import Literal

Activation = Literal["silu", "gelu", "relu", "relu2", "sigmoid", "softplus", "exp"]
Gating = Literal["softmax", "sigmoid", "softmax of chosen", "sqrt softplus"]
Pairing = Literal["norm", "neox"]
