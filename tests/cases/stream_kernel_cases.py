"""More cases in the manner of `kernel_cases.py`: several residual streams."""

import numpy as np
from kernel_cases import Array, Case, Place, normal
from numpy.typing import NDArray

from nybble.kernels.elementwise.outliers import bind_keep_outliers, keep_outliers_reference
from nybble.kernels.jit.kernel import Call
from nybble.kernels.norm.pool_residual_streams import (
    bind_pool_residual_streams,
    pool_residual_streams_reference,
)
from nybble.kernels.norm.residual_streams import (
    bind_match_length,
    bind_mean_of_residual_streams,
    bind_mix_residual_streams,
    match_length_reference,
    mean_of_residual_streams_reference,
    mix_residual_streams_reference,
)


class MixStreams(Case):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_streams, self.n_new, self.width = (int(rng.integers(1, high)) for high in (6, 6, 60))
        weights = normal(rng, self.n, self.n_new * self.n_streams)
        return {"x": normal(rng, self.n, self.n_streams * self.width), "w": weights}

    @property
    def out_width(self) -> int:
        return self.n_new * self.width

    def expected(self) -> Array:
        return mix_residual_streams_reference(self.inputs["x"], self.inputs["w"], self.n_streams)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        at = self.n_streams, self.n_new, self.width
        return [bind_mix_residual_streams(b["x"], b["w"], b["out"], b["n_tokens"], *at)]


class MeanOfStreams(MixStreams):
    n_new = 1

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_streams, self.width = (int(rng.integers(1, high)) for high in (6, 60))
        return {"x": normal(rng, self.n, self.n_streams * self.width)}

    def expected(self) -> Array:
        return mean_of_residual_streams_reference(self.inputs["x"], self.n_streams)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_mean_of_residual_streams(b["x"], b["out"], b["n_tokens"], self.n_streams, self.width)]


class MatchLength(Case):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        self.n_streams, self.width = int(rng.integers(1, 5)), int(rng.integers(1, 60))
        x = normal(rng, self.n, self.n_streams * self.width)
        return {"x": x, "like": 3 * normal(rng, self.n, self.width)}

    def expected(self) -> Array:
        return match_length_reference(self.inputs["x"], self.inputs["like"])

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_match_length(b["x"], b["like"], b["out"], b["n_tokens"], self.n_streams, self.width)]


class KeepOutliers(Case):
    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        return {"x": 1 + normal(rng, self.n, int(rng.integers(2, 100)))}

    def expected(self) -> Array:
        return keep_outliers_reference(self.inputs["x"], 0.5)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [bind_keep_outliers(b["x"], b["out"], b["n_tokens"], self.out_width, 0.5)]


class PoolStreams(MeanOfStreams):
    tolerance = 1e-5

    def make(self, rng: np.random.Generator) -> dict[str, Array]:
        inputs = super().make(rng)
        self.weight = normal(rng, self.width)
        return inputs

    def expected(self) -> Array:
        return pool_residual_streams_reference(self.inputs["x"], self.weight, 1e-5)

    def bind(self, b: dict[str, NDArray], place: Place, n_threads: int) -> list[Call]:
        return [
            bind_pool_residual_streams(
                b["x"], place(self.weight), b["out"], b["n_tokens"], self.n_streams, 1e-5
            )
        ]


CASES: tuple[type[Case], ...] = (MixStreams, MeanOfStreams, MatchLength, KeepOutliers, PoolStreams)
