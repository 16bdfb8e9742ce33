"""What is left of the speed beside other busy processes.

    python bench/neighbours.py smollm2 --hogs 0 1 2 4 -t 1 2 --markdown

A hog is a Python process that does nothing, as fast as it can. n threads beside k hogs on c cores are due
min(1, c / (n + k)) of the quiet speed; `of due` says how much of that was reached. `CPU` is the time that the
process took of all cores, for a second of the clock. With --llama-python llama.cpp is measured in the same
way (see compare_llama_cpp.py).
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from table import print_table

HOG = "while True: pass"


class Measured(NamedTuple):
    """Tokens a second, and CPU seconds a second."""

    prefill: float
    decode: float
    cpu: float


@contextmanager
def hogs(n: int) -> Iterator[None]:
    """So many busy processes."""
    started = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(n)]
    try:
        time.sleep(0.3)
        yield
    finally:
        for hog in started:
            hog.kill()
            hog.wait()


def measure(model: str, n_threads: int, n_prompt: int, seconds: float) -> Measured:
    """Prompts, then single tokens, for so many seconds each."""
    import nybble
    from nybble.engine.benchmark import random_ids

    with nybble.LLM(model, n_ctx=2048, n_threads=n_threads) as llm:
        ids = random_ids(llm.config.n_vocab, 2048)
        llm.context.last_logits(object(), ids[:n_prompt])
        prefill = _rate(lambda n: llm.context.last_logits(object(), ids[:n_prompt]), seconds) * n_prompt
        sequence, used = object(), time.process_time()
        started = time.perf_counter()
        decode = _rate(lambda n: llm.context.last_logits(sequence, ids[: 1 + n % 2047]), seconds)
        return Measured(prefill, decode, (time.process_time() - used) / (time.perf_counter() - started))


def _rate(step, seconds: float) -> float:
    """How often `step`, called with the number of the call, runs in a second."""
    n, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        step(n)
        n += 1
    return n / passed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="a name or the path of a GGUF file")
    parser.add_argument("--hogs", type=int, nargs="+", default=[0, 1, 2, 4], metavar="K")
    parser.add_argument("-t", "--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("-p", "--prompt", type=int, default=256, metavar="N", help="tokens (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="for each figure (%(default)s)")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    from nybble.engine.cpus import default_threads

    rows = [("threads", "hogs", "due", "prefill", "of due", "decode", "of due", "CPU")]
    for n_threads in args.threads:
        quiet = None
        for n_hogs in args.hogs:
            with hogs(n_hogs):
                found = measure(args.model, n_threads, args.prompt, args.seconds)
            quiet = quiet or found
            due = min(1.0, default_threads() / (n_threads + n_hogs))
            rows.append(
                (
                    *(str(n_threads), str(n_hogs), f"{due:.0%}"),
                    *(f"{found.prefill:.0f}", f"{found.prefill / quiet.prefill / due:.0%}"),
                    *(f"{found.decode:.1f}", f"{found.decode / quiet.decode / due:.0%}"),
                    f"{found.cpu:.2f}",
                )
            )
            print(*rows[-1], file=sys.stderr)
    print_table(rows, args.markdown)


if __name__ == "__main__":
    main()
