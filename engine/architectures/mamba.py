"""`mamba`: Mamba, Falcon Mamba.  And its mixer, which hybrid models have too.

Every layer is a mixer: a short convolution, a selective scan, in which each channel has a state of its own,
and a gate.  The time steps and the matrices B and C of the scan are projections of the channels; Falcon Mamba
normalizes them, without weights.  There is no attention and no feed-forward layer.

Sources: Gu & Dao 2023 (arXiv:2312.00752); Zuo et al. 2024, "Falcon Mamba" (arXiv:2410.05355); llama.cpp
`src/models/mamba.cpp`, `mamba-base.cpp`.
"""

from ..config.keys import MIXER, NO_HEADS, Key
from .parts import Architecture, Config, Graph, layers, required, tensors

KEYS = MIXER | {
    "ssm.dt_b_c_rms": Key("ssm.has_plain_norms", "boolean", default=False),
    "feed_forward_length": Key("n_ff", "integer", 0, 2**24, default=0),
    **NO_HEADS,
}

INERT = {
    "attention.recurrent_layers": "all are",
    "ssm.group_count": "all channels share B and C",
}


def mixer_tensors(when: str = "") -> tensors.Table:
    """The tensors of a mixer."""
    return {
        "blk.N.ssm_in.weight": required("2*ssm.d_inner", "n_embd", when=when),
        "blk.N.ssm_conv1d.weight": required("ssm.d_inner", "ssm.d_conv", when=when),
        "blk.N.ssm_conv1d.bias": required("ssm.d_inner", when=when),
        "blk.N.ssm_x.weight": required("ssm_dt_width+2*ssm.d_state", "ssm.d_inner", when=when),
        "blk.N.ssm_dt.weight": required("ssm.d_inner", "ssm.dt_rank", when=when),
        "blk.N.ssm_dt.bias": required("ssm.d_inner", when=when),
        "blk.N.ssm_a": required("ssm.d_inner", "ssm.d_state", when=when),
        "blk.N.ssm_d": required("ssm.d_inner", when=when),
        "blk.N.ssm_out.weight": required("n_embd", "ssm.d_inner", when=when),
    }


TENSORS = tensors.HEAD | tensors.norms("attn_norm") | mixer_tensors()


def mixer(b: Graph, h: str, c: Config) -> str:
    """The output of a mixer for h."""
    x = b.linear("ssm_conv_in", h, "ssm_in", (0, c.ssm.d_inner))
    z = b.linear("ssm_z", h, "ssm_in", (c.ssm.d_inner, 2 * c.ssm.d_inner))
    return recurrence(b, c, x, z, (0, c.ssm.dt_rank, c.ssm.dt_rank + c.ssm.d_state))


def recurrence(b: Graph, c: Config, x: str, z: str, starts: tuple[int, int, int]) -> str:
    """The output of a mixer for x and its gate z; `starts`: first rows of time steps, B and C in `ssm_x`."""
    x = b.causal_conv("ssm_conv", x, "ssm_conv1d")
    x = b.activate("ssm_conv_act", x, "silu")
    names, widths = ("ssm_dt_low", "ssm_b", "ssm_c"), (c.ssm_dt_width, c.ssm.d_state, c.ssm.d_state)
    dt, writes, reads = (
        b.linear(name, x, "ssm_x", (start, start + width))
        for name, start, width in zip(names, starts, widths, strict=True)
    )
    if c.ssm.has_plain_norms:
        dt = b.plain_rms_norm("ssm_dt_norm", dt, c.norm_eps)
        writes = b.plain_rms_norm("ssm_b_norm", writes, c.norm_eps)
        reads = b.plain_rms_norm("ssm_c_norm", reads, c.norm_eps)
    elif b.has("ssm_dt_norm") or b.has_tensor("ssm_dt_norm"):
        dt = b.rms_norm("ssm_dt_norm", dt, "ssm_dt_norm", c.norm_eps)
        writes = b.rms_norm("ssm_b_norm", writes, "ssm_b_norm", c.norm_eps)
        reads = b.rms_norm("ssm_c_norm", reads, "ssm_c_norm", c.norm_eps)
    dt = b.linear("ssm_dt", dt, "ssm_dt", has_bias=False)  # the scan adds it
    h = b.selective_scan("ssm_scan", x, dt, writes, reads, c.ssm.n_heads or c.ssm.d_inner, n_groups=1)
    return b.linear("ssm_out", b.silu_mul("ssm_gated", z, h), "ssm_out")


def build(g: Graph, model: Config) -> None:
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_post", x, mixer(b, h, c))
    layers.head(g, x, model, g.rms_norm)


MAMBA = Architecture("mamba", TENSORS, build, KEYS, INERT)
