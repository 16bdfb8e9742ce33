"""How much faster several sequences are decoded side by side than one alone, beside llama.cpp.

    python bench/batch.py smollm2 -s 1 2 4 8 16 32 -t 2 --markdown

All sequences have `--prompt` tokens after them. The sizes take turns, a few tokens at a time, so that ratios
hold when the machine's speed drifts; so do the engines, each turn a process of its own (`--worker`). Figures
are medians. "prefill" is one prompt in steps of 512 tokens, in the same run.

llama.cpp is the one inside llama-cpp-python (extra `rivals`); if it lives in another environment, give its
Python by --llama-python. With `--engines nybble` it is not needed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from table import print_table

TOKENS_PER_TURN = 8
N_PREFILL = 512
ENGINES = ("nybble", "llama.cpp")


def measure(
    decode: Callable[[int], None],
    restart: Callable[[], None],
    prefill: Callable[[], None],
    sizes: list[int],
    turns: int,
) -> dict[str, float]:
    """Tokens a second of a prompt, and by their number of sequences that are decoded side by side:
    `decode(n)` gives n of them a token."""
    times: dict[str, list[float]] = {name: [] for name in ("prefill", *map(str, sizes))}
    for turn in range(turns + 1):
        for name, found in times.items():
            restart()
            started = time.perf_counter()
            if name == "prefill":
                prefill()
            else:
                for _ in range(TOKENS_PER_TURN):
                    decode(int(name))
            if turn:  # the first warms up
                found.append(time.perf_counter() - started)
    n_tokens = {name: N_PREFILL if name == "prefill" else int(name) * TOKENS_PER_TURN for name in times}
    return {name: n_tokens[name] / statistics.median(found) for name, found in times.items()}


def run_nybble(model: str, sizes: list[int], n_prompt: int, n_threads: int, turns: int) -> dict[str, float]:
    """One turn of nybble."""
    import nybble

    n, n_ctx = max(sizes), max(N_PREFILL, n_prompt + TOKENS_PER_TURN)
    with nybble.LLM(model, n_ctx=n_ctx, n_threads=n_threads, n_seq_max=n, n_pool_tokens=n * n_ctx) as llm:
        random = np.random.default_rng(0)
        prompts = random.integers(0, llm.config.n_vocab, (n, n_prompt))
        long = random.integers(0, llm.config.n_vocab, N_PREFILL)
        sequences = [llm.sequence(prompt, cache_prompt=False) for prompt in prompts]
        for sequence in sequences:
            sequence.run()

        def restart() -> None:
            for sequence in sequences:
                if len(sequence) > n_prompt:
                    sequence.truncate(n_prompt)
                    sequence.run()

        def decode(size: int) -> None:
            for sequence in sequences[:size]:
                sequence.append(1)
            for sequence in sequences[:size]:
                sequence.run()  # the first runs all, in one step

        def prefill() -> None:
            with llm.sequence(long, cache_prompt=False) as sequence:
                sequence.run()

        return measure(decode, restart, prefill, sizes, turns)


def run_llama_cpp(
    model: str, sizes: list[int], n_prompt: int, n_threads: int, turns: int
) -> dict[str, float]:
    """One turn of llama.cpp."""
    from llama_cpp_engine import LlamaCppEngine

    n, n_ctx = max(sizes), max(N_PREFILL, n_prompt + TOKENS_PER_TURN)
    engine = LlamaCppEngine(model, (n + 1) * n_ctx, n_threads, n_seq_max=n + 1)
    random = np.random.default_rng(0)
    prompts = random.integers(0, engine.n_vocab, (n, n_prompt))
    long = random.integers(0, engine.n_vocab, N_PREFILL)
    for i, prompt in enumerate(prompts):
        engine.decode_several([(i, j, int(token)) for j, token in enumerate(prompt)])
    n_decoded = [0]

    def restart() -> None:
        n_decoded[0] = 0
        for i in range(n + 1):
            engine.truncate(i, n_prompt if i < n else 0)

    def decode(size: int) -> None:
        engine.decode_several([(i, n_prompt + n_decoded[0], 1) for i in range(size)])
        n_decoded[0] += 1

    def prefill() -> None:
        engine.decode_several([(n, j, int(token)) for j, token in enumerate(long)], wanted=[N_PREFILL - 1])

    return measure(decode, restart, prefill, sizes, turns)


def take_turn(engine: str, python: str, model: str, args: argparse.Namespace) -> dict[str, float]:
    """Runs one turn in a process of its own."""
    command = [python, os.path.abspath(__file__), model, "--worker", engine, "-s", *map(str, args.sequences)]
    command += ["-t", str(args.threads), "-p", str(args.prompt), "--turns", str(args.turns)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{engine} failed:\n{done.stderr.strip()}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(model: str, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """By engine: the medians of its turns."""
    pythons = {"nybble": sys.executable, "llama.cpp": args.llama_python}
    found: dict[str, list[dict[str, float]]] = {engine: [] for engine in args.engines}
    for pair in range(args.pairs):
        for engine in args.engines if pair % 2 == 0 else args.engines[::-1]:
            found[engine].append(take_turn(engine, pythons[engine], model, args))
    return {
        engine: {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
        for engine, turns in found.items()
    }


def rows(model: str, found: dict[str, dict[str, float]]) -> list[tuple[str, ...]]:
    """A row for each engine: tokens a second, as a multiple of one sequence's, and of the rival's."""
    lines = []
    for engine, figures in found.items():
        line = [Path(model).stem, engine]
        for name, speed in figures.items():
            cell = f"{speed:.0f}"
            if name != "prefill":
                cell += f" ({speed / next(v for k, v in figures.items() if k != 'prefill'):.2f}x)"
            if engine == "nybble" and "llama.cpp" in found:
                cell += f" {speed / found['llama.cpp'][name]:.2f}"
            line.append(cell)
        lines.append(tuple(line))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a name or the path of a GGUF file")
    parser.add_argument("-s", "--sequences", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32], metavar="N")
    parser.add_argument("-t", "--threads", type=int, default=2, metavar="N")
    parser.add_argument(
        "-p", "--prompt", type=int, default=64, metavar="N", help="tokens before (%(default)s)"
    )
    parser.add_argument("--turns", type=int, default=9, metavar="N", help="of each size (%(default)s)")
    parser.add_argument("--pairs", type=int, default=3, metavar="N", help="processes of each (%(default)s)")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--llama-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--worker", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    if args.worker:
        run = run_nybble if args.worker == "nybble" else run_llama_cpp
        print(json.dumps(run(args.models[0], args.sequences, args.prompt, args.threads, args.turns)))
        return
    from nybble.hub.models import resolve

    lines = [("model", "engine", "prefill", *map(str, args.sequences))]
    for name in args.models:
        path = str(resolve(name))
        lines += rows(path, compare(path, args))
    print_table(lines, args.markdown)


if __name__ == "__main__":
    main()
