"""Where a sentence keeps the name that it will end with: patching, as a table and perhaps as a picture.

    python examples/patch_a_name.py [sweep.png]

"When Mary and John went to the store, John gave a drink to" wants Mary; with "Mary gave" it wants John. Each
activation of the first sentence is put into a run of the second, one at a time. Early layers carry the
difference where the second name stands, late ones at the end, where it is said
(Wang et al. 2022, arXiv:2211.00593).
"""

import sys

import nybble
from nybble import research

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"

with nybble.LLM("smollm2", n_ctx=64) as llm:
    (mary,), (john,) = (llm.tokenizer.encode(name, add_special=False) for name in (" Mary", " John"))
    names = [f"blk.{layer}.resid_pre" for layer in range(0, llm.config.n_layers, 3)]
    sweep = research.patch_sweep(
        llm, CLEAN, CORRUPTED, lambda logits: float(logits[mary] - logits[john]), names
    )
    labels = research.token_texts(llm, CLEAN)

if len(sys.argv) > 1:
    from nybble.research.plots import plot_sweep

    plot_sweep(sweep.effects, sweep.names, labels).savefig(sys.argv[1], dpi=150)

print(f"Mary over John: {sweep.clean:+.2f} in the first sentence, {sweep.corrupted:+.2f} in the second")
print("share of the difference that comes back, by layer: at the second name, at the last token")
second = max(i for i, label in enumerate(labels) if label == " John")
for name, effects in zip(sweep.names, sweep.effects, strict=True):
    print(f"  {name:<17} {effects[second]:6.2f} {effects[-1]:6.2f}")
