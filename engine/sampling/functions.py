"""The functions that a sampler uses: NumPy's, or compiled ones."""

from ...kernels.sampling.reference import REFERENCE, SamplingFunctions
from .params import SamplingParams


def sampling_functions(params: SamplingParams, *, is_compiled: bool) -> SamplingFunctions:
    """The functions for `params`; with `is_compiled` compiled ones, except for greedy sampling without a
    constraint and samplers of the caller's, which needs none."""
    is_plain = params.is_greedy and params.samplers is None and params.constraint is None
    if not is_compiled or is_plain:
        return REFERENCE
    from ...kernels.sampling.compiled import compiled_sampling

    return compiled_sampling()
