"""nybble against llama.cpp: the same file, the same threads, one after the other, several times.

    python bench/compare_llama_cpp.py smollm2 gemma3 -t 1 2 --pairs 5 --markdown

Both run the same random tokens: a prompt in one go, then one token after another.  Absolute speeds drift with
the machine's mood, so the engines take turns and the ratio is that of the medians.  Each turn is a process of
its own (`--worker`), which loads, warms up and measures; so peak memory and load time are each engine's own,
and neither's threads disturb the other.

llama.cpp is the one inside llama-cpp-python (extra `rivals`), with its defaults: flash attention as it sees
fit, a float16 cache, weights mapped.  If it lives in another environment, give its Python by --llama-python.
Its AMX code, which works on repacked weights, dies where GCC 12 has compiled it: build it with Clang
(`CC=clang CXX=clang++ pip install --no-binary llama-cpp-python llama-cpp-python`), or measure it without
repacked weights (--no-repack), and say so.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from table import print_table

WARM_UP = 32  # tokens, then two single ones


@dataclass(frozen=True)
class Turn:
    """What one process measured."""

    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    load_seconds: float
    peak_memory_mb: float
    weight_bytes_per_token: int = 0
    stream_bandwidth_gb_per_second: float = 0.0


def run_nybble(model: str, n_prompt: int, n_decode: int, n_threads: int) -> Turn:
    """One turn of nybble, measured by what `nybble bench` runs."""
    import nybble
    from nybble.engine.benchmark import SpeedTest, measure

    with nybble.LLM(model, n_ctx=n_prompt + n_decode, n_threads=n_threads) as llm:
        tests = [SpeedTest("prefill", n_prompt), SpeedTest("decode", n_decode, n_prompt)]
        found = measure(llm, tests, repetitions=1)
    prefill, decode = found.speeds
    return Turn(
        prefill.median,
        decode.median,
        found.load_seconds + found.compile_seconds,
        (found.peak_memory_bytes or 0) / 1e6,
        found.weight_bytes_per_token,
        found.stream_bandwidth_gb_per_second,
    )


def run_llama_cpp(model: str, n_prompt: int, n_decode: int, n_threads: int, repack: bool = True) -> Turn:
    """One turn of llama.cpp."""
    import numpy as np
    from llama_cpp_engine import LlamaCppEngine

    started = time.perf_counter()
    engine = LlamaCppEngine(model, n_prompt + n_decode, n_threads, repack)
    load_seconds = time.perf_counter() - started
    ids = np.random.default_rng(0).integers(0, engine.n_vocab, n_prompt + n_decode)

    def time_steps(prompt: int, singles: int) -> tuple[float, float]:
        engine.clear()
        started = time.perf_counter()
        engine.decode(ids[:prompt])
        prefilled = time.perf_counter()
        for i in range(prompt, prompt + singles):
            engine.decode(ids[i : i + 1])
        return prefilled - started, time.perf_counter() - prefilled

    time_steps(min(WARM_UP, n_prompt), min(2, n_decode))
    prefill, decoding = time_steps(n_prompt, n_decode)
    return Turn(n_prompt / prefill, n_decode / decoding, load_seconds, peak_memory_mb())


def peak_memory_mb() -> float:
    """The largest resident size of this process, in 1e6 bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e6


ENGINES = ("nybble", "llama.cpp")


def take_turn(engine: str, python: str, model: str, n_threads: int, args: argparse.Namespace) -> Turn:
    """Runs one turn in a process of its own; ends the program with its words if it fails."""
    command = [python, os.path.abspath(__file__), model, "--worker", engine]
    command += ["-p", str(args.prompt), "-n", str(args.decode), "-t", str(n_threads)]
    if not args.repack:
        command.append("--no-repack")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode < 0:
        died = signal.Signals(-done.returncode).name
        hint = "; see --help for its AMX code, and --no-repack" if engine == "llama.cpp" else ""
        sys.exit(f"{engine} died by {died}{hint}\n{done.stderr.strip()}")
    if done.returncode:
        sys.exit(f"{engine} failed:\n{done.stderr.strip()}")
    return Turn(**json.loads(done.stdout.splitlines()[-1]))


def median_turn(turns: list[Turn]) -> Turn:
    """The median of each figure by itself."""
    figures = [asdict(turn) for turn in turns]
    return Turn(**{name: statistics.median(figure[name] for figure in figures) for name in figures[0]})


def compare(model: str, n_threads: int, args: argparse.Namespace) -> dict[str, Any]:
    """One row: the medians of both engines over `args.pairs` turns each, and their ratios."""
    pythons = {"nybble": sys.executable, "llama.cpp": args.llama_python}
    turns: dict[str, list[Turn]] = {engine: [] for engine in args.engines}
    for pair in range(args.pairs):
        order = args.engines if pair % 2 == 0 else args.engines[::-1]
        for engine in order:
            turn = take_turn(engine, pythons[engine], model, n_threads, args)
            turns[engine].append(turn)
            print(
                f"{Path(model).name} -t {n_threads}, {pair + 1}/{args.pairs}, {engine}:"
                f" prefill {turn.prefill_tokens_per_second:.1f}, decode {turn.decode_tokens_per_second:.1f}",
                file=sys.stderr,
            )
    medians = {engine: median_turn(found) for engine, found in turns.items()}
    row: dict[str, Any] = {"model": Path(model).name, "n_threads": n_threads}
    row["engines"] = {engine: asdict(turn) for engine, turn in medians.items()}
    if len(medians) == 2:
        ours, theirs = medians["nybble"], medians["llama.cpp"]
        row["prefill_ratio"] = ours.prefill_tokens_per_second / theirs.prefill_tokens_per_second
        row["decode_ratio"] = ours.decode_tokens_per_second / theirs.decode_tokens_per_second
    return row


COLUMNS = (
    "model",
    "threads",
    "engine",
    "prefill tok/s",
    "decode tok/s",
    "GB/s",
    "of stream",
    "load s",
    "peak MB",
)


def table(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The rows as text, one line per engine; the ratios stand in nybble's line."""
    from nybble.engine.benchmark import share

    lines = []
    for row in rows:
        for engine, turn in row["engines"].items():
            is_ours = engine == "nybble"
            bandwidth = turn["weight_bytes_per_token"] * turn["decode_tokens_per_second"] / 1e9
            ratios = [f" ({row[name]:.2f}x)" if is_ours and name in row else "" for name in RATIOS]
            lines.append(
                (
                    row["model"],
                    str(row["n_threads"]),
                    engine,
                    f"{turn['prefill_tokens_per_second']:.1f}{ratios[0]}",
                    f"{turn['decode_tokens_per_second']:.1f}{ratios[1]}",
                    f"{bandwidth:.1f}" if is_ours else "",
                    share(bandwidth, turn["stream_bandwidth_gb_per_second"]) if is_ours else "",
                    f"{turn['load_seconds']:.2f}",
                    f"{turn['peak_memory_mb']:.0f}",
                )
            )
    return lines


RATIOS = ("prefill_ratio", "decode_ratio")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a name or the path of a GGUF file")
    parser.add_argument(
        "-p", "--prompt", type=int, default=512, metavar="N", help="tokens at once (%(default)s)"
    )
    parser.add_argument(
        "-n", "--decode", type=int, default=64, metavar="N", help="then one by one (%(default)s)"
    )
    parser.add_argument("-t", "--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument(
        "--pairs", type=int, default=5, metavar="N", help="turns of each engine (%(default)s)"
    )
    parser.add_argument("--llama-python", default=sys.executable, metavar="PATH", help="has llama_cpp")
    parser.add_argument("--no-repack", dest="repack", action="store_false",
                        help="llama.cpp without its repacked weights and AMX")  # fmt: skip
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), metavar="ENGINE",
                        help="only these: nybble, llama.cpp")  # fmt: skip
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--worker", choices=ENGINES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        sizes = (args.models[0], args.prompt, args.decode, args.threads[0])
        turn = run_nybble(*sizes) if args.worker == "nybble" else run_llama_cpp(*sizes, args.repack)
        print(json.dumps(asdict(turn)))
        return
    from nybble.hub.models import resolve

    paths = [str(resolve(model)) for model in args.models]
    rows = [compare(path, n_threads, args) for path in paths for n_threads in args.threads]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table([COLUMNS, *table(rows)], args.markdown)


if __name__ == "__main__":
    main()
