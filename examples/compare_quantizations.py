"""How much of a model its executor keeps: two runs of one file, compared token by token and layer by layer.

    python examples/compare_quantizations.py [OTHER.gguf]

Without a second file the fast executor (8-bit activations, a float16 cache) is compared with the reference in
float32; with one, such as another quantization of SmolLM2, the two files are. `nybble compare` does the same
for long texts.
"""

import sys

import nybble
from nybble import research

TEXT = """The tide came in over the flats at noon, and with it the small boats, one after another, their sails
brown and their nets still wet. An old man on the quay counted them aloud. When the ninth had passed he stood
up, took his stick, and walked home without looking back, because there had only ever been nine."""

other = sys.argv[1] if len(sys.argv) > 1 else "smollm2"
executor = "numba" if len(sys.argv) > 1 else "reference"

with nybble.LLM("smollm2", n_ctx=256, executor=executor) as a, nybble.LLM(other, n_ctx=256) as b:
    found = research.compare(a, b, TEXT, n_ctx=64, stride=32)

print(f"{len(found.kl)} tokens; the same most probable token at {found.top_agreement:.1%} of them")
print(f"KL divergence: mean {found.mean_kl:.5f}, 99 % {found.kl_quantiles['99 %']:.5f} nats")
print(f"perplexity: {found.loss_a.perplexity:.3f} and {found.loss_b.perplexity:.3f}")
for name, error in list(found.layer_errors.items())[::5]:
    print(f"  {name:<18} NMSE {error:.1e}")
