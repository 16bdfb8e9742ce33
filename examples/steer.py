"""Steers what the model writes with a control vector: how glad it is, from nine pairs of sentences.

    python examples/steer.py [gladness.gguf]

The mean difference of the residual streams at the end of the sentences is a direction in each layer. Added in
ten layers while a text is written, in the one sense or the other, it changes what comes, though the prompt is
unlike those sentences (Turner et al. 2023, arXiv:2308.10248; Zou et al. 2023, arXiv:2310.01405). It may be
saved to a file, which llama.cpp can read too.
"""

import sys

import numpy as np

import nybble
from nybble import research

GLAD = "I loved the {}. It made me happy, and now I feel"
SAD = "I hated the {}. It made me miserable, and now I feel"
THINGS = ["film", "meal", "phone", "weather", "concert", "book", "journey", "party", "lesson"]

PROMPT = "We stayed at the new hotel, and our room was"
GOOD = [" great", " wonderful", " good", " beautiful", " amazing", " excellent", " delightful"]
BAD = [" bad", " terrible", " awful", " horrible", " poor", " ugly", " boring"]

with nybble.LLM("smollm2", n_ctx=256) as llm:
    pairs = [(GLAD.format(thing), SAD.format(thing)) for thing in THINGS]
    vector = research.train_control_vector(llm, pairs)
    if len(sys.argv) > 1:
        vector.save(sys.argv[1])

    good, bad = ([research.token_id(llm, word) for word in words] for words in (GOOD, BAD))
    params = nybble.SamplingParams(max_tokens=24)
    print(f"{PROMPT} …")
    for strength in (-0.3, -0.15, 0, 0.15, 0.3):
        steering = vector.edits(strength, layers=range(10, 20))
        weights = np.exp(llm.trace(PROMPT, edit=steering, logits="last").logits[0].astype(np.float64))
        odds = np.log(weights[good].sum() / weights[bad].sum())
        text = llm.generate(PROMPT, params, edit=steering).text
        print(f"{strength:+.2f}  good over bad words {odds:+.1f} nats: {text.strip()!r}")
