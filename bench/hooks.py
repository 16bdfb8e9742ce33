"""What listening costs: a prompt whose residual streams are captured, and decoding with a hook in every
block, each beside the same run without hooks.

    python bench/hooks.py smollm2 gemma3 -t 1 2 --markdown

Runs with and without hooks take turns, so that ratios hold when the machine's speed drifts. The hooks sit
after every block (`blk.*.resid_post`); one looks and changes nothing, the other adds a vector.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

import nybble
from nybble.engine.benchmark import random_ids
from nybble.engine.hooks.taps import Edits

EVERY_BLOCK = "blk.*.resid_post"


def prefill(llm: nybble.LLM, ids: list[int], capture: list[str]) -> float:
    """Seconds for a prompt; the logits of its last token are asked for."""
    started = time.perf_counter()
    llm.trace(ids, capture, logits="last")
    return time.perf_counter() - started


def decode(llm: nybble.LLM, ids: list[int], n_prompt: int, edit: Edits) -> float:
    """Seconds for all but the first `n_prompt` of the ids, one by one."""
    with llm.sequence(ids[:n_prompt], edit=edit or None, cache_prompt=False) as sequence:
        sequence.run()
        started = time.perf_counter()
        for token_id in ids[n_prompt:]:
            sequence.append(token_id)
            sequence.run()
        return time.perf_counter() - started


def measure(llm: nybble.LLM, n_prompt: int, n_decode: int, n_turns: int) -> list[tuple[str, float, float]]:
    """Of each kind of run: its name, tokens a second (median), and what it takes more than the plain one."""
    ids = random_ids(llm.config.n_vocab, n_prompt + n_decode)
    vector = np.full(llm.config.n_embd, 1e-3, np.float32)

    def look(value: np.ndarray, info: object) -> None:
        pass

    def steer(value: np.ndarray, info: object) -> None:
        value += vector

    runs: dict[str, tuple[int, Callable[[], float]]] = {
        "prefill": (n_prompt, lambda: prefill(llm, ids[:n_prompt], [])),
        "prefill, captured": (n_prompt, lambda: prefill(llm, ids[:n_prompt], [EVERY_BLOCK])),
        "decode": (n_decode, lambda: decode(llm, ids, n_prompt, {})),
        "decode, looked at": (n_decode, lambda: decode(llm, ids, n_prompt, {EVERY_BLOCK: look})),
        "decode, steered": (n_decode, lambda: decode(llm, ids, n_prompt, {EVERY_BLOCK: steer})),
    }
    turns = [{name: run() for name, (_, run) in runs.items()} for _ in range(n_turns + 1)][1:]
    rows = []
    for name, (n_tokens, _) in runs.items():
        plain = name.partition(",")[0]
        speed = n_tokens / statistics.median(turn[name] for turn in turns)
        rows.append((name, speed, statistics.median(turn[name] / turn[plain] for turn in turns) - 1))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="names or paths of GGUF files")
    parser.add_argument("-p", "--prompt", type=int, default=512, help="tokens at once (%(default)s)")
    parser.add_argument("-n", "--decode", type=int, default=64, help="then one by one (%(default)s)")
    parser.add_argument("-t", "--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--turns", type=int, default=5, help="medians of so many (%(default)s)")
    parser.add_argument("--markdown", action="store_true", help="a table for bench/README.md")
    args = parser.parse_args()
    if args.markdown:
        print("| model | threads | run | tokens a second | takes more |\n| --- | --- | --- | --- | --- |")
    for model in args.models:
        for n_threads in args.threads:
            with nybble.LLM(model, n_ctx=args.prompt + args.decode, n_threads=n_threads) as llm:
                for name, speed, more in measure(llm, args.prompt, args.decode, args.turns):
                    cells = [llm.path.stem, str(n_threads), name, f"{speed:.1f}", f"{more:+.1%}"]
                    print(f"| {' | '.join(cells)} |" if args.markdown else "  ".join(cells), flush=True)


if __name__ == "__main__":
    main()
