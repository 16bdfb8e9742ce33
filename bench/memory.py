"""Where the memory of a process goes that runs a model: what is resident after each step (Linux).

    python bench/memory.py smollm2 gemma3 --markdown

Each model gets a process of its own, which does what `compare_llama_cpp.py` measures: it loads the model,
runs a prompt in one go and then single tokens. If kernels have yet to be compiled that is done first, as
compiling takes memory too.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from table import print_table

PARTS = (
    "Python",
    "NumPy",
    "nybble's modules",
    "packed weights",
    "vocabulary, tokenizer, kernels",
    "keys and values, activations",
)


def resident_mb() -> float:
    """What is resident now, in 1e6 bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("/proc/self/status does not say what is resident")


def marks(model: str, n_prompt: int, n_decode: int, n_threads: int) -> list[float]:
    """Megabytes resident at the start, with NumPy, with nybble, with the model, and at the most; to be called
    in a process that has imported nothing."""
    found = [resident_mb()]
    import numpy  # noqa: F401

    found.append(resident_mb())
    from nybble.engine.benchmark import SpeedTest, measure
    from nybble.engine.llm import LLM

    found.append(resident_mb())
    with LLM(model, n_ctx=n_prompt + n_decode, n_threads=n_threads) as llm:
        found.append(resident_mb())
        tests = [SpeedTest("prefill", n_prompt), SpeedTest("decode", n_decode, n_prompt)]
        peak = measure(llm, tests, repetitions=1).peak_memory_bytes
    return [*found, (peak or 0) / 1e6]


def parts(model: str, args: argparse.Namespace) -> list[float]:
    """The megabytes of each of `PARTS`."""
    from nybble.engine.executors.numba.footprint import footprint
    from nybble.engine.model import Model

    command = [sys.executable, __file__, model, "--worker"]
    command += ["-p", str(args.prompt), "-n", str(args.decode), "-t", str(args.threads)]
    for _ in range(2):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    python, numpy, modules, loaded, peak = json.loads(done.stdout)
    file = Model.load(model)
    weights = footprint(file.plan, args.prompt + args.decode).weights / 1e6
    file.close()
    return [python, numpy - python, modules - numpy, weights, loaded - modules - weights, peak - loaded]


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
    parser.add_argument("-t", "--threads", type=int, default=2, metavar="N")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        print(json.dumps(marks(args.models[0], args.prompt, args.decode, args.threads)))
        return
    from nybble.hub.models import resolve

    paths = [str(resolve(model)) for model in args.models]
    columns = [parts(path, args) for path in paths]
    rows = [("MB", *(Path(path).stem for path in paths))]
    for name, *values in zip((*PARTS, "peak"), *([*column, sum(column)] for column in columns), strict=True):
        rows.append((name, *(f"{value:.0f}" for value in values)))
    print_table(rows, args.markdown)


if __name__ == "__main__":
    main()
