"""What heads look at: three kinds of them in a sentence that says something twice, and maps of one layer.

    python examples/attention_maps.py [maps.png] [layer]

Most heads rest on the first token, an attention sink (Xiao et al. 2023, arXiv:2309.17453). A few look at the
token before, and just after them are those that look at what followed the same token the last time: together
they are an induction circuit (Olsson et al. 2022, arXiv:2209.11895). `induction_heads.py` takes it apart.
"""

import sys

import numpy as np

import nybble
from nybble import research

TEXT = "The keeper of the lighthouse fed the cat, and then the keeper of the lighthouse went to sleep."

with nybble.LLM("smollm2", n_ctx=256) as llm:
    maps = research.attention_maps(llm, TEXT)

tokens, probs = maps.tokens, np.stack(list(maps.layers.values()))  # (layers, heads, queries, keys)
looks = {  # pairs of query and key
    "the first token": [(q, 0) for q in range(2, len(tokens))],
    "the token before": [(q, q - 1) for q in range(2, len(tokens))],
    "what followed the last time": [
        (q, k + 1) for q in range(len(tokens)) for k in range(q - 1) if tokens[k] == tokens[q]
    ],
}
for what, places in looks.items():
    queries, keys = np.array(places).T
    scores = probs[:, :, queries, keys].mean(axis=2)  # (layers, heads)
    best = np.argsort(scores, axis=None)[::-1][:4]
    heads = [divmod(int(i), scores.shape[1]) for i in best]
    print(f"to {what} goes {scores.mean():.0%} of all attention; most of")
    print("  " + ", ".join(f"layer {layer} head {head} ({scores[layer, head]:.0%})" for layer, head in heads))

if len(sys.argv) > 1:
    from nybble.research.plots import plot_attention

    layer = int(sys.argv[2]) if len(sys.argv) > 2 else 17
    plot_attention(probs[layer].swapaxes(0, 1), tokens, columns=3, title=f"layer {layer}").savefig(
        sys.argv[1], dpi=100
    )
