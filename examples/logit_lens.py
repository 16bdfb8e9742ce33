"""What each layer would answer: the logit lens, as a table and, with a second argument, as a picture.

    python examples/logit_lens.py ["The capital of France is the city of"] [lens.png]

The lowest row repeats the text, since the embeddings are the head too; early layers guess what is frequent;
the answer appears in the later ones, and its probability grows.
"""

import sys

import nybble
from nybble import research

prompt = sys.argv[1] if len(sys.argv) > 1 else "The capital of France is the city of"

with nybble.LLM("smollm2", n_ctx=256) as llm:
    lens = research.logit_lens(llm, prompt)

if len(sys.argv) > 2:
    from nybble.research.plots import plot_lens

    plot_lens(lens).savefig(sys.argv[2], dpi=150)

print(f"what each layer would say after {prompt!r}")
for name, tokens, probabilities in zip(lens.names, lens.top_tokens, lens.top_probabilities, strict=True):
    print(f"  {name:<18} {tokens[-1]!r:<14} {probabilities[-1]:6.1%}")
