"""Makes the extracts of `data/golden/` from full recordings of llama.cpp.

    python tests/tools/extract_golden.py FOLDER        with smollm2-135m-q4_1.npz and gemma3-270m-q4_k_m.npz

The recordings were made with llama-cpp-python 0.3.36 (its bundled llama.cpp, CPU, two threads, one batch), on
the two files whose hashes are in `hub/models.py`. They hold the logits of the whole vocabulary, 5.5 MB in
all; an extract holds the most probable tokens alone, with the probability of all others as one bucket.

An extract, NAME.npz:

    text      (5,) str: the prompts        passage   () str
    ids_I     (n,) int32: prompt I with special tokens parsed, and BOS where the file asks for it
    greedy_I  (32,) int32: the ids that llama.cpp goes on with
    top       (5, TOP) int32: the most probable next tokens of each prompt, the most probable first
    log_p     (5, TOP) float32: their log-probabilities
    nll_ids   (m,) int32: the passage      nll       (m - 1,) float32: of each id but the first, in nats
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[1] / "data" / "golden"
TOP = 1024
RECORDINGS = {"smollm2": "smollm2-135m-q4_1.npz", "gemma3": "gemma3-270m-q4_k_m.npz"}


def extract(path: Path) -> dict[str, NDArray]:
    """What is kept of the recording `path`."""
    with np.load(path) as full:
        kept = {name: full[name] for name in ("passage", "nll_ids", "nll")}
        kept["text"] = np.array([str(full[f"p{i}_text"]) for i in range(5)])
        top, log_p = [], []
        for i in range(5):
            kept[f"ids_{i}"], kept[f"greedy_{i}"] = full[f"p{i}_ids"], full[f"p{i}_greedy"]
            logits = full[f"p{i}_logits"].astype(np.float64)
            most = np.argsort(-logits, kind="stable")[:TOP]
            top.append(most.astype(np.int32))
            log_p.append((logits - np.logaddexp.reduce(logits))[most].astype(np.float32))
    return kept | {"top": np.stack(top), "log_p": np.stack(log_p)}


def main(folder: str) -> None:
    for name, recording in RECORDINGS.items():
        out = FOLDER / f"{name}.npz"
        np.savez_compressed(out, **extract(Path(folder) / recording))
        print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
