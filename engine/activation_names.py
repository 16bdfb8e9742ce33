"""What every buffer of a plan holds, by its name without the block, and its name in TransformerLens.

Every buffer of every architecture has a line here, in about the order of computation; a test wants it, and
one that `docs/activations.md` is this table. Where two models put different things into a place (a gate or
none), the line says what is common to them.

A hook of TransformerLens (2.x) is named where it holds the same numbers; "blocks.N." is left out. Of two
names of a block that have the same hook it is the later (what a half adds to the residual stream is taken
after its norm), and `ffn_up` is mlp.hook_pre where there is no gate.
"""

from typing import NamedTuple


class Meaning(NamedTuple):
    """One line for people, and TransformerLens' name, "" if it has none."""

    text: str
    hook: str = ""


MEANINGS: dict[str, Meaning] = {
    "token_embd": Meaning("embeddings of the tokens, scaled where the model scales them", "hook_embed"),
    "token_embd_norm": Meaning("embeddings after their norm"),
    "position_embd": Meaning("learned vectors of the positions", "hook_pos_embed"),
    "input_embd": Meaning("sum of the embeddings of tokens and positions"),
    # the residual stream of a block, and its first half
    "resid_pre": Meaning("residual stream that comes into the block", "hook_resid_pre"),
    "attn_norm": Meaning("input of the mixing half, normalized, times the norm's weight"),
    "attn_norm_2": Meaning("input of attention, by a second norm beside attn_norm"),
    "q_latent": Meaning("queries, compressed (multi-head latent attention)"),
    "q_latent_norm": Meaning("compressed queries after their norm"),
    "q_gate": Meaning("queries and the gate of the heads, head by head"),
    "q": Meaning("queries, before norm and rotation", "attn.hook_q"),
    "k": Meaning("keys, before norm and rotation", "attn.hook_k"),
    "v": Meaning("values", "attn.hook_v"),
    "gate": Meaning("gate of the heads, before its sigmoid"),
    "q_clamp": Meaning("queries within the model's limits"),
    "k_clamp": Meaning("keys within the model's limits"),
    "v_clamp": Meaning("values within the model's limits"),
    "q_norm": Meaning("queries after the norm of each head"),
    "k_norm": Meaning("keys after the norm of each head"),
    "q_plain": Meaning("part of the queries that is not rotated"),
    "q_turned": Meaning("part of the queries that is rotated next"),
    "q_rope": Meaning("queries after rotation by their positions (RoPE)", "attn.hook_rot_q"),
    "q_absorbed": Meaning("unrotated queries times each head's key matrix, to meet the latent keys"),
    "q_joined": Meaning("both parts of the queries side by side"),
    "kv_latent": Meaning("latent vector from which all heads' keys and values come"),
    "kv_latent_norm": Meaning("latent vector after its norm; the values of attn_latent"),
    "k_turned": Meaning("key that all heads share, to be rotated next"),
    "k_rope": Meaning("keys after rotation by their positions (RoPE)", "attn.hook_rot_k"),
    "k_joined": Meaning("latent vector and rotated key side by side: the keys of attn_latent"),
    "q_scaled": Meaning("queries, sharpened far along the context"),
    "attn_probs": Meaning("attention of each head to each position; rows sum to 1 (less, with sinks)"),
    "attn_latent": Meaning("what each head gathers, as latent vectors"),
    "attn_heads": Meaning("what each head gathers, before the output matrix", "attn.hook_z"),
    "gate_act": Meaning("gate of the heads after its sigmoid"),
    "attn_gated": Meaning("what the heads gathered, times their gate"),
    "attn_sub_norm": Meaning("what the heads gathered, normalized"),
    # gated delta nets (qwen35)
    "z": Meaning("gate of the delta net's heads, before its SiLU"),
    "alpha": Meaning("what the delta net's decay is computed from"),
    "decay": Meaning("logarithm of the factor by which each head's state shrinks"),
    "beta": Meaning("how much of each value is written, before its sigmoid"),
    "beta_act": Meaning("how much of each value is written to the state, 0 to 1"),
    "beta_alpha": Meaning("alpha and beta in one, by groups of heads"),
    "qkvz": Meaning("queries, keys, values and gate in one, by groups of heads"),
    "q_in": Meaning("queries before the convolution"),
    "k_in": Meaning("keys before the convolution"),
    "qk_in": Meaning("queries and keys before the convolution"),
    "v_in": Meaning("values before the convolution"),
    "qkv": Meaning("queries, keys and values in one, before the convolution"),
    "qkv_conv": Meaning("queries, keys and values after the convolution over time"),
    "qkv_act": Meaning("the same after SiLU"),
    "delta_heads": Meaning("what each head reads from its state"),
    "delta_norm": Meaning("what the heads read, normalized"),
    "delta_gated": Meaning("what the heads read, times silu(z)"),
    # Mamba-2 mixers
    "ssm_z": Meaning("gate of the mixer, before its SiLU"),
    "ssm_xbc": Meaning("input, B and C of the recurrence in one, before the convolution"),
    "ssm_dt": Meaning("step size of each head, before bias and softplus"),
    "ssm_conv": Meaning("input, B and C after the convolution over time"),
    "ssm_conv_act": Meaning("the same after SiLU"),
    "ssm_x": Meaning("input of the recurrence, head by head"),
    "ssm_b": Meaning("B: how the input is written to the state"),
    "ssm_c": Meaning("C: how the state is read"),
    "ssm_scan": Meaning("what each head reads from its state"),
    "ssm_gated": Meaning("what the heads read, times silu(ssm_z)"),
    "ssm_norm": Meaning("the same, normalized by groups"),
    "ssm_out": Meaning("what the mixer adds to the residual stream"),
    # short convolutions (lfm2)
    "conv_gate_in": Meaning("gate before the convolution"),
    "conv_gate_out": Meaning("gate behind the convolution"),
    "conv_x": Meaning("input of the short convolution, before its gate"),
    "conv_in": Meaning("input of the short convolution, gated"),
    "conv": Meaning("convolution over the last tokens"),
    "conv_gated": Meaning("convolution times its second gate"),
    "conv_out": Meaning("what the convolution adds to the residual stream"),
    "attn_out": Meaning("what the mixing half gives: heads times the output matrix", "hook_attn_out"),
    "attn_scaled": Meaning("the same times the model's factor"),
    "post_attn_norm": Meaning("the same after a norm; what is added to the residual stream", "hook_attn_out"),
    "resid_mid": Meaning("residual stream with the first half of the block", "hook_resid_mid"),
    # the second half
    "ffn_norm": Meaning("input of the feed-forward half, normalized, times the norm's weight"),
    "router": Meaning("score of each expert (logits)"),
    "expert_ids": Meaning("numbers of the chosen experts"),
    "expert_weights": Meaning("what each chosen expert counts"),
    "exps_gate_up": Meaning("gate and up projection of the chosen experts, in one"),
    "exps_gate": Meaning("gate of the chosen experts, before the nonlinearity"),
    "exps_up": Meaning("up projection of the chosen experts"),
    "exps_gate_weighted": Meaning("gate of the chosen experts, times what each counts"),
    "exps_act": Meaning("neurons of the chosen experts"),
    "exps_down": Meaning("what each chosen expert gives"),
    "moe_out": Meaning("sum of the chosen experts, weighted"),
    "shexp_gate": Meaning("gate of the shared expert, before the nonlinearity"),
    "shexp_up": Meaning("up projection of the shared expert"),
    "shexp_act": Meaning("neurons of the shared expert"),
    "shexp_out": Meaning("what the shared expert gives"),
    "shexp_router": Meaning("what the shared expert counts, before its sigmoid"),
    "shexp_share": Meaning("what the shared expert counts, 0 to 1"),
    "shexp_gated": Meaning("what the shared expert gives, times its share"),
    "ffn_gate": Meaning("gate of the neurons, before the nonlinearity", "mlp.hook_pre"),
    "ffn_up": Meaning("up projection: neurons before gate or nonlinearity", "mlp.hook_pre_linear"),
    "ffn_act": Meaning("neurons: activations of the feed-forward layer", "mlp.hook_post"),
    "ffn_sub_norm": Meaning("neurons, normalized"),
    "ffn_out": Meaning("what the feed-forward half gives", "hook_mlp_out"),
    "ffn_scaled": Meaning("the same (mpt: the neurons), times the model's factor"),
    "post_ffw_norm": Meaning("the same after a norm; what is added to the residual stream", "hook_mlp_out"),
    "resid_post": Meaning("residual stream that leaves the block", "hook_resid_post"),
    # behind the last block
    "output_norm": Meaning("residual stream after the last norm, times its weight"),
    "logits_raw": Meaning("logits before the model's factor or cap"),
    "logits_scaled": Meaning("logits times the model's factor, before the cap"),
    "logits": Meaning("scores of the next token"),
}
