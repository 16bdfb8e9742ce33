"""Hyper-connections: several residual streams, with gates that depend on the token.

Each half of a block reads a sum of the streams, weighted by read gates, and its output is added to every
stream, weighted by write gates.  All gates are computed from all streams.  At the end one more set of read
gates merges the streams into one.

Source: Zhu et al. 2024, "Hyper-Connections" (arXiv:2409.19606), section 2.
"""

from ...config.config import Config
from ...config.keys import Key, optional_float
from ...config.tensor_table import required
from ...plan.graph.graph import Graph
from .tensors import Table

KEYS = {
    "hyper_connection.count": Key("n_streams", "integer", 1, 64),
    "hyper_connection.epsilon": optional_float("hyper_eps", 0.0),
}


def gate_tensors(n_gates: str, n_scales: int) -> Table:
    """The weights of n_gates gates and n_scales scales in each half of a block; and of those at the end."""
    blocks: Table = {}
    for part in ("attn", "ffn"):
        blocks |= {
            f"blk.N.hc_{part}_fn.weight": required(n_gates, "n_streams*n_embd"),
            f"blk.N.hc_{part}_base.weight": required(n_gates),
            f"blk.N.hc_{part}_scale.weight": required(n_scales),
        }
    return blocks | {
        "output_hc_fn.weight": required("n_streams", "n_streams*n_embd"),
        "output_hc_base.weight": required("n_streams"),
        "output_hc_scale.weight": required(1),
    }


def gates(b: Graph, x: str, c: Config, part: str, weights: str) -> str:
    """The logits of all gates."""
    h = b.plain_rms_norm(f"{part}_gates_norm", x, c.norm_eps)
    h = b.linear(f"{part}_gates_raw", h, f"{weights}_fn")
    h = b.scale_columns(f"{part}_gates_scaled", h, f"{weights}_scale.weight")
    return b.add_vector(f"{part}_gates", h, f"{weights}_base.weight")


def read(b: Graph, x: str, c: Config, part: str, logits: str) -> str:
    """The sum of the streams, weighted by their read gates."""
    share = b.activate(f"{part}_read_act", logits, "sigmoid")
    share = b.shift(f"{part}_read", share, c.hyper_eps)
    return b.expert_sum(f"{part}_in", x, share)


def merge(g: Graph, x: str, c: Config) -> str:
    """The one stream that the last norm reads."""
    return read(g, x, c, "output", gates(g, x, c, "output", "output_hc"))
