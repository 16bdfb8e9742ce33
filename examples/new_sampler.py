"""A sampler that nybble does not have, in five lines: top-a.

    python examples/new_sampler.py ["Once upon a time"]

It keeps the tokens whose probability is at least a times the square of the largest one (BlinkDL, RWKV-LM),
so that few are left where the model is sure, and many where it is not. A sampler is a callable over the
logits of what may come next, and the ids so far; it stands in the chain where its name would.
"""

import sys

import nybble


class TopA:
    def __init__(self, a):
        self.a = a

    def __call__(self, logits, ids):
        p = logits.probabilities()
        logits.keep(p >= self.a * p.max() ** 2)


prompt = sys.argv[1] if len(sys.argv) > 1 else "Once upon a time"
params = nybble.SamplingParams(
    samplers=["penalties", TopA(0.2), "temperature"],
    repeat_penalty=1.1,
    temperature=1.2,
    seed=1,
    max_tokens=48,
)

with nybble.LLM("smollm2", n_ctx=512) as llm:
    print(prompt, end="")
    for piece in llm.stream(prompt, params):
        print(piece, end="", flush=True)
    print()
