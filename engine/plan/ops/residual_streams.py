"""The operations of models with several residual streams side by side, and of what only they have."""

from dataclasses import dataclass

from ....gguf_io.tensor import Tensor
from .base import Buffer, Op


@dataclass(frozen=True, eq=False)
class MixStreams(Op):
    """Each of the new streams is a sum of those in x, weighted token by token.

    x is (n_streams * width) wide, `weights_of` (n_out * n_streams), new stream by new stream, and out
    (n_out * width).
    """

    x: Buffer
    weights_of: Buffer
    n_streams: int


@dataclass(frozen=True, eq=False)
class MeanOfStreams(Op):
    """The mean of `n_streams` equal parts of x."""

    x: Buffer
    n_streams: int


@dataclass(frozen=True, eq=False)
class Shift(Op):
    """out = x + amount."""

    x: Buffer
    amount: float


@dataclass(frozen=True, eq=False)
class MatchLength(Op):
    """Gives each of the equal parts of x, as wide as `like`, the length of that."""

    x: Buffer
    like: Buffer


@dataclass(frozen=True, eq=False)
class KeepOutliers(Op):
    """out = max(0, x - cut), the cut of a row lying `n_deviations` standard deviations above its mean."""

    x: Buffer
    n_deviations: float


@dataclass(frozen=True, eq=False)
class PoolStreams(Op):
    """The mean of the equal parts of x, as wide as `weight`, weighted by a softmax of how each scores: the
    product of its normalized values and `weight`.
    """

    x: Buffer
    weight: Tensor
    eps: float
