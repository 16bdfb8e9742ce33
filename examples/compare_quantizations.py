"""What a coarser quantization costs: SmolLM2 in Q4_1 and in a Q4_0 made of that here, on the same text.

    python examples/compare_quantizations.py [OTHER.gguf]

With a file, such as another quantization of SmolLM2, that is compared instead. `nybble compare` does the same
for long texts, with a picture.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import nybble
from nybble import research
from nybble.engine.models import resolve
from nybble.gguf_io import Tensor
from nybble.gguf_io.formats import Q4_0, Q4_1

TEXT = """The tide came in over the flats at noon, and with it the small boats, one after another, their sails
brown and their nets still wet. An old man on the quay counted them aloud. When the ninth had passed he stood
up, took his stick, and walked home without looking back, because there had only ever been nine."""


def quantize_q4_0(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The bytes of Q4_0: 32 values have a float16 scale d and levels q from 0 to 15; value = d * (q - 8)."""
    groups = values.reshape(-1, 32)
    largest = np.take_along_axis(groups, np.abs(groups).argmax(axis=1)[:, None], axis=1)
    d = np.where(largest == 0, 1, largest / -8)  # the largest gets level 0, which has no counterpart above
    q = np.clip(np.rint(groups / d) + 8, 0, 15).astype(np.uint8)
    blocks = np.empty(len(groups), Q4_0.dtype)
    blocks["d"], blocks["qs"] = d[:, 0], q[:, :16] | q[:, 16:] << 4
    return blocks.view(np.uint8)


def write_q4_0(source: Path, target: Path) -> None:
    """Copies a model, with its matrices of Q4_1 in Q4_0."""
    with nybble.load_gguf(source) as file:
        tensors = {
            name: Tensor(name, t.shape, Q4_0, quantize_q4_0(t.dequantize())) if t.format is Q4_1 else t
            for name, t in file.tensors.items()
        }
        nybble.write_gguf(target, file.metadata, tensors)


with tempfile.TemporaryDirectory() as folder:
    other = Path(sys.argv[1] if len(sys.argv) > 1 else f"{folder}/q4_0.gguf")
    if len(sys.argv) == 1:
        write_q4_0(resolve("smollm2"), other)
    with nybble.LLM("smollm2", n_ctx=256) as a, nybble.LLM(other, n_ctx=256) as b:
        found = research.compare(a, b, TEXT, n_ctx=64, stride=32)

print(f"{len(found.kl)} tokens; the same most probable token at {found.top_agreement:.1%} of them")
print(f"KL divergence: mean {found.mean_kl:.4f}, 99 % {found.kl_quantiles['99 %']:.4f} nats")
print(f"perplexity: {found.loss_a.perplexity:.2f} and {found.loss_b.perplexity:.2f}")
print("error of the residual stream, in units of its own mean square (NMSE)")
for name, error in list(found.layer_errors.items())[::5]:
    print(f"  {name:<18} {error:.1e}")
