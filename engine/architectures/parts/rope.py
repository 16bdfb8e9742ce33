"""RoPE tables from the metadata: base, stretched contexts, divisors in the file, sections.

    linear     positions are divided by `rope.scaling.factor`
    yarn       positions are divided for slow pairs only; cosine and sine grow a little
    longrope   each pair has a divisor in the file, one for short contexts and one for long ones
    Llama 3    each pair has a divisor in the file, `rope_freqs`
    M-RoPE     pairs rotate with time, height or width; in text all three are the position; the remaining
               pairs do not rotate

Sources: Chen et al. 2023 (arXiv:2306.15595); Peng et al. 2023, "YaRN" (arXiv:2309.00071); Ding et al. 2024,
"LongRoPE" (arXiv:2402.13753); Wang et al. 2024, "Qwen2-VL" (arXiv:2409.12191).
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ....errors import GGUFUnsupportedError, ModelError
from ....gguf_io.tensor import Tensor
from ...config.config import Config
from ...config.groups import Rope
from ...plan.graph.graph import Graph
from ...plan.rope import RopeTable, rope_frequencies

Array = NDArray[np.float64]


def rope_table(
    g: Graph,
    c: Config,
    name: str = "rope",
    *,
    base: float = 0.0,
    is_stretched: bool = True,
    has_factors: bool = True,
    interleaved_sections: bool = False,
) -> str:
    """Adds the table `name` and returns its name.

    `base` replaces that of the metadata.  `is_stretched`: does the scaling of the metadata apply?
    `has_factors`: do the divisors in the file, if there are any, apply?
    """
    base = base or c.rope.freq_base
    inv_freq = rope_frequencies(c.rope.n_rot, base)
    scale = 1.0
    if c.rope.sections:
        inv_freq = inv_freq * _rotating(c.rope, interleaved_sections)
    if is_stretched:
        inv_freq = _stretched(inv_freq, base, c.rope)
        scale = _attention_factor(g, c)
    if not has_factors:
        return g.add_rope_table(name, RopeTable(inv_freq, scale))
    if (divisors := g.optional_tensor("rope_freqs.weight")) is not None:
        return g.add_rope_table(name, RopeTable(inv_freq / _checked(divisors)[: c.rope.n_rot // 2], scale))
    long, short = (g.optional_tensor(f"rope_factors_{length}.weight") for length in ("long", "short"))
    if long is None or short is None:
        return g.add_rope_table(name, RopeTable(inv_freq, scale))
    table = RopeTable(inv_freq / _checked(short), scale, inv_freq / _checked(long), c.rope.n_ctx_original)
    return g.add_rope_table(name, table)


def rope_table_swa(g: Graph, c: Config, *, is_stretched: bool = True, has_factors: bool = True) -> str:
    """Adds the table of the layers with a sliding window, which may have another base and n_rot."""
    own = replace(c, rope=replace(c.rope, n_rot=c.rope.n_rot_swa or c.rope.n_rot))
    return rope_table(
        g, own, "rope_swa", base=c.rope.freq_base_swa, is_stretched=is_stretched, has_factors=has_factors
    )


def _checked(divisors: Tensor) -> Array:
    values = divisors.dequantize().astype(np.float64)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ModelError(f"{divisors.path}: tensor {divisors.name} must be finite and above 0 throughout")
    return values


def _rotating(rope: Rope, interleaved: bool) -> Array:
    """1 for each pair that rotates with the position, 0 for those of the last section."""
    time, height, width, rest = (*rope.sections, 0, 0, 0, 0)[:4]
    total = time + height + width + rest
    if total == 0:
        return np.ones(rope.n_rot // 2)
    pair = np.arange(rope.n_rot // 2) % total
    if interleaved:
        limit = np.choose(pair % 3, [time, height, width])
        return (pair < 3 * limit).astype(np.float64)
    return (pair < time + height + width).astype(np.float64)


def _stretched(inv_freq: Array, base: float, rope: Rope) -> Array:
    """The frequencies for a context that is `rope.scale` times as long."""
    slow = inv_freq / rope.scale
    if rope.scaling != "yarn":
        return slow
    # The pair that makes `turns` turns within the original context.
    first, last = (
        rope.n_rot * math.log(rope.n_ctx_original / (turns * 2 * math.pi)) / (2 * math.log(base))
        for turns in (rope.yarn_beta_fast, rope.yarn_beta_slow)
    )
    first, last = max(0, math.floor(first)), min(rope.n_rot - 1, math.ceil(last))
    ramp = np.clip((np.arange(rope.n_rot // 2) - first) / max(0.001, last - first), 0, 1)
    fast = (1 - ramp) * (rope.yarn_ext_factor if rope.yarn_ext_factor >= 0 else 1)
    return inv_freq * fast + slow * (1 - fast)


def _attention_factor(g: Graph, c: Config) -> float:
    """The factor of cosine and sine."""
    rope = c.rope
    if rope.scaling != "yarn":
        return rope.attn_factor
    growth = 0.1 * math.log(max(1, rope.scale)) if rope.yarn_ext_factor else 0
    factor = (1 + growth) / (1 + rope.yarn_log_mul * growth)
    if rope.yarn_attn_factor != 1 and not math.isclose(rope.yarn_attn_factor, factor, rel_tol=1e-3):
        raise GGUFUnsupportedError(
            f"{g.weight('token_embd').path}: {c.architecture}.rope.scaling.yarn_attn_factor is "
            f"{rope.yarn_attn_factor:g}, must be 1 or {factor:g}, as YaRN's formula says; nybble has no other"
        )
    return rope.attn_factor * factor
