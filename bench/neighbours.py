"""What is left of the speed beside other busy processes.

    python bench/neighbours.py smollm2 --hogs 0 1 2 4 -t 1 2 --markdown

A hog is a Python process that does nothing, as fast as it can. n threads beside k hogs on c cores are due
min(1, c / (n + k)) of the quiet speed; `of due` says how much of that was reached. `CPU` is the time that
decoding took of all cores, for a second of the clock. llama.cpp is measured in the same way where there is
llama-cpp-python; if it lives in another environment, give its Python by --llama-python (compare_llama_cpp.py
says how it is built). The engines take turns; --rounds of them, and the medians are shown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from table import print_table

HOG = "while True: pass"
N_CTX = 2048
ENGINES = ("nybble", "llama.cpp")


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


def run_nybble(model: str, n_threads: int, n_prompt: int, seconds: float) -> Measured:
    """Prompts, then single tokens after one of them, for so many seconds each."""
    import nybble
    from nybble.engine.benchmark import random_ids

    with nybble.LLM(model, n_ctx=N_CTX, n_threads=n_threads) as llm:
        ids = random_ids(llm.config.n_vocab, N_CTX)
        sequences = [llm.sequence(ids[:n_prompt], cache_prompt=False)]

        def prompt() -> None:
            sequences[0].close()
            sequences[0] = llm.sequence(ids[:n_prompt], cache_prompt=False)
            sequences[0].run()

        def one(n: int) -> None:
            sequences[0].append(ids[n])
            sequences[0].run()

        return _measure(prompt, one, n_prompt, seconds)


def run_llama_cpp(model: str, n_threads: int, n_prompt: int, seconds: float) -> Measured:
    """Prompts and single tokens of llama.cpp."""
    import numpy as np
    from llama_cpp_engine import LlamaCppEngine

    engine = LlamaCppEngine(model, N_CTX, n_threads)
    ids = np.random.default_rng(0).integers(0, engine.n_vocab, N_CTX)

    def prompt() -> None:
        engine.clear()
        engine.decode(ids[:n_prompt])

    return _measure(prompt, lambda n: engine.decode(ids[n : n + 1]), n_prompt, seconds)


def _measure(
    prompt: Callable[[], None], single: Callable[[int], object], n_prompt: int, seconds: float
) -> Measured:
    """`prompt` begins a sequence anew; `single` computes the token at a position."""
    prompt()
    n_prompts, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < seconds:
        prompt()
        n_prompts += 1
    prefill = n_prompts * n_prompt / passed
    n_tokens, position, decoding, used = 0, n_prompt, 0.0, 0.0
    while decoding < seconds:
        if position == N_CTX:
            prompt()
            position = n_prompt
        cpu, started = time.process_time(), time.perf_counter()
        single(position)
        decoding += time.perf_counter() - started
        used += time.process_time() - cpu
        position += 1
        n_tokens += 1
    return Measured(prefill, n_tokens / decoding, used / decoding)


def take_turn(engine: str, python: str, model: str, n_threads: int, args: argparse.Namespace) -> Measured:
    """One engine in a process of its own; ends the program with its words if it fails."""
    command = [python, os.path.abspath(__file__), model, "--worker", engine, "-t", str(n_threads)]
    command += ["-p", str(args.prompt), "--seconds", str(args.seconds)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{engine} ended with {done.returncode}:\n{done.stderr.strip()}")
    return Measured(*json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="a name or the path of a GGUF file")
    parser.add_argument("--hogs", type=int, nargs="+", default=[0, 1, 2, 4], metavar="K")
    parser.add_argument("-t", "--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("-p", "--prompt", type=int, default=256, metavar="N", help="tokens (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="for each figure (%(default)s)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="turns of each (%(default)s)")
    parser.add_argument("--llama-python", default=sys.executable, metavar="PATH", help="has llama_cpp")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), metavar="ENGINE",
                        help="only these: nybble, llama.cpp")  # fmt: skip
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--worker", choices=ENGINES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        run = run_nybble if args.worker == "nybble" else run_llama_cpp
        print(json.dumps(run(args.model, args.threads[0], args.prompt, args.seconds)))
        return
    from nybble.hub.models import resolve
    from nybble.system.cores import default_threads

    model, pythons = str(resolve(args.model)), {"nybble": sys.executable, "llama.cpp": args.llama_python}
    turns: dict[tuple[str, int, int], list[Measured]] = {}
    for _ in range(args.rounds):
        for n_threads in args.threads:
            for n_hogs in args.hogs:
                with hogs(n_hogs):
                    for engine in args.engines:
                        found = take_turn(engine, pythons[engine], model, n_threads, args)
                        turns.setdefault((engine, n_threads, n_hogs), []).append(found)
                        print(f"{engine} -t {n_threads}, {n_hogs} hogs: {found}", file=sys.stderr)
    medians = {
        key: Measured(*map(statistics.median, zip(*found, strict=True))) for key, found in turns.items()
    }

    rows = [("engine", "threads", "hogs", "due", "prefill", "of due", "decode", "of due", "CPU")]
    for engine in args.engines:
        for n_threads in args.threads:
            quiet = medians[engine, n_threads, args.hogs[0]]
            for n_hogs in args.hogs:
                found = medians[engine, n_threads, n_hogs]
                due = min(1.0, default_threads() / (n_threads + n_hogs))
                rows.append(
                    (
                        *(engine, str(n_threads), str(n_hogs), f"{due:.0%}"),
                        *(f"{found.prefill:.0f}", f"{found.prefill / quiet.prefill / due:.0%}"),
                        *(f"{found.decode:.1f}", f"{found.decode / quiet.decode / due:.0%}"),
                        f"{found.cpu:.2f}",
                    )
                )
    print_table(rows, args.markdown)


if __name__ == "__main__":
    main()
