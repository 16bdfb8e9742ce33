"""Which functions a sampler uses: those in NumPy, or compiled ones."""

from ...kernels.sampling.reference import REFERENCE, SamplingFunctions
from .params import SamplingParams


def sampling_functions(params: SamplingParams, *, is_compiled: bool) -> SamplingFunctions:
    """Those for `params`; `is_compiled`: compiled ones where there are any. Greedy sampling needs none."""
    if not is_compiled or params.temperature == 0:
        return REFERENCE
    from ...kernels.sampling.compiled import compiled_sampling

    return compiled_sampling()
