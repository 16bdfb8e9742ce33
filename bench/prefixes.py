"""What it saves that prompts with the same beginning compute it once.

    python bench/prefixes.py smollm2 -t 2

`n` prompts of `--shared` tokens and a few of their own, all at once: as they are, and with nothing shared.
And a second turn of a conversation: the time to its first token, by the number of tokens before it, against
the same new tokens appended to a sequence that holds them all.
"""

import argparse
import statistics
import time

from table import print_table

import nybble
from nybble.engine.benchmark import random_ids


def seconds_of(llm: nybble.LLM, prompts: list[list[int]], cache_prompt: bool) -> float:
    """Until each prompt has its first token."""
    params = nybble.SamplingParams(max_tokens=1, cache_prompt=cache_prompt)
    started = time.perf_counter()
    llm.generate(prompts, params)
    return time.perf_counter() - started


def second_turn(llm: nybble.LLM, n_before: int, n_new: int, seed: int) -> tuple[float, float]:
    """Seconds to the first token after n_new tokens: of a prompt that begins with n_before tokens of an
    earlier request, and of a sequence."""
    ids = random_ids(llm.config.n_vocab, 100_000)[seed * 3000 :][: n_before + n_new]
    llm.generate(ids[:n_before], nybble.SamplingParams(max_tokens=1))
    started = time.perf_counter()
    llm.generate(ids, nybble.SamplingParams(max_tokens=1))
    turn = time.perf_counter() - started
    with llm.sequence(ids[:n_before], cache_prompt=False) as sequence:
        sequence.run()
        started = time.perf_counter()
        sequence.append(ids[n_before:])
        sequence.run()
        return turn, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a name or the path of a GGUF file")
    parser.add_argument("-n", type=int, default=8, metavar="N", help="prompts (%(default)s)")
    parser.add_argument("--shared", type=int, default=1000, metavar="N", help="tokens (%(default)s)")
    parser.add_argument("--new", type=int, default=50, metavar="N", help="of the second turn (%(default)s)")
    parser.add_argument("-t", "--threads", type=int, default=2, metavar="N")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    rows = [("model", "one prompt s", f"{args.n} shared", "not shared", "second turn s", "in place")]
    for name in args.models:
        with nybble.LLM(name, n_ctx=4096, n_threads=args.threads, n_pool_tokens=16384) as llm:
            stem = random_ids(llm.config.n_vocab, args.shared)
            prompts = [[*stem, i, 1, 2, 3, 4, 5, 6, 7] for i in range(args.n)]
            seconds_of(llm, [random_ids(llm.config.n_vocab, 64)], False)
            one = seconds_of(llm, prompts[:1], False)
            shared, single = seconds_of(llm, prompts, True), seconds_of(llm, prompts, False)
            turns = [second_turn(llm, 2000, args.new, seed) for seed in range(7)]
        turn, in_place = (statistics.median(times) for times in zip(*turns, strict=True))
        last = f"{turn:.3f} ({turn / in_place:.2f}x)", f"{in_place:.3f}"
        rows.append((name, f"{one:.2f}", f"{shared:.2f}", f"{single:.2f}", *last))
    print_table(rows, args.markdown)


if __name__ == "__main__":
    main()
