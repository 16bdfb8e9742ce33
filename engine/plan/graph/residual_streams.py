"""The part of a graph that adds operations on several residual streams, side by side in one buffer."""

from .. import ops
from .base import GraphCore


class StreamGraph(GraphCore):
    """Adds operations on residual streams; see `Graph`."""

    def mix_streams(self, out: str, x: str, weights: str, n_streams: int) -> str:
        """New streams, each a weighted sum of the n_streams in x, with n_streams weights per new stream."""
        n_out = self.width(weights) // n_streams
        width = self.width(x) // n_streams
        return self._add(ops.MixStreams(self._prefix + out, x, weights, n_streams), n_out * width)

    def mean_of_streams(self, out: str, x: str, n_streams: int) -> str:
        op = ops.MeanOfStreams(self._prefix + out, x, n_streams)
        return self._add(op, self.width(x) // n_streams)

    def shift(self, out: str, x: str, amount: float) -> str:
        """x plus an amount; x itself if that is 0."""
        return x if amount == 0 else self._add(ops.Shift(self._prefix + out, x, amount), self.width(x))

    def match_length(self, out: str, x: str, like: str) -> str:
        """Each stream of x, scaled to the length of `like`."""
        return self._add(ops.MatchLength(self._prefix + out, x, like), self.width(x))

    def keep_outliers(self, out: str, x: str, n_deviations: float) -> str:
        """x minus a threshold, or 0 if below: n_deviations standard deviations above the mean of the row."""
        return self._add(ops.KeepOutliers(self._prefix + out, x, n_deviations), self.width(x))

    def pool_streams(self, out: str, x: str, weight: str, eps: float) -> str:
        """The mean of the streams in x, weighted by the softmax of their scores."""
        vector = self.weight(weight)
        return self._add(ops.PoolStreams(self._prefix + out, x, vector, eps), vector.n_values)
