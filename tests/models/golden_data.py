"""What llama.cpp computes on the two real models, and how far other logits are from it.

    golden = golden_data.load("smollm2")
    golden.prompts[0].divergence(logits)        KL(llama.cpp || logits), in nats

The extracts of `golden/` know the most probable 1,024 tokens, and the probability of all others together. The
divergence of such coarser distributions is a lower bound of the true one (merging outcomes never adds to it);
here the two differ by less than 0.002. Where the shared folder is at hand, all logits count instead.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from shared_files import ROOT

FOLDER = Path(__file__).parents[1] / "data" / "golden"
RECORDINGS = {"smollm2": "smollm2-135m-q4_1.npz", "gemma3": "gemma3-270m-q4_k_m.npz"}

Array = NDArray[np.float64]


def log_softmax(logits: NDArray) -> Array:
    """(..., n_vocab) -> log-probabilities, float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def divergence(log_p: Array, log_q: Array) -> Array:
    """KL(p || q) along the last axis, in nats."""
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=-1)


def perplexity(logits: NDArray, ids: NDArray) -> float:
    """Of ids[1:], from the logits (n, n_vocab) after each id; row by row, since vocabularies are large."""
    nll = [-log_softmax(row)[id_] for row, id_ in zip(logits[:-1], ids[1:], strict=True)]
    return float(np.exp(np.mean(nll)))


@dataclass(frozen=True)
class Prompt:
    """A prompt, and what llama.cpp says after it."""

    text: str
    ids: list[int]
    greedy: list[int]
    top: NDArray[np.int32]
    log_p: Array
    """Of `top`, the most probable first."""
    logits: NDArray[np.float32] | None
    """Of all tokens, where the full recording is here."""

    def coarse_divergence(self, logits: NDArray) -> float:
        """A lower bound of KL(llama.cpp || logits (n_vocab,))."""
        return float(divergence(_with_rest(self.log_p), _with_rest(log_softmax(logits)[self.top])))

    def divergence(self, logits: NDArray) -> float:
        """KL(llama.cpp || logits (n_vocab,)), or its lower bound without the full recording."""
        if self.logits is None:
            return self.coarse_divergence(logits)
        return float(divergence(log_softmax(self.logits), log_softmax(logits)))


@dataclass(frozen=True)
class Golden:
    """All that is known of a model."""

    prompts: list[Prompt]
    passage: str
    passage_ids: NDArray[np.int32]
    nll: Array
    """Of passage_ids[1:], in nats."""

    @property
    def perplexity(self) -> float:
        return float(np.exp(self.nll.mean()))


def load(name: str, full: bool = True) -> Golden:
    """What is known of "smollm2" or "gemma3"; without `full` from the extract alone."""
    recording = ROOT / "golden" / RECORDINGS[name]
    logits: list[NDArray[np.float32] | None] = [None] * 5
    if full and recording.is_file():
        with np.load(recording) as everything:
            logits = [everything[f"p{i}_logits"] for i in range(5)]
    with np.load(FOLDER / f"{name}.npz") as kept:
        prompts = [
            Prompt(
                str(kept["text"][i]),
                kept[f"ids_{i}"].tolist(),
                kept[f"greedy_{i}"].tolist(),
                kept["top"][i],
                kept["log_p"][i].astype(np.float64),
                logits[i],
            )
            for i in range(5)
        ]
        return Golden(prompts, str(kept["passage"]), kept["nll_ids"], kept["nll"].astype(np.float64))


def _with_rest(log_p: Array) -> Array:
    """Appends the probability of all other tokens."""
    return np.append(log_p, np.log(-np.expm1(np.logaddexp.reduce(log_p))))
