"""What a coarser quantization costs: SmolLM2 in Q4_1 and in a Q4_0 made of that here, on the same text.

    python examples/compare_quantizations.py [Q4_0 | OTHER.gguf]

Another format is made in its place, and a file is taken as it is. The finer model comes first: the divergence
is that of the second from it. `nybble compare` does the same for long texts, with a picture.
"""

import sys
import tempfile
from pathlib import Path

import nybble
from nybble import research

TEXT = """The tide came in over the flats at noon, and with it the small boats, one after another, their sails
brown and their nets still wet. An old man on the quay counted them aloud. When the ninth had passed he stood
up, took his stick, and walked home without looking back, because there had only ever been nine."""

wanted = sys.argv[1] if len(sys.argv) > 1 else "Q4_0"

with tempfile.TemporaryDirectory() as folder:
    other = Path(wanted)
    if other.suffix != ".gguf":
        other = Path(folder) / f"{wanted}.gguf"
        nybble.quantize_gguf(nybble.pull("smollm2"), other, wanted)
    with nybble.LLM("smollm2", n_ctx=256) as a, nybble.LLM(other, n_ctx=256) as b:
        found = research.compare(a, b, TEXT, n_ctx=64, stride=32)

print(f"{len(found.kl)} tokens; the same most probable token at {found.top_agreement:.1%} of them")
print(f"KL divergence: mean {found.mean_kl:.4f}, 99 % {found.kl_quantiles['99 %']:.4f} nats")
print(f"perplexity: {found.loss_a.perplexity:.2f} and {found.loss_b.perplexity:.2f}")
print("error of the residual stream, in units of its own mean square (NMSE), mean of the tokens")
for name, error in list(found.layer_errors.items())[::5]:
    print(f"  {name:<18} {error:.1e}")
