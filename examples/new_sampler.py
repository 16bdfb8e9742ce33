"""A sampler that nybble does not have, in ten lines: top-n-sigma.

    python examples/new_sampler.py ["Once upon a time"]

It keeps the tokens whose logits are within n standard deviations of the largest, at any temperature the same
ones (Tang et al. 2024, arXiv:2411.07641). `llm.sequence(prompt)` is a sequence whose tokens you choose by its
`logits`; each that is appended costs one step.
"""

import sys

import numpy as np
from numpy.typing import NDArray

import nybble


def top_n_sigma(
    logits: NDArray[np.float32], n: float, temperature: float, random: np.random.Generator
) -> int:
    """The id of a token drawn from `logits` (n_vocab,)."""
    kept = np.flatnonzero(logits >= logits.max() - n * logits.std())
    weights = np.exp((logits[kept] - logits.max()) / temperature)
    return int(random.choice(kept, p=weights / weights.sum()))


prompt = sys.argv[1] if len(sys.argv) > 1 else "Once upon a time"
random = np.random.default_rng(seed=1)

with nybble.LLM("smollm2", n_ctx=512) as llm:
    sequence = llm.sequence(prompt)
    decoder = llm.tokenizer.stream_decoder(continuation=True)  # never gives half a character
    print(prompt, end="")
    for _ in range(48):
        token_id = top_n_sigma(sequence.logits, n=1.0, temperature=1.5, random=random)
        if token_id in llm.tokenizer.eog_ids:
            break
        sequence.append(token_id)
        print(decoder.push(token_id), end="", flush=True)
    print(decoder.flush())
