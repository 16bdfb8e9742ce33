"""The parameters of sampling that a model's file recommends, `general.sampling.*`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import GGUFFormatError, RequestError
from .params import SamplingParams
from .sampler_names import sampler_name

_PREFIX = "general.sampling."
_PARAMETERS = {
    "temp": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "xtc_probability": "xtc_probability",
    "xtc_threshold": "xtc_threshold",
    "penalty_repeat": "repeat_penalty",
    "penalty_last_n": "repeat_last_n",
    "mirostat": "mirostat",
    "mirostat_tau": "mirostat_tau",
    "mirostat_eta": "mirostat_eta",
}
"""Key, as llama.cpp's converter writes it -> parameter."""


def recommended_values(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a file's keys that say how to sample, with their values, unchecked."""
    keys = [_PREFIX + name for name in (*_PARAMETERS, "sequence")]
    return {key: metadata[key] for key in keys if key in metadata}


def recommended_params(found: Mapping[str, Any], source: str) -> SamplingParams:
    """Greedy if the file recommends nothing.  A temperature that it leaves out is 1, as in the
    generation_config.json from which converters take these values.

    GGUFFormatError, which names the file by `source`, for values that are none.
    """
    given: dict[str, Any] = {
        parameter: round(value, 6) if isinstance(value := found[_PREFIX + name], float) else value
        for name, parameter in _PARAMETERS.items()
        if _PREFIX + name in found
    }
    sequence = found.get(_PREFIX + "sequence")
    try:
        if sequence is not None:
            if not isinstance(sequence, str):
                raise RequestError(f"sequence must be a text, not {sequence!r:.100}")
            given["samplers"] = [sampler_name(name) for name in sequence.split(";") if name]
        return SamplingParams(**({"temperature": 1.0, **given} if given else {}))
    except RequestError as error:
        raise GGUFFormatError(f"{source}: {_PREFIX}*: {error}") from error
