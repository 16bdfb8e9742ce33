"""Tables of tensors from which architectures put theirs together."""

from dataclasses import replace

from ...config.tensor_table import Shape, optional, required

Table = dict[str, Shape]

HEAD: Table = {
    "token_embd.weight": required("n_vocab", "n_embd"),
    "output_norm.weight": required("n_embd"),
    "output.weight": optional("n_vocab", "n_embd"),
}

ROPE_FACTORS: Table = {
    "rope_freqs.weight": optional("rope.n_rot/2"),
    "rope_factors_long.weight": optional("rope.n_rot/2"),
    "rope_factors_short.weight": optional("rope.n_rot/2"),
}


def norms(*names: str, when: str = "") -> Table:
    """Weights of width n_embd in every block: norms of the residual stream."""
    return {f"blk.N.{name}.weight": required("n_embd", when=when) for name in names}


def norms_with_bias(*names: str) -> Table:
    """Weights and biases of norms of the residual stream in every block."""
    return norms(*names) | {f"blk.N.{name}.bias": required("n_embd") for name in names}


def attention(when: str = "") -> Table:
    """Queries, keys and values, with one matrix each or one for all, and the output matrix."""
    return {
        "blk.N.attn_qkv.weight": optional("qkv_width", "n_embd", when=when),
        "blk.N.attn_qkv.bias": optional("qkv_width", when=when),
        "blk.N.attn_q.weight": required("q_width", "n_embd", when=when, unless="attn_qkv.weight"),
        "blk.N.attn_q.bias": optional("q_width", when=when),
        "blk.N.attn_k.weight": required("kv_width", "n_embd", when=when, unless="attn_qkv.weight"),
        "blk.N.attn_k.bias": optional("kv_width", when=when),
        "blk.N.attn_v.weight": required("v_width", "n_embd", when=when, unless="attn_qkv.weight"),
        "blk.N.attn_v.bias": optional("v_width", when=when),
        "blk.N.attn_output.weight": required("n_embd", "heads_width", when=when),
        "blk.N.attn_output.bias": optional("n_embd", when=when),
    }


def qk_norms(when: str = "") -> Table:
    """Norms of queries and keys, head by head."""
    return {
        "blk.N.attn_q_norm.weight": required("head_dim", when=when),
        "blk.N.attn_k_norm.weight": required("head_dim", when=when),
    }


def where_present(table: Table) -> Table:
    """The table with all tensors optional, for layers whose kind follows from the tensors that they have."""
    return {name: replace(shape, is_required=False, when="", unless="") for name, shape in table.items()}


def ffn(when: str = "") -> Table:
    """A feed-forward layer without a gate."""
    return {
        "blk.N.ffn_up.weight": required("n_ff", "n_embd", when=when),
        "blk.N.ffn_up.bias": optional("n_ff", when=when),
        "blk.N.ffn_down.weight": required("n_embd", "n_ff", when=when),
        "blk.N.ffn_down.bias": optional("n_embd", when=when),
    }


def gated_ffn(when: str = "") -> Table:
    """A feed-forward layer with a gate."""
    return {
        "blk.N.ffn_gate.weight": required("n_ff", "n_embd", when=when),
        "blk.N.ffn_gate.bias": optional("n_ff", when=when),
        **ffn(when),
    }


def fused_ffn() -> Table:
    """A feed-forward layer with gate and up in one matrix, gate first."""
    return {
        "blk.N.ffn_up.weight": required("2*n_ff", "n_embd"),
        "blk.N.ffn_down.weight": required("n_embd", "n_ff"),
    }


def experts(when: str = "has_experts") -> Table:
    """A mixture of experts; gate and up may be one stack of matrices."""
    fused = "ffn_gate_up_exps.weight"
    return {
        "blk.N.ffn_gate_inp.weight": required("moe.n_experts", "n_embd", when=when),
        "blk.N.exp_probs_b.bias": optional("moe.n_experts", when=when),
        f"blk.N.{fused}": optional("moe.n_experts", "2*moe.n_ff", "n_embd", when=when),
        "blk.N.ffn_gate_exps.weight": required(
            "moe.n_experts", "moe.n_ff", "n_embd", when=when, unless=fused
        ),
        "blk.N.ffn_up_exps.weight": required("moe.n_experts", "moe.n_ff", "n_embd", when=when, unless=fused),
        "blk.N.ffn_down_exps.weight": required("moe.n_experts", "n_embd", "moe.n_ff", when=when),
    }


def ungated_experts(when: str = "has_experts", width: str = "n_embd") -> Table:
    """A mixture of experts without gates, which read and write vectors of `width`."""
    return {
        "blk.N.ffn_gate_inp.weight": required("moe.n_experts", "n_embd", when=when),
        "blk.N.ffn_up_exps.weight": required("moe.n_experts", "moe.n_ff", width, when=when),
        "blk.N.ffn_down_exps.weight": required("moe.n_experts", width, "moe.n_ff", when=when),
    }


def shared_expert(when: str = "has_shared_expert", width: str = "moe.n_ff_shared") -> Table:
    """The expert that all tokens go to."""
    return {
        "blk.N.ffn_gate_shexp.weight": required(width, "n_embd", when=when),
        "blk.N.ffn_up_shexp.weight": required(width, "n_embd", when=when),
        "blk.N.ffn_down_shexp.weight": required("n_embd", width, when=when),
    }
