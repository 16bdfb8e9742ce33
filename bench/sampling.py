"""What choosing a token costs, beside the decode step of a model with the same vocabulary.

    python bench/sampling.py gemma3 -t 2 --markdown

Each set of parameters chooses from logits of the model, which have just been written, as after a step.
"chain" has every sampler on, from logit bias to dynamic temperature. Figures are medians.
"""

import argparse
import statistics
import time

import numpy as np
from table import print_table

import nybble
from nybble.engine.sampling.functions import sampling_functions
from nybble.engine.sampling.sampler import Sampler

CHAIN = {
    "logit_bias": dict.fromkeys(range(10), 1.0),
    "repeat_penalty": 1.1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "dry_multiplier": 0.8,
    "top_n_sigma": 3.0,
    "typical_p": 0.98,
    "top_p": 0.95,
    "min_p": 0.02,
    "xtc_probability": 0.5,
    "temperature": 0.8,
    "dynatemp_range": 0.3,
}
SETS = {
    "greedy": {},
    "top_k 40": {"temperature": 0.8, "top_k": 40},
    "chain, top_k 40": {**CHAIN, "top_k": 40},
    "chain without top_n_sigma, top_k 40": {**CHAIN, "top_n_sigma": 0.0, "top_k": 40},
    "chain, top_k 0": CHAIN,
    "temperature alone": {"temperature": 0.8},
    "top_p alone": {"temperature": 0.8, "top_p": 0.95},
    "mirostat 1": {"temperature": 0.8, "mirostat": 1},
    "mirostat 2": {"temperature": 0.8, "mirostat": 2},
    "min_p, adaptive-p": {"temperature": 0.8, "min_p": 0.02, "adaptive_target": 0.5},
}
PROMPT = "Once upon a time, in a small village by the sea, there lived a girl who had never seen the water."


def microseconds(params: nybble.SamplingParams, rows: np.ndarray, ids: list[int], n: int) -> float:
    """The median time of choosing a token from one of `rows` (m, n_vocab)."""
    sampler = Sampler(params, sampling_functions(params, is_compiled=True))
    logits, seconds = np.empty_like(rows[0]), []
    for index in range(n):
        logits[:] = rows[index % len(rows)]
        started = time.perf_counter()
        sampler(logits, index, ids)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a name or the path of a GGUF file")
    parser.add_argument("-t", "--threads", type=int, default=2, metavar="N")
    parser.add_argument("-n", type=int, default=400, metavar="N", help="tokens (%(default)s)")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    rows = [("model", "logits", "parameters", "a token", "of a step")]
    for name in args.models:
        with nybble.LLM(name, n_ctx=512, n_threads=args.threads) as llm:
            ids = [*llm.prompt_ids(PROMPT).tolist()]
            logits = llm.logits(ids)
            llm.generate(PROMPT, nybble.SamplingParams(max_tokens=64, ignore_eos=True))  # warms up
            timings = llm.generate(PROMPT, nybble.SamplingParams(max_tokens=64, ignore_eos=True)).timings
            step = 1e6 / timings.decode_tokens_per_second
            for title, options in SETS.items():
                found = microseconds(nybble.SamplingParams(seed=1, **options), logits, ids, args.n)
                cells = f"{found:.0f} us", f"{found / step:.1%}"
                rows.append((name, str(llm.config.n_vocab), title, *cells))
    print_table(rows, args.markdown)


if __name__ == "__main__":
    main()
