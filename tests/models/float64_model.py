"""Llama and Gemma 3 once more, straight from their papers: float64, the whole sequence at once, no cache.

Shares no code with nybble but `Tensor.dequantize`, so that it can judge both executors.
"""

import numpy as np


def logits(file, ids):
    """float64 (n, n_vocab): the logits after each of `ids`, by tensors and metadata of the open `file`."""
    arch = file.metadata["general.architecture"]
    is_gemma = arch == "gemma3"
    meta = {key.removeprefix(arch + "."): file.metadata[key] for key in file.metadata if key.startswith(arch)}
    weights = {name: tensor.dequantize().astype(np.float64) for name, tensor in file.tensors.items()}
    heads, kv_heads = meta["attention.head_count"], meta["attention.head_count_kv"]
    head_dim = meta.get("attention.key_length", meta["embedding_length"] // heads)
    eps, n = meta["attention.layer_norm_rms_epsilon"], len(ids)
    position = np.arange(n)
    distance = position[:, None] - position

    def norm(x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weights[name + ".weight"]

    def linear(x, name):
        return x @ weights[name + ".weight"].T + weights.get(name + ".bias", 0.0)

    def rotate(x, base):
        angle = position[:, None] * base ** (-np.arange(head_dim // 2) * 2 / head_dim)
        if "rope_freqs.weight" in weights:
            angle = angle / weights["rope_freqs.weight"]
        turn = np.exp(1j * angle)[:, None, :]
        out = np.empty_like(x)
        if is_gemma:
            a, b = slice(0, head_dim // 2), slice(head_dim // 2, head_dim)
        else:
            a, b = slice(0, head_dim, 2), slice(1, head_dim, 2)
        turned = (x[..., a] + 1j * x[..., b]) * turn
        out[..., a], out[..., b] = turned.real, turned.imag
        return out

    x = weights["token_embd.weight"][ids]
    if is_gemma:
        x = x * np.sqrt(x.shape[1])
    for layer in range(meta["block_count"]):
        block = f"blk.{layer}."
        is_local = is_gemma and layer % 6 != 5
        h = norm(x, block + "attn_norm")
        q = linear(h, block + "attn_q").reshape(n, heads, head_dim)
        k = linear(h, block + "attn_k").reshape(n, kv_heads, head_dim)
        v = linear(h, block + "attn_v").reshape(n, kv_heads, head_dim)
        if is_gemma:
            q, k = norm(q, block + "attn_q_norm"), norm(k, block + "attn_k_norm")
        base = 10000.0 if is_local else meta["rope.freq_base"]
        q, k = rotate(q, base), rotate(k, base)
        k, v = (np.repeat(part, heads // kv_heads, axis=1) for part in (k, v))
        score = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(head_dim)
        hidden = (distance < 0) | (is_local & (distance >= meta.get("attention.sliding_window", n)))
        p = np.exp(score - score.max(-1, keepdims=True)) * ~hidden
        h = np.einsum("hqk,khd->qhd", p / p.sum(-1, keepdims=True), v).reshape(n, -1)
        h = linear(h, block + "attn_output")
        x = x + (norm(h, block + "post_attention_norm") if is_gemma else h)

        h = norm(x, block + "ffn_norm")
        gate, up = linear(h, block + "ffn_gate"), linear(h, block + "ffn_up")
        if is_gemma:
            gate = gate / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))
        else:
            gate = gate / (1 + np.exp(-gate))
        h = linear(gate * up, block + "ffn_down")
        x = x + (norm(h, block + "post_ffw_norm") if is_gemma else h)
    head = "output" if "output.weight" in weights else "token_embd"
    return linear(norm(x, "output_norm"), head)
