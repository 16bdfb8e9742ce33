"""How much faster several sequences are decoded side by side (`engine/executors/numba/batch.py`) than one
alone.

    python bench/batch.py smollm2 -s 2 4 8 -t 2 --markdown

All have `--prompt` tokens after them. One sequence and each batch take turns, a few tokens at a time, so
that ratios hold when the machine's speed drifts; medians of the turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from table import print_table

from nybble.engine.executors.numba.batch import Batch
from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.model import Model
from nybble.hub.models import resolve

TOKENS_PER_TURN = 8


def seconds_per_step(executors: Sequence[NumbaExecutor], step: Callable[[], object], n_prompt: int) -> float:
    """Of a turn that begins after the prompt."""
    for executor in executors:
        executor.truncate(n_prompt)
    started = time.perf_counter()
    for _ in range(TOKENS_PER_TURN):
        step()
    return (time.perf_counter() - started) / TOKENS_PER_TURN


def measure(model: Model, sizes: Sequence[int], n_threads: int, n_prompt: int, turns: int) -> list[float]:
    """Tokens a second of one sequence, and of batches of these sizes."""
    executors: list[NumbaExecutor] = []
    for _ in range(max(sizes)):
        matrices = executors[0].matrices if executors else None
        n_ctx = n_prompt + TOKENS_PER_TURN
        executors.append(NumbaExecutor(model.plan, n_ctx, n_threads, n_prompt, matrices))
    ids = np.random.default_rng(0).integers(0, model.config.n_vocab, (len(executors), n_prompt))
    for executor, prompt in zip(executors, ids.astype(np.int32), strict=True):
        executor.forward(prompt, 0, np.empty(0, np.intp))
    tokens = ids[:, 0].astype(np.int32)
    one = executors[0]
    batches = {size: Batch(executors[:size]) for size in sizes}
    steps: list[tuple[int, Callable[[], object]]] = [
        (1, lambda: one.forward(tokens[:1], one.n_positions, np.array([0]))),
        *((size, partial(batch.decode, tokens[:size])) for size, batch in batches.items()),
    ]
    found: list[list[float]] = [[] for _ in steps]
    for turn in range(turns + 1):
        for times, (size, step) in zip(found, steps, strict=True):
            taken = seconds_per_step(executors[:size], step, n_prompt)
            if turn:  # the first warms up
                times.append(taken)
    for runner in (*batches.values(), *executors):
        runner.close()
    return [size / statistics.median(times) for times, (size, _) in zip(found, steps, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a name or the path of a GGUF file")
    parser.add_argument("-s", "--sequences", type=int, nargs="+", default=[8], metavar="N")
    parser.add_argument("-t", "--threads", type=int, default=2, metavar="N")
    parser.add_argument(
        "-p", "--prompt", type=int, default=64, metavar="N", help="tokens before (%(default)s)"
    )
    parser.add_argument("--turns", type=int, default=15, metavar="N", help="of each (%(default)s)")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    rows = [("model", "1", *map(str, args.sequences))]
    for name in args.models:
        model = Model.load(resolve(name))
        one, *batches = measure(model, args.sequences, args.threads, args.prompt, args.turns)
        model.close()
        cells = (f"{speed:.0f} ({speed / one:.2f}x)" for speed in batches)
        rows.append((Path(resolve(name)).stem, f"{one:.0f}", *cells))
    print_table(rows, args.markdown)


if __name__ == "__main__":
    main()
