"""Record the logits of every model that the tests have, as hashes, to see that a change keeps every bit.

    python tests/tools/record_logits.py before.txt
    python tests/tools/record_logits.py after.txt           # on the changed code
    diff before.txt after.txt

Each line has the hash, the model, the kind of processor and the number of threads:

    6f2c1e5d0a9b8c7d  formats/Q4_K  avx2  2

The logits are those after each token of a prompt as a whole, then after single tokens; of encoders their
embeddings. Models are the real ones (`smollm2`, `gemma3`), those of every architecture (`architectures/NAME`,
and `archs/NAME` from the shared folder), of every block format (`formats/NAME`), and experts in block formats
(`experts/NAME`). Kinds are the dot products that this machine has, older processors, and `reference`, the
executor in NumPy, whose sums are those of the BLAS at hand. For a model that cannot be run, the name of its
error takes the place of the hash.

`--kinds`, `--threads` and `--only` choose some of them. The package is the one that Python finds: set
PYTHONPATH to record another. A kind takes about two minutes of processor time, most of it for compiling, and
all of them a quarter of an hour on a quiet machine.
"""

import argparse
import fnmatch
import hashlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1] / "models"))

import architecture_fixtures
import format_model
import numpy as np
import shared_files
from numpy.typing import NDArray
from processors import kinds_of_this_machine

import nybble
from nybble.gguf_io.formats import SUPPORTED

N_PROMPT, N_SINGLE = 37, 16
N_CTX = 64
FORMATS = {format.name: format for format in SUPPORTED}


def names() -> list[str]:
    """The names of all models."""
    shared = (shared_files.ROOT / "archs").glob("*.gguf")
    return [
        *sorted(f"archs/{path.stem}" for path in shared),
        *(f"architectures/{name}" for name in architecture_fixtures.NAMES),
        *(f"experts/{name}" for name in architecture_fixtures.MIXED),
        *(f"formats/{name}" for name in FORMATS),
        "gemma3",
        "smollm2",
    ]


def model(name: str, folder: Path) -> Path | str:
    """What `nybble.LLM` takes for a name; where there is no file yet, it is written into the folder."""
    group, _, rest = name.partition("/")
    path = folder / "model.gguf"
    match group:
        case "archs":
            return shared_files.ROOT / "archs" / f"{rest}.gguf"
        case "architectures":
            return architecture_fixtures.write(path, architecture_fixtures.description(rest))
        case "experts":
            made, formats = architecture_fixtures.description(rest), architecture_fixtures.MIXED[rest]
            return architecture_fixtures.write(path, made, formats)
        case "formats":
            return format_model.write(path, FORMATS[rest])
    return name


def logits(llm: nybble.LLM, n_single: int = N_SINGLE) -> Iterator[NDArray[np.float32]]:
    """After each token of a prompt, (N_PROMPT, n_vocab), then after each single one, (n_vocab,); of a model
    without logits the embeddings (N_PROMPT, n_embd), and the scores of its classifier."""
    ids = np.random.default_rng(8).integers(0, llm.config.n_vocab, N_PROMPT + n_single).tolist()
    prompt = ids[:N_PROMPT]
    if "logits" not in llm.activations:
        yield llm.embed(prompt, pooling="none", normalize=False)
        with suppress(nybble.RequestError):
            yield llm.classify(prompt)
        return
    yield llm.logits(prompt)
    with suppress(nybble.RequestError):
        llm.require_generation()
        sequence = llm.sequence(prompt)
        sequence.run()
        for token_id in ids[N_PROMPT:]:
            sequence.append(token_id)
            yield sequence.logits


def short_hash(parts: Iterable[bytes]) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def record(kind: str, names: list[str], threads: list[int]) -> list[tuple[str, str, int, str]]:
    """(model, kind, threads, hash) for each; in a process whose environment makes it that kind."""
    executor = "numba"
    if kind == "reference":  # its threads are those of the BLAS
        executor, threads = "reference", threads[:1]
    found = []
    started = time.monotonic()
    for i, name in enumerate(names, 1):
        with TemporaryDirectory() as folder:
            path = model(name, Path(folder))
            for n_threads in threads:
                try:
                    with nybble.LLM(path, n_ctx=N_CTX, n_threads=n_threads, executor=executor) as llm:
                        result = short_hash(part.tobytes() for part in logits(llm))
                except nybble.NybbleError as error:
                    result = type(error).__name__
                found.append((name, kind, n_threads, result))
        print(f"{kind} {i}/{len(names)} {name} {time.monotonic() - started:.0f} s", file=sys.stderr)
    return found


def main() -> None:
    kinds = kinds_of_this_machine() | {"reference": {}}
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("outfile", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=[*kinds])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--only", metavar="PATTERN", default="*", help='such as "formats/*"')
    args = parser.parse_args()
    chosen = fnmatch.filter(names(), args.only)
    print(f"{Path(nybble.__file__).parent}: {len(chosen)} models", file=sys.stderr)
    found = []
    for kind in args.kinds:
        os.environ.update(kinds[kind])
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            found += pool.submit(record, kind, chosen, args.threads).result()
        for name in kinds[kind]:
            del os.environ[name]
    lines = [f"{result}  {name}  {kind}  {n}\n" for name, kind, n, result in sorted(found)]
    args.outfile.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
