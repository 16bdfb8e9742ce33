"""Models whose tensors get formats by llama.cpp's rules, and values to quantize; what llama.cpp made of them.

`record_quantizers.py` records, `test_mixtures.py` and `test_quantize.py` compare.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RECORD = Path(__file__).parents[1] / "data" / "golden" / "quantizers.json"

FILE_TYPES = {
    "F16": 1, "BF16": 32, "Q8_0": 7, "Q6_K": 18, "Q5_K_M": 17, "Q5_K_S": 16, "Q5_1": 9, "Q5_0": 8,
    "Q4_K_M": 15, "Q4_K_S": 14, "Q4_1": 3, "Q4_0": 2, "Q3_K_L": 13, "Q3_K_M": 12, "Q3_K_S": 11, "Q2_K": 10,
}  # fmt: skip
"""llama.cpp's numbers."""

LETTERS = {
    "a": "F32", "b": "F16", "c": "BF16", "d": "Q8_0", "e": "Q4_0", "f": "Q4_1", "g": "Q5_0", "h": "Q5_1",
    "i": "Q2_K", "j": "Q3_K", "k": "Q4_K", "l": "Q5_K", "m": "Q6_K", "n": "I32",
}  # fmt: skip
"""A record has one letter for each tensor."""


@dataclass
class ModelCase:
    """A model for the quantizer: what the rules look at, in tensors that are as small as they can be."""

    architecture: str
    metadata: dict[str, int]
    tensors: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def add(self, **shapes: tuple[int, ...]) -> "ModelCase":
        """Tensors of every layer; two underscores stand for a dot."""
        for layer in range(self.metadata["block_count"]):
            for name, shape in shapes.items():
                self.tensors[f"blk.{layer}.{name.replace('__', '.')}.weight"] = shape
        return self


def model_cases() -> dict[str, ModelCase]:
    """By name; sizes are rows first."""
    square, wide = (2, 256), (2, 512)
    layer = {
        "attn_norm": (256,), "attn_q": square, "attn_k": square, "attn_v": square, "attn_output": square,
        "ffn_gate": square, "ffn_up": square, "ffn_down": wide,
    }  # fmt: skip
    ends = {"token_embd.weight": square, "output_norm.weight": (256,)}
    head = {"output.weight": square}

    def heads(n_layers: int, n_heads: int, n_kv_heads: int, **more: int) -> dict[str, int]:
        return {
            "block_count": n_layers,
            "attention.head_count": n_heads,
            "attention.head_count_kv": n_kv_heads,
            **more,
        }

    return {
        "llama": ModelCase("llama", heads(32, 4, 2), ends | head).add(**layer),
        "tied, many heads to one": ModelCase("llama", heads(9, 8, 2), dict(ends)).add(**layer),
        "llama of 70b": ModelCase("llama", heads(80, 8, 1), ends | head).add(attn_v=square, ffn_down=wide),
        "qwen2 of 70b": ModelCase("qwen2", heads(80, 8, 1), ends | head).add(attn_v=square),
        "falcon": ModelCase("falcon", heads(32, 4, 1), ends | head).add(
            attn_norm=(256,), attn_qkv=square, attn_output=square, ffn_up=square, ffn_down=wide
        ),
        "eight experts": ModelCase(
            "llama", heads(16, 4, 2, expert_count=8, expert_used_count=2), ends | head
        ).add(
            attn_q=square,
            attn_k=square,
            attn_v=square,
            attn_output=square,
            ffn_gate_inp=(8, 256),
            ffn_gate_exps=(8, *square),
            ffn_up_exps=(8, *square),
            ffn_down_exps=(8, *wide),
        ),
        "sixteen experts": ModelCase(
            "qwen2moe", heads(11, 4, 1, expert_count=16, expert_used_count=2), ends | head
        ).add(
            attn_k=square,
            attn_v=square,
            attn_output=square,
            ffn_gate_inp=(16, 256),
            ffn_down_exps=(16, *wide),
            ffn_down_shexp=wide,
        ),
        "rows of other lengths": ModelCase(
            "llama",
            heads(8, 4, 2),
            {"token_embd.weight": (2, 320), "output.weight": (2, 320), "output_norm.weight": (320,)},
        ).add(attn_q=(2, 48), attn_k=(1, 256), attn_v=(2, 320), attn_output=(2, 96), ffn_down=(2, 100)),
        "tensors that stay": ModelCase(
            "gpt2",
            heads(1, 4, 4),
            {
                **ends,
                "position_embd.weight": square,
                "blk.0.attn_qkv.weight": square,
                "blk.0.attn_qkv.bias": (256,),
                "blk.0.ffn_down.bias": (2, 256),
                "blk.0.attn_q_norm.weight": square,
                "blk.0.ssm_conv1d.weight": square,
                "blk.0.ssm_in.weight": square,
                "blk.0.time_mix_w1.weight": square,
                "blk.0.time_mix_key.weight": square,
                "blk.0.attn_rel_b.weight": square,
                "per_layer_model_proj.weight": square,
                "per_layer_token_embd.weight": square,
            },
        ),
    }


def values() -> dict[str, NDArray[np.float32]]:
    """Weights of three kinds, (32, 1024) each: without, with some, and with many values far out."""
    rng = np.random.default_rng(20)
    shape = (32, 1024)
    normal, laplace = rng.standard_normal(shape), rng.laplace(size=shape)
    heavy = rng.standard_normal(shape) / np.sqrt(rng.uniform(0.05, 1, shape))
    return {
        name: (0.02 * drawn).astype(np.float32)
        for name, drawn in (("normal", normal), ("laplace", laplace), ("heavy", heavy))
    }


def recorded() -> dict:
    """{"mixtures": {model: {file type: letters}}, "rmse": {values: {format: error}}}"""
    return json.loads(RECORD.read_text())
