"""Activations of a whole corpus, in files of a bounded size, as sparse autoencoders are trained on.

A folder has shards `00000`, `00001` …, each with `ids` (n,) int32, `text` (n,) int64 (the number of each
token's text) and one array (n, width) float16 or float32 for each activation; see `shards.py`. A shard
appears only when it is complete; an interrupted run continues with the first that is missing or damaged.

With the dtype "auto" an activation is float32 in all shards if any of its values in the corpus is out of the
range of float16, and else float16, wherever the run was interrupted. `settings.json` has the dtypes so far.
When such a value comes late, the shards before it are run again, from their own ids.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..engine.generation.prompt import Prompt
from ..engine.hooks.activations import find_activations
from ..engine.llm import LLM
from ..errors import ModelError, RequestError
from ..system.atomic_file import PARTIAL, remove
from ..system.free_memory import free_memory
from .shards import Form, dtypes_of, ids_of_whole, read_texts, shard_path, write_json, write_shard

DEFAULT_SHARD_BYTES = 256 << 20
Dtype = Literal["auto", "float16", "float32"]

_log = logging.getLogger(__name__)

_SETTINGS = "settings.json"
_TOKENS_AT_ONCE = 4096  # of texts that run side by side: more gain nothing
_FLOAT16_END = 65520  # from here on values round to infinity


class _Dtypes:
    """The dtype of each activation in the shards; `save` is called when one changes."""

    def __init__(self, dtype: Dtype, names: Iterable[str], save: Callable[[dict[str, str]], None]) -> None:
        self._dtype = dtype
        self._save = save
        self.of: dict[str, str] = dict.fromkeys(names, "float16" if dtype == "auto" else dtype)

    @property
    def in_memory(self) -> np.dtype[Any]:
        """The dtype of a shard that is being filled: with "auto" any activation may still become float32."""
        return np.dtype("float32" if self._dtype == "auto" else self._dtype)

    def hold(self, name: str, value: NDArray[np.float32]) -> None:
        """Changes the dtype if it cannot hold these finite values; RequestError if it must not change."""
        largest = np.abs(value).max()
        if self.of[name] == "float32" or largest < _FLOAT16_END:
            return
        if self._dtype != "auto":
            raise RequestError(
                f"{name} reaches {largest:.6g}, which float16 cannot hold; it ends at 65504; use"
                ' dtype="float32" or "auto"'
            )
        self.of[name] = "float32"
        self._save(self.of)


class _Shard:
    """A shard that is being filled; if it exists already, only its ids are compared."""

    def __init__(self, llm: LLM, path: Path, n_max: int, widths: Mapping[str, int], dtypes: _Dtypes) -> None:
        self.path = path
        self._llm = llm
        self._n_max = n_max
        self._dtypes = dtypes
        self._there = ids_of_whole(path)
        if self._there is not None and dtypes_of(path) != dtypes.of:
            self._there = None
        self._texts: list[NDArray[np.int32]] = []
        self._numbers: list[int] = []
        self._n_rows = self._n_run = 0
        self._waiting: list[tuple[int, NDArray[np.int32]]] = []
        self._arrays: dict[str, NDArray[Any]] = {}
        if self._there is None:
            dtype = dtypes.in_memory
            _check_memory(dtype.itemsize * n_max * sum(widths.values()))
            self._arrays = {name: np.empty((n_max, width), dtype) for name, width in widths.items()}

    def fits(self, ids: NDArray[np.int32]) -> bool:
        return self._n_rows + len(ids) <= self._n_max

    def add(self, number: int, ids: NDArray[np.int32]) -> None:
        """Adds a text; it runs with others, or when the shard is finished."""
        if self._n_rows - self._n_run + len(ids) > _TOKENS_AT_ONCE:
            self._run()
        self._n_rows += len(ids)
        self._texts.append(ids)
        self._numbers.append(number)
        self._waiting.append((number, ids))

    def finish(self) -> Path:
        """Writes the shard, or compares its ids with those of the file; -> its path."""
        self._run()
        ids = np.concatenate(self._texts)
        if self._there is None:
            texts = np.repeat(self._numbers, [len(text) for text in self._texts]).astype(np.int64)
            filled = {
                name: self._arrays.pop(name)[: self._n_rows].astype(dtype, copy=False)
                for name, dtype in self._dtypes.of.items()
            }
            write_shard(self.path, {"ids": ids, "text": texts, **filled})
        elif not np.array_equal(self._there, ids):
            raise RequestError(f"{self.path} holds activations of other texts; take another folder")
        return self.path

    def _run(self) -> None:
        """Runs the texts that wait."""
        texts, self._waiting = self._waiting, []
        if self._there is None and texts:
            traces = self._llm.trace([ids for _, ids in texts], list(self._arrays), logits=None)
            for (number, ids), trace in zip(texts, traces, strict=True):
                self._take(number, ids, trace)
        self._n_run = self._n_rows

    def _take(self, number: int, ids: NDArray[np.int32], trace: Mapping[str, NDArray[np.float32]]) -> None:
        rows = slice(self._n_run, self._n_run + len(ids))
        self._n_run = rows.stop
        for name, value in trace.items():
            if not np.isfinite(value).all():
                position = int(np.argwhere(~np.isfinite(value))[0, 0])
                raise ModelError(
                    f"{self._llm.path}: {name} is NaN or infinite at position {position} of text {number}"
                    + self._llm.scheduler.cause_of_nan(ids, position)
                )
            self._dtypes.hold(name, value)
            self._arrays[name][rows] = value


def capture_corpus(
    llm: LLM,
    texts: Iterable[Prompt],
    capture: str | Sequence[str],
    folder: str | os.PathLike[str],
    *,
    dtype: Dtype = "auto",
    form: Form = "npz",
    shard_bytes: int = DEFAULT_SHARD_BYTES,
    progress: Callable[[Iterable[Prompt]], Iterable[Prompt]] = iter,
) -> list[Path]:
    """Runs every text and writes the activations that `capture` names (as in `LLM.trace`) to `folder`;
    -> the paths of the shards.

    `texts` may be a generator of any length: memory holds one shard, of whole texts and at most `shard_bytes`
    (or of one longer text), and the activations of those that run side by side, 4,096 tokens or one longer
    text. `progress` may wrap the texts (`tqdm`).

    `dtype`: "auto" stores activations with values out of the range of float16 as float32, in all shards, and
    all others as float16; the size of a shard is counted as if all were float32.

    Complete shards of the same texts are kept. Raises RequestError if the folder holds another capture, if a
    shard takes more memory than is free (before its texts are run), for values that the dtype "float16"
    cannot hold, and what `LLM.trace` raises.
    """
    if dtype not in ("auto", "float16", "float32"):
        raise RequestError(f'dtype must be "auto", "float16" or "float32", not {dtype!r:.100}')
    if form not in ("npz", "npy"):
        raise RequestError(f'form must be "npz" or "npy", not {form!r:.100}')
    widths = _widths(llm, capture)
    row_bytes = (2 if dtype == "float16" else 4) * sum(widths.values())
    if not isinstance(shard_bytes, int) or shard_bytes < row_bytes:
        raise RequestError(
            f"a shard must hold at least one token, {row_bytes:,} bytes; not shard_bytes={shard_bytes!r:.100}"
        )
    place = Path(os.path.expanduser(folder))
    settings = {
        "model": llm.path.name,
        "model_bytes": llm.path.stat().st_size,
        "activations": list(widths),
        "dtype": dtype,
        "form": form,
        "shard_bytes": shard_bytes,
    }
    dtypes = _Dtypes(dtype, widths, lambda dtypes: _write_settings(place, settings, dtypes))
    shards: list[Path] = []
    written_as: list[dict[str, str]] = []
    shard: _Shard | None = None
    with _claimed(place, settings, dtypes):
        for number, text in enumerate(progress(texts)):
            ids = llm.prompt_ids(text)
            if shard is not None and not shard.fits(ids):
                shards.append(shard.finish())
                written_as.append(dict(dtypes.of))
                shard = None
            if shard is None:
                n_max = max(shard_bytes // row_bytes, len(ids))
                shard = _Shard(llm, shard_path(place, len(shards), form), n_max, widths, dtypes)
            shard.add(number, ids)
        if shard is not None:
            shards.append(shard.finish())
            written_as.append(dict(dtypes.of))
        if shard_path(place, len(shards), form).exists():
            raise RequestError(f"{place} holds more shards than these texts fill; take another folder")
        stale = [path for path, then in zip(shards, written_as, strict=True) if then != dtypes.of]
        _redo(llm, stale, widths, dtypes)
    return shards


def _redo(llm: LLM, stale: Sequence[Path], widths: Mapping[str, int], dtypes: _Dtypes) -> None:
    """Runs the texts of shards again that were written before an activation became float32."""
    if stale:
        wide = ", ".join(name for name, dtype in dtypes.of.items() if dtype == "float32")
        _log.warning("running %d shards again: float16 cannot hold later values of %s", len(stale), wide)
    for path in stale:
        texts = read_texts(path)
        shard = _Shard(llm, path, sum(len(ids) for _, ids in texts), widths, dtypes)
        for number, ids in texts:
            shard.add(number, ids)
        shard.finish()


def _widths(llm: LLM, capture: str | Sequence[str]) -> dict[str, int]:
    """The names of the activations to capture, with the number of values for a token."""
    names = [capture] if isinstance(capture, str) else list(capture)
    widths: dict[str, int] = {}
    for spec in (spec for name in names for spec in find_activations(llm.activations, name)):
        if spec.width is None:
            raise RequestError(f"{spec.name} is as wide as each text is long; a shard cannot hold it")
        widths[spec.name] = spec.width
    if not widths:
        raise RequestError("name at least one activation to capture")
    return widths


def _check_memory(n_bytes: int) -> None:
    free = free_memory()
    if free is not None and n_bytes > free:
        raise RequestError(
            f"a shard would take {n_bytes:,} bytes, but only {free:,} are free; lower `shard_bytes`"
        )


@contextmanager
def _claimed(place: Path, settings: dict[str, Any], dtypes: _Dtypes) -> Iterator[None]:
    """A context that makes the folder if it is missing, and reads the dtypes so far. After an error only
    complete shards and their settings are left."""
    made = [folder for folder in (place, *place.parents) if not folder.exists()]
    path = place / _SETTINGS
    is_new = not path.exists()
    try:
        place.mkdir(parents=True, exist_ok=True)
        for leftover in place.glob(f"[0-9]*{PARTIAL}"):
            remove(leftover)  # of a killed run
        dtypes.of |= _claim(place, settings, dtypes.of)
        yield
    except BaseException:
        if is_new and not _has_shards(place):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # not empty
            for folder in made:
                folder.rmdir()
        raise


def _has_shards(place: Path) -> bool:
    return any(place.glob("[0-9]*"))


def _claim(place: Path, settings: dict[str, Any], dtypes: dict[str, str]) -> dict[str, str]:
    """Writes the settings, or compares them with those of the folder if it has shards; -> the dtypes so
    far."""
    path = place / _SETTINGS
    if not _has_shards(place):
        _write_settings(place, settings, dtypes)
        return dtypes
    try:
        there = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RequestError(f"{path} is not what a capture has written: {error}") from error
    found = there if isinstance(there, dict) else {}
    different = [key for key in settings if found.get(key) != settings[key]]
    if different:
        raise RequestError(
            f"{place} holds another capture: "
            + "; ".join(f"`{key}` {found.get(key)!r:.100}, not {settings[key]!r:.100}" for key in different)
            + "; take another folder"
        )
    known = found.get("dtypes", dtypes)
    if not isinstance(known, dict) or any(known.get(name) not in ("float16", "float32") for name in dtypes):
        raise RequestError(f"{path} is not what a capture has written: dtypes is {known!r:.100}")
    return {name: known[name] for name in dtypes}


def _write_settings(place: Path, settings: dict[str, Any], dtypes: dict[str, str]) -> None:
    write_json(place / _SETTINGS, settings | {"dtypes": dtypes})
