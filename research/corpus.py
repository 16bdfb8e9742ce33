"""Activations of a whole corpus, in files of a bounded size: what sparse autoencoders are trained on.

A folder of shards `00000.npz`, `00001.npz` …, each with `ids` (n,) int32, `text` (n,) int64 (the number of
each token's text) and one array (n, width) float16 or float32 for each activation. A shard appears only when
it is complete; a run that was cut short goes on with the first that is missing or damaged.
"""

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..engine.llm import LLM
from ..engine.prompt import Prompt
from ..gguf_io.errors import RequestError

_SETTINGS = "settings.json"


def capture_corpus(
    llm: LLM,
    texts: Sequence[Prompt],
    capture: str | Sequence[str],
    folder: str | os.PathLike[str],
    *,
    texts_per_shard: int = 64,
    dtype: Literal["float16", "float32"] = "float16",
    progress: Callable[[range], Iterable[int]] = iter,
) -> list[Path]:
    """Runs every text and writes the activations that `capture` names (as in `LLM.trace`) to `folder`;
    -> the shards. In memory is one shard at a time. `progress` may wrap the range of shards (`tqdm`).

    Shards that are there and whole are kept. Raises RequestError if the folder holds a capture with other
    settings, for values that float16 cannot hold, and as `LLM.trace`.
    """
    if texts_per_shard < 1:
        raise RequestError(f"texts_per_shard must be at least 1, not {texts_per_shard}")
    if dtype not in ("float16", "float32"):
        raise RequestError(f'dtype must be "float16" or "float32", not {dtype!r:.100}')
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    names = [capture] if isinstance(capture, str) else list(capture)
    _claim(place, {
        "model": llm.path.name,
        "capture": names,
        "n_texts": len(texts),
        "texts_per_shard": texts_per_shard,
        "dtype": dtype,
    })  # fmt: skip
    n_shards = -(-len(texts) // texts_per_shard)
    shards = [place / f"{number:05}.npz" for number in range(n_shards)]
    for number in progress(range(n_shards)):
        if not _is_whole(shards[number]):
            first = number * texts_per_shard
            arrays = _run(llm, texts[first : first + texts_per_shard], first, names, np.dtype(dtype))
            _write(shards[number], arrays)
    return shards


def _run(
    llm: LLM, texts: Sequence[Prompt], first: int, names: list[str], dtype: np.dtype[Any]
) -> dict[str, NDArray[Any]]:
    traces = [llm.trace(text, names, logits=None) for text in texts]
    arrays: dict[str, NDArray[Any]] = {
        "ids": np.concatenate([trace.ids for trace in traces]),
        "text": np.repeat(np.arange(first, first + len(traces)), [len(trace.ids) for trace in traces]),
    }
    for name in traces[0]:
        if traces[0][name].ndim != 2:
            raise RequestError(f"{name} is as wide as each text is long; a shard cannot hold it")
        with np.errstate(over="ignore"):
            arrays[name] = np.concatenate([trace[name] for trace in traces]).astype(dtype)
        if not np.isfinite(arrays[name]).all():
            raise RequestError(f'{name} has values that {dtype} cannot hold; use dtype="float32"')
    return arrays


def _claim(place: Path, settings: dict[str, Any]) -> None:
    """Writes the settings, or compares them with those of the capture that is there."""
    path = place / _SETTINGS
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))
        if there != settings:
            raise RequestError(
                f"{place} holds another capture, {there}; take another folder than for {settings}"
            )
        return
    path.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _is_whole(path: Path) -> bool:
    """Is this a shard, with the checksums of all its arrays right?"""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (FileNotFoundError, zipfile.BadZipFile, EOFError):
        return False


def _write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    partial = path.with_suffix(".partial")
    try:
        with open(partial, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
