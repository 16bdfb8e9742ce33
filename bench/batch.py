"""How much faster several sequences are decoded side by side than one alone.

    python bench/batch.py smollm2 -s 2 4 8 -t 2 --markdown

All have `--prompt` tokens after them. One sequence and each batch take turns, a few tokens at a time, so
that ratios hold when the machine's speed drifts; medians of the turns.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from table import print_table

from nybble.engine.executors.base import Ids, Piece
from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.seat import Seat
from nybble.engine.scheduler.seats import Seats
from nybble.hub.models import resolve

TOKENS_PER_TURN = 8


def step(executor: NumbaExecutor, sequences: list[Seat], ids: Ids) -> None:
    """One more token of each of the sequences."""
    pieces = []
    for sequence, token in zip(sequences, ids, strict=False):
        sequence.make_room(sequence.n_positions + 1)
        pieces.append(Piece(sequence.number, sequence.n_positions, np.array([token], np.int32), np.arange(1)))
    executor.step(pieces)
    for sequence in sequences:
        sequence.n_positions += 1


def measure(model: Model, sizes: list[int], n_threads: int, n_prompt: int, turns: int) -> list[float]:
    """Tokens a second of one sequence, and of batches of these sizes."""
    n, n_ctx = max(sizes), n_prompt + TOKENS_PER_TURN
    executor = NumbaExecutor(
        model.plan, n_ctx, n_threads, max(n_prompt, n), n_seq_max=n, n_pool_tokens=n * n_ctx
    )
    seats = Seats(executor)
    sequences = [seats.take() for _ in range(n)]
    ids = np.random.default_rng(0).integers(0, model.config.n_vocab, (n, n_prompt)).astype(np.int32)
    for sequence, prompt in zip(sequences, ids, strict=True):
        sequence.forward(prompt, 0, np.empty(0, np.intp))
    found: dict[int, list[float]] = {size: [] for size in (1, *sizes)}
    for turn in range(turns + 1):
        for size, times in found.items():
            for sequence in sequences[:size]:
                sequence.truncate(n_prompt)
            started = time.perf_counter()
            for _ in range(TOKENS_PER_TURN):
                step(executor, sequences[:size], ids[:size, 0])
            if turn:  # the first warms up
                times.append((time.perf_counter() - started) / TOKENS_PER_TURN)
    executor.close()
    return [size / statistics.median(times) for size, times in found.items()]


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
