"""What the graph of a model with several residual streams side by side has beyond that of others."""

from .. import ops
from .base import GraphCore


class StreamGraph(GraphCore):
    """Adds operations on streams; see `Graph`."""

    def mix_streams(self, out: str, x: str, weights: str, n_streams: int) -> str:
        """New streams, each a weighted sum of the n_streams in x; as many as the weights are for."""
        n_out = self.width(weights) // n_streams
        width = self.width(x) // n_streams
        return self._add(ops.MixStreams(self._prefix + out, x, weights, n_streams), n_out * width)

    def mean_of_streams(self, out: str, x: str, n_streams: int) -> str:
        op = ops.MeanOfStreams(self._prefix + out, x, n_streams)
        return self._add(op, self.width(x) // n_streams)

    def shift(self, out: str, x: str, amount: float) -> str:
        """x itself where the amount is 0."""
        return x if amount == 0 else self._add(ops.Shift(self._prefix + out, x, amount), self.width(x))

    def match_length(self, out: str, x: str, like: str) -> str:
        """Each stream of x with the length of `like`."""
        return self._add(ops.MatchLength(self._prefix + out, x, like), self.width(x))

    def keep_outliers(self, out: str, x: str, n_deviations: float) -> str:
        """What of a row lies so many standard deviations above its mean, from there."""
        return self._add(ops.KeepOutliers(self._prefix + out, x, n_deviations), self.width(x))

    def pool_streams(self, out: str, x: str, weight: str, eps: float) -> str:
        """The mean of the streams in x, weighted by how each scores."""
        vector = self.weight(weight)
        return self._add(ops.PoolStreams(self._prefix + out, x, vector, eps), vector.n_values)
