"""Where a sentence keeps the name that it will end with: patching, as a table and perhaps as a picture.

    python examples/patch_a_name.py [sweep.png]

"When Mary and John went to the store, John gave a drink to" wants Mary; with "Mary gave" it wants John. Each
activation of the first sentence is put into a run of the second, one at a time. Early layers carry the
difference where the second name stands, late ones at the end, where it is said. Some heads look at the name
that is wanted and say it, "name movers" (Wang et al. 2022, arXiv:2211.00593); the strongest looks at the one
that comes twice and speaks against it, "copy suppression" (McDougall et al. 2023, arXiv:2310.04625).
"""

import sys

import numpy as np

import nybble
from nybble import research

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"

with nybble.LLM("smollm2", n_ctx=64) as llm:
    names = [f"blk.{layer}.resid_pre" for layer in range(0, llm.config.n_layers, 3)]
    metric = research.logit_difference(llm, " Mary", " John")
    sweep = research.patch_sweep(llm, CLEAN, CORRUPTED, metric, names)
    to_mary, to_john = (
        research.logit_attribution(llm, CLEAN, name, by_head=True) for name in (" Mary", " John")
    )
    maps = research.attention_maps(llm, CLEAN)

if len(sys.argv) > 1:
    from nybble.research.plots import plot_sweep

    plot_sweep(sweep.effects, sweep.names, sweep.tokens).savefig(sys.argv[1], dpi=150)

print(f"Mary over John: {sweep.clean:+.2f} in the first sentence, {sweep.corrupted:+.2f} in the second")
print("share of the difference that comes back, by layer: at the second name, at the last token")
second = max(i for i, token in enumerate(maps.tokens) if token == " John")
for name, effects in zip(sweep.names, sweep.effects, strict=True):
    print(f"  {name:<17} {effects[second]:6.2f} {effects[-1]:6.2f}")

print("what heads add to Mary and to John at the last token, and what they look at most")
heads = np.stack([[*part.heads.values()] for part in (to_mary, to_john)])[..., 0]  # (2, layers, heads)
for i in np.argsort(heads[0] - heads[1], axis=None)[:-5:-1]:
    layer, head = divmod(int(i), heads.shape[2])
    look = maps.layers[layer][head, -1]
    at = int(look.argmax())
    mary_share, john_share = heads[:, layer, head]
    print(f"  layer {layer} head {head} {mary_share:+.2f} {john_share:+.2f}  token {at}, {maps.tokens[at]!r}")
