"""For `SamplingParams(samplers=[…])`: nybble's samplers as objects, and what those of your own work on.

    from nybble.sampling import Logits, MinP, Penalties, TopK

A sampler is a callable `sampler(logits, ids)`, where `logits` is a `Logits` and `ids` is the text so far, the
prompt included. docs/sampling.md shows what it may do; examples/new_sampler.py is one in five lines.
"""

from .engine.sampling.adaptive_p import AdaptiveP
from .engine.sampling.logits import Logits
from .engine.sampling.mirostat import Mirostat1, Mirostat2
from .engine.sampling.own_sampler import ChainSampler
from .engine.sampling.penalties import Dry, LogitBias, Penalties
from .engine.sampling.sampler_names import DEFAULT_SAMPLERS
from .engine.sampling.temperature import Temperature
from .engine.sampling.truncation import MinP, TopK, TopNSigma, TopP, TypicalP, Xtc

__all__ = [
    "DEFAULT_SAMPLERS",
    "AdaptiveP",
    "ChainSampler",
    "Dry",
    "LogitBias",
    "Logits",
    "MinP",
    "Mirostat1",
    "Mirostat2",
    "Penalties",
    "Temperature",
    "TopK",
    "TopNSigma",
    "TopP",
    "TypicalP",
    "Xtc",
]
