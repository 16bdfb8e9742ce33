"""The chain of samplers that parameters ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .adaptive_p import AdaptiveP
from .mirostat import Mirostat1, Mirostat2
from .own_sampler import ChainSampler, OwnSampler
from .params import SamplingParams
from .penalties import Dry, Penalties
from .sampler_names import DEFAULT_SAMPLERS
from .temperature import Temperature
from .truncation import MinP, TopK, TopNSigma, TopP, TypicalP, Xtc

Breakers = Mapping[int, Sequence[tuple[int, ...]]]
"""Sequences of tokens that break repetitions: first id -> the ids that follow it, for each."""

_KEEP_THE_BEST = frozenset({"top_n_sigma", "top_k", "top_p", "min_p", "temperature"})


def make_chain(params: SamplingParams, breakers: Breakers) -> list[ChainSampler]:
    """The samplers between logit bias and draw, for one text. Those that `params` turns off are left out, and
    of the default chain, where the most probable token is taken, those that would always keep it."""
    if params.samplers is None and params.mirostat:
        chain: list[ChainSampler] = [_temperature(params)]
    elif params.samplers is None:
        is_plain = params.is_greedy
        names = [name for name in DEFAULT_SAMPLERS if not (is_plain and name in _KEEP_THE_BEST)]
        chain = [made for name in names if (made := _BY_NAME[name](params, breakers))]
    else:
        chain = []
        for i, sampler in enumerate(params.samplers):
            if not isinstance(sampler, str):
                chain.append(OwnSampler(sampler, f"samplers[{i}]"))
            elif made := _BY_NAME[sampler](params, breakers):
                chain.append(made)
    if params.mirostat:
        kind = Mirostat1 if params.mirostat == 1 else Mirostat2
        chain.append(kind(params.mirostat_tau, params.mirostat_eta))
    elif params.adaptive_target is not None:
        chain.append(AdaptiveP(params.adaptive_target, params.adaptive_decay))
    return chain


def _penalties(params: SamplingParams, breakers: Breakers) -> ChainSampler | None:
    is_off = params.repeat_penalty == 1 and params.frequency_penalty == 0 == params.presence_penalty
    if is_off or params.repeat_last_n == 0:
        return None
    return Penalties(
        params.repeat_last_n, params.repeat_penalty, params.frequency_penalty, params.presence_penalty
    )


def _dry(params: SamplingParams, breakers: Breakers) -> ChainSampler | None:
    if params.dry_multiplier == 0 or params.dry_penalty_last_n == 0:
        return None
    return Dry(
        params.dry_multiplier,
        params.dry_base,
        params.dry_allowed_length,
        params.dry_penalty_last_n,
        breakers,
    )


def _temperature(params: SamplingParams, breakers: Breakers | None = None) -> ChainSampler:
    return Temperature(params.temperature, params.dynatemp_range, params.dynatemp_exponent)


def _xtc(params: SamplingParams, breakers: Breakers) -> ChainSampler | None:
    if params.xtc_probability == 0:
        return None
    return Xtc(params.xtc_probability, params.xtc_threshold, params.min_keep)


_BY_NAME: Mapping[str, Callable[[SamplingParams, Breakers], ChainSampler | None]] = {
    "penalties": _penalties,
    "dry": _dry,
    "top_n_sigma": lambda params, _: TopNSigma(params.top_n_sigma) if params.top_n_sigma else None,
    "top_k": lambda params, _: TopK(params.top_k) if params.top_k else None,
    "typical_p": lambda params, _: (
        TypicalP(params.typical_p, params.min_keep) if params.typical_p < 1 else None
    ),
    "top_p": lambda params, _: TopP(params.top_p, params.min_keep) if params.top_p < 1 else None,
    "min_p": lambda params, _: MinP(params.min_p, params.min_keep) if params.min_p else None,
    "xtc": _xtc,
    "temperature": _temperature,
}
