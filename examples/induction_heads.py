"""Finds the heads that look for what came after the last time, and takes them away.

    python examples/induction_heads.py

In random tokens that come twice, only such heads can predict the second half: from a token they look at what
followed it the first time (Olsson et al. 2022, arXiv:2209.11895). A head's score is the attention that it
pays there. Without the best few the second half becomes hard to predict again; without as many others it
does not.
"""

import numpy as np

import nybble

N = 40  # random tokens, which come twice
N_HEADS = 12  # to take away

random = np.random.default_rng(0)

with nybble.LLM("smollm2", n_ctx=256) as llm:
    head_dim = llm.config.head_dim
    ids = np.tile(random.integers(1000, 20000, N), 2)

    def loss(edit=None):
        """The mean loss of the second half, in nats."""
        logits = llm.logits(ids, edit=edit)[N - 1 : -1].astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return -log_p[np.arange(N), ids[N:]].mean()

    def without(heads):
        """Edits that make the output of these (layer, head) zero."""

        def ablate(value, info):
            for layer, head in heads:
                if layer == info.layer:
                    value[:, head * head_dim : (head + 1) * head_dim] = 0

        return {f"blk.{layer}.attn_heads": ablate for layer in {layer for layer, _ in heads}}

    trace = llm.trace(ids, capture="blk.*.attn_probs", logits=None)
    queries = np.arange(N, 2 * N - 1)
    scores = np.stack(
        [p[queries, :, queries - N + 1].mean(axis=0) for p in trace.values()]
    )  # (layers, heads)
    order = [divmod(int(i), scores.shape[1]) for i in np.argsort(scores, axis=None)[::-1]]
    best, others = order[:N_HEADS], order[len(order) // 2 :]
    chosen = [others[i] for i in random.permutation(len(others))[:N_HEADS]]

    print("heads that look at what followed the same token the first time")
    for layer, head in best[:6]:
        print(f"  layer {layer:2}, head {head}: {scores[layer, head]:.0%} of its attention")
    print(f"loss of the second half, nats a token: {loss():.2f}")
    print(f"  without the {N_HEADS} best of them: {loss(without(best)):.2f}")
    print(f"  without {N_HEADS} heads that do not look there: {loss(without(chosen)):.2f}")
