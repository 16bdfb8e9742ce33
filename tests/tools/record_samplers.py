"""Records what llama.cpp's samplers make of logits: the candidates that are left, and their logits.

    python tests/tools/record_samplers.py SMOLLM2.gguf     # writes tests/data/samplers.npz (extra rivals)

The logits are those of `case_logits`. Samplers that draw do so with random numbers of their own, so what is
drawn is recorded, too. The vocabulary of the model is for the breakers of DRY.
"""

import ctypes
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "cases"))

import llama_cpp
import numpy as np
from sampler_cases import (
    BREAKERS,
    BROKEN_TEXTS,
    CASES,
    DRAWING,
    DRY_BREAKERS,
    N_STEPS,
    N_VOCAB,
    PENALIZED,
    Case,
    case_logits,
)

OUT = Path(__file__).parent.parent / "data" / "samplers.npz"


class Candidates:
    """A llama_token_data_array of logits (n,), by id."""

    def __init__(self, logits: dict[int, float]) -> None:
        self._data = (llama_cpp.llama_token_data * len(logits))(
            *(llama_cpp.llama_token_data(id_, z, 0.0) for id_, z in logits.items())
        )
        self.array = llama_cpp.llama_token_data_array(self._data, len(logits), -1, False)

    def apply(self, sampler: Any) -> None:
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(self.array))

    def left(self) -> dict[int, float]:
        """The logits of the candidates, by id."""
        found = (self.array.data[i] for i in range(self.array.size))
        return {each.id: each.logit for each in found if each.logit > float("-inf")}

    @property
    def selected(self) -> int:
        return self.array.data[self.array.selected].id


def bias_array(bias: dict[int, float]) -> Any:
    return (llama_cpp.llama_logit_bias * len(bias))(
        *(llama_cpp.llama_logit_bias(id_, value) for id_, value in bias.items())
    )


def strings(texts: list[str]) -> Any:
    return (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))


def make(name: str, own: tuple[Any, ...], vocab: Any) -> Any:
    """A sampler of llama.cpp by its name in nybble."""
    if name == "logit_bias":
        return llama_cpp.llama_sampler_init_logit_bias(N_VOCAB, len(own[0]), bias_array(own[0]))
    if name == "dry":
        *numbers, texts = own
        multiplier, base, allowed, last_n = numbers
        return llama_cpp.llama_sampler_init_dry(
            vocab, multiplier, base, allowed, last_n, strings(texts), len(texts)
        )
    if name == "xtc":
        return llama_cpp.llama_sampler_init_xtc(*own, 1)
    if name == "mirostat1":
        return llama_cpp.llama_sampler_init_mirostat(N_VOCAB, 1, *own, 100)
    if name == "mirostat2":
        return llama_cpp.llama_sampler_init_mirostat_v2(1, *own)
    if name == "adaptive_p":
        return llama_cpp.llama_sampler_init_adaptive_p(*own, 1)
    if name == "penalties":
        return llama_cpp.llama_sampler_init_penalties(N_VOCAB, *own)
    kinds = {
        "top_n_sigma": llama_cpp.llama_sampler_init_top_n_sigma,
        "top_k": llama_cpp.llama_sampler_init_top_k,
        "typical_p": llama_cpp.llama_sampler_init_typical,
        "top_p": llama_cpp.llama_sampler_init_top_p,
        "min_p": llama_cpp.llama_sampler_init_min_p,
        "temperature": llama_cpp.llama_sampler_init_temp_ext,
    }
    return kinds[name](*own)


def record(case: Case, vocab: Any) -> list[tuple[int, float]]:
    """The candidates that the samplers of a case leave, ids and logits."""
    candidates = Candidates(dict(enumerate(case_logits(case.seed).tolist())))
    for name, own in case.samplers:
        sampler = make(name, own, vocab)
        if name in ("penalties", "dry"):
            for id_ in PENALIZED:
                llama_cpp.llama_sampler_accept(sampler, id_)
        candidates.apply(sampler)
        llama_cpp.llama_sampler_free(sampler)
    return sorted(candidates.left().items())


def record_steps(name: str, own: tuple[Any, ...]) -> list[tuple[list[tuple[int, float]], int]]:
    """Of each step of a sampler that draws: the candidates, ids and logits, and the id drawn."""
    sampler, steps = make(name, own, None), []
    for seed in range(N_STEPS):
        candidates = Candidates(dict(enumerate(case_logits(seed).tolist())))
        candidates.apply(sampler)
        llama_cpp.llama_sampler_accept(sampler, candidates.selected)
        steps.append((sorted(candidates.left().items()), candidates.selected))
    llama_cpp.llama_sampler_free(sampler)
    return steps


def record_breakers(text: str, vocab: Any) -> list[tuple[int, float]]:
    """What DRY subtracts from each logit after a text, ids of SmolLM2."""
    raw = text.encode()
    ids = (llama_cpp.llama_token * 256)()
    n = llama_cpp.llama_tokenize(vocab, raw, len(raw), ids, 256, False, False)
    sampler = make("dry", (*DRY_BREAKERS, BREAKERS), vocab)
    for id_ in ids[:n]:
        llama_cpp.llama_sampler_accept(sampler, id_)
    candidates = Candidates(dict.fromkeys(range(llama_cpp.llama_vocab_n_tokens(vocab)), 0.0))
    candidates.apply(sampler)
    llama_cpp.llama_sampler_free(sampler)
    return [(id_, -z) for id_, z in sorted(candidates.left().items()) if z != 0]


def packed(name: str, lists: list[list[tuple[int, float]]]) -> dict[str, np.ndarray]:
    """Lists of pairs, one after the other, and where each ends."""
    return {
        f"{name} ids": np.array([id_ for pairs in lists for id_, _ in pairs], np.int32),
        f"{name} logits": np.array([z for pairs in lists for _, z in pairs], np.float32),
        f"{name} ends": np.cumsum([len(pairs) for pairs in lists]),
    }


def main() -> None:
    llama_cpp.llama_backend_init()
    options = llama_cpp.llama_model_default_params()
    options.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(sys.argv[1].encode(), options)
    vocab = llama_cpp.llama_model_get_vocab(model)
    steps = [step for each in DRAWING for step in record_steps(*each)]
    np.savez_compressed(
        OUT,
        version=llama_cpp.__version__,
        drawn=np.array([drawn for _, drawn in steps], np.int32),
        **packed("case", [record(case, vocab) for case in CASES]),
        **packed("step", [left for left, _ in steps]),
        **packed("breaker", [record_breakers(text, vocab) for text in BROKEN_TEXTS]),
    )
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
