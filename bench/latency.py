"""How long a running stream waits for its next token while a long prompt comes in.

    python bench/latency.py smollm2 -p 4000 -t 2

The scheduler cuts the prompt so that a step takes 0.1 s at the most, or twice a step of streams alone. Said
are the median and the 99th percentile of the time between two tokens of the stream, before the prompt and
beside it, and how much longer the prompt takes than alone.
"""

import argparse
import time

import numpy as np
from table import print_table

import nybble
from nybble.engine.benchmark import random_ids


def gap(stream: nybble.Sequence) -> float:
    """Seconds for the next token."""
    started = time.perf_counter()
    stream.append(1)
    stream.run()
    return time.perf_counter() - started


def measure(llm: nybble.LLM, n_prompt: int) -> tuple[list[float], list[float], float, float]:
    """Gaps before and beside the prompt, and its seconds alone and beside the stream."""
    ids = random_ids(llm.config.n_vocab, n_prompt + 32)
    params = nybble.SamplingParams(max_tokens=1, cache_prompt=False)
    started = time.perf_counter()
    llm.generate(ids[:n_prompt], params)
    alone = time.perf_counter() - started
    stream = llm.sequence(ids[n_prompt:], cache_prompt=False)
    before = [gap(stream) for _ in range(64)][16:]
    beside, started = [], time.perf_counter()
    prompt = llm.submit(ids[:n_prompt], params)
    while prompt.finish_reason is None:
        beside.append(gap(stream))
    return before, beside, alone, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a name or the path of a GGUF file")
    parser.add_argument("-p", "--prompt", type=int, default=4000, metavar="N", help="tokens (%(default)s)")
    parser.add_argument("-t", "--threads", type=int, default=2, metavar="N")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    rows = [("model", "ms before: median", "99 %", "beside: median", "99 %", "prompt s alone", "beside")]
    for name in args.models:
        n_ctx = args.prompt + 1024
        with nybble.LLM(name, n_ctx=n_ctx, n_threads=args.threads, n_pool_tokens=2 * n_ctx) as llm:
            before, beside, alone, together = measure(llm, args.prompt)
        ms = [f"{1e3 * np.percentile(some, q):.1f}" for some in (before, beside) for q in (50, 99)]
        rows.append((name, *ms, f"{alone:.2f}", f"{together:.2f} ({together / alone:.2f}x)"))
    print_table(rows, args.markdown)


if __name__ == "__main__":
    main()
