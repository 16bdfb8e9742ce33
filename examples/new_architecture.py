"""An architecture that nybble does not have, in 40 lines: some blocks of a llama side by side.

    python examples/new_architecture.py

Most neighbours in a trained transformer can read the same stream, and what they add be summed, though they
have learned to work one after another; the first and the last cannot (Sun et al. 2024, "Transformer Layers as
Painters", arXiv:2407.09298). Here are three blocks of SmolLM2 at a time, run from files that have its tensors
and the metadata of the new architecture. Blocks 9 to 11 cannot either: there the stream of the first token
grows from 100 to 20,000, as an attention sink's does (Sun et al. 2024, arXiv:2402.17762).
"""

import re
import tempfile
from pathlib import Path

import nybble
from nybble import research
from nybble.architecture import Architecture, Config, Graph, Key, layers, register_architecture, rope, tensors

KEYS = {  # what the metadata must say beyond what every architecture has
    "side_by_side.first": Key("own.first", "integer", 0, 1024),
    "side_by_side.count": Key("own.count", "integer", 1, 1024),
}

TENSORS = {  # what the file must have, with shapes; no more and no less
    **tensors.HEAD,
    **tensors.norms("attn_norm", "ffn_norm"),
    **tensors.attention(),
    **tensors.gated_ffn(),
}


def build(g: Graph, model: Config) -> None:
    """One line an operation; `trace` and `edit` know the names."""
    angles = rope.rope_table(g, model)
    first, last = model.own["first"], model.own["first"] + model.own["count"]
    x = g.embed("token_embd", "token_embd")
    for b, c in layers.blocks(g, model):
        if not first < c.layer < last:
            read = x  # those after `first` read what it reads
        h = b.rms_norm("attn_norm", read, "attn_norm", c.norm_eps)
        attn = layers.attention(b, h, c, angles, "norm")
        h = b.add("resid_mid", read, attn)
        h = b.rms_norm("ffn_norm", h, "ffn_norm", c.norm_eps)
        x = b.add("resid_post", x, b.add("block_out", attn, layers.gated_ffn(b, h, c)))
    layers.head(g, x, model, g.rms_norm)


register_architecture(Architecture("painters", TENSORS, build, KEYS))

TEXT = """The tide came in over the flats at noon, and with it the small boats, one after another, their sails
brown and their nets still wet. An old man on the quay counted them aloud. When the ninth had passed he stood
up, took his stick, and walked home without looking back, because there had only ever been nine."""


def loss(path: Path) -> float:
    """The mean loss of the text, in nats a token."""
    with nybble.LLM(path, n_ctx=256) as llm:
        return research.text_loss(llm, TEXT, n_ctx=128, stride=64).mean


with tempfile.TemporaryDirectory() as folder:
    llama, painters = nybble.pull("smollm2"), Path(folder) / "painters.gguf"
    print(f"one after another: {loss(llama):5.2f} nats a token")
    print("side by side:")
    for first in range(0, 30, 3):
        with nybble.load_gguf(llama) as file:
            metadata = {re.sub(r"^llama\.", "painters.", key): value for key, value in file.metadata.items()}
            metadata["general.architecture"] = "painters"
            metadata["painters.side_by_side.first"] = first
            metadata["painters.side_by_side.count"] = 3
            nybble.write_gguf(painters, metadata, file.tensors)
        print(f"  blocks {first:2} to {first + 2:2} {loss(painters):5.2f}")
