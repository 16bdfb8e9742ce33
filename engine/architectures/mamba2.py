"""`mamba2`: Mamba-2, Codestral Mamba.  And the mixer of it, which hybrid models have too.

Every layer is a mixer: a short convolution, a selective scan with a state per head, a gate, and a norm over
groups of heads.  There is no attention and no feed-forward layer.

Sources: Dao & Gu 2024 (arXiv:2405.21060); llama.cpp `src/models/mamba2.cpp`, `mamba-base.cpp`.
"""

from ..config.keys import NO_HEADS, SSM, Key
from .parts import Architecture, Config, Graph, layers, optional, required, tensors

KEYS = SSM | {
    "feed_forward_length": Key("n_ff", "integer", 0, 2**24, default=0),
    **NO_HEADS,
}

INERT = {"attention.recurrent_layers": "all are"}


def mixer_tensors(when: str = "") -> tensors.Table:
    """The tensors of a mixer."""
    return {
        "blk.N.ssm_in.weight": required("ssm.d_inner+ssm.n_channels+ssm.n_heads", "n_embd", when=when),
        "blk.N.ssm_conv1d.weight": required("ssm.n_channels", "ssm.d_conv", when=when),
        "blk.N.ssm_conv1d.bias": optional("ssm.n_channels", when=when),
        "blk.N.ssm_dt.bias": required("ssm.n_heads", when=when),
        "blk.N.ssm_a": required("ssm.n_heads", 1, when=when),
        "blk.N.ssm_d": required("ssm.n_heads", 1, when=when),
        "blk.N.ssm_norm.weight": optional("ssm.n_groups", "ssm.group_dim", when=when),
        "blk.N.ssm_out.weight": required("n_embd", "ssm.d_inner", when=when),
    }


TENSORS = tensors.HEAD | tensors.norms("attn_norm") | mixer_tensors()


def mixer(b: Graph, h: str, c: Config) -> str:
    """The output of a mixer for h."""
    x_start, dt_start = c.ssm.d_inner, c.ssm.d_inner + c.ssm.n_channels
    z = b.linear("ssm_z", h, "ssm_in", (0, x_start))
    xbc = b.linear("ssm_xbc", h, "ssm_in", (x_start, dt_start))
    dt = b.linear("ssm_dt", h, "ssm_in", (dt_start, dt_start + c.ssm.n_heads))
    xbc = b.causal_conv("ssm_conv", xbc, "ssm_conv1d")
    xbc = b.activate("ssm_conv_act", xbc, "silu")
    width = c.ssm.n_groups * c.ssm.d_state
    x = b.take_columns("ssm_x", xbc, 0, c.ssm.d_inner)
    keys = b.take_columns("ssm_b", xbc, c.ssm.d_inner, width)
    queries = b.take_columns("ssm_c", xbc, c.ssm.d_inner + width, width)
    h = b.selective_scan("ssm_scan", x, dt, keys, queries, c.ssm.n_heads, c.ssm.n_groups)
    h = b.silu_mul("ssm_gated", z, h)
    if b.has("ssm_norm"):
        h = b.rms_norm("ssm_norm", h, "ssm_norm", c.norm_eps)
    return b.linear("ssm_out", h, "ssm_out")


def build(g: Graph, model: Config) -> None:
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        h = b.rms_norm("attn_norm", x, "attn_norm", c.norm_eps)
        x = b.add("resid_post", x, mixer(b, h, c))
    layers.head(g, x, model, g.rms_norm)


MAMBA2 = Architecture("mamba2", TENSORS, build, KEYS, INERT)
