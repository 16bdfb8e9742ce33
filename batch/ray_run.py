"""A file of requests over a Ray cluster: by `ray.data`, with a pool of actors that have the model.

Segments of the file, some lines each, are read on the machine where the file is, and answered by whichever
actor is free. What is lost with an actor or a node is done again, and the results are written here, in order.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

from ..engine.embedding.embedder import Pooling
from ..engine.llm import LLM
from ..errors import ModelError, NybbleError
from ..server.wire.json_body import dumped
from ..server.work.settings import Settings
from .answerer import Answer, Answerer
from .lines import Line, lines
from .results import Results
from .run import BatchSummary, paths_of, skip_kept, summary

try:
    import pyarrow
    import ray
    import ray.data
    import ray.exceptions
    from ray.data.block import BlockMetadata
except ImportError as error:
    raise NybbleError(f'batches on Ray need ray: pip install "nybble[ray]" ({error})') from error

_SEGMENT_LINES, _SEGMENT_BYTES = 32, 16_000_000
_AT_ONCE = 4
"""How many segments an actor answers at a time: lines of the next go on beside a long one."""
_LINE_BYTES = Settings().body_max


def run_batch_on_ray(
    model: str | os.PathLike[str],
    requests: str | os.PathLike[str],
    results: str | os.PathLike[str],
    *,
    address: str | None = None,
    pooling: Pooling | None = None,
    n_workers: int | None = None,
    on_progress: Callable[[int], object] = lambda n_bytes: None,
    **options: Any,
) -> BatchSummary:
    """Answers the requests in a file, as `run_batch` does, by the nodes of a Ray cluster.

    `model` and `options` are what `LLM` takes; each node must have the model under this name or path, or be
    able to fetch it. `address`: that of the cluster, as `ray.init` takes it; None: the one of $RAY_ADDRESS,
    or a new one on this machine. `n_workers`: how many models are loaded at the most; default: one for each
    node that has CPUs.

    The results are the same to the byte as `run_batch`'s, and each goes on with what the other has begun.
    When a worker or its node dies, the lines that it had are done again by others.

    Raises what `run_batch` raises, and NybbleError if the cluster fails.
    """
    requests, results = paths_of(requests, results)
    started = time.perf_counter()
    counts: Counter[str] = Counter()
    asked = {"model": os.fspath(model), "pooling": pooling, "options": options}
    with open(requests, "rb") as file, Results(results) as out, _cluster(address):
        key = ray.get(ray.remote(num_cpus=1)(_key).remote(**asked))
        todo = lines(file, _LINE_BYTES)
        skip_kept(todo, out, key, on_progress)
        segments = _segments(file, todo)
        for row in _answers(os.path.abspath(requests), segments, {**asked, "key": key}, n_workers):
            if row["problem"]:
                raise ModelError(row["problem"])
            out.write_json(row["result"])
            counts.update(requests=1, failed=row["is_failed"], generated=row["n_generated"])
            on_progress(row["n_bytes"])
        out.finish()
    return summary(out, counts, started)


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    """Joins a cluster, unless this process has; what goes wrong with it is a NybbleError."""
    has_joined = ray.is_initialized()
    before = ray.data.DataContext.get_current()
    context = before.copy()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    try:
        if not has_joined:
            ray.init(address, logging_level=logging.WARNING, log_to_driver=False)
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        with ray.data.DataContext.current(context):
            yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, NybbleError | OSError):
            raise error.cause from None
        raise NybbleError(f"a task on the cluster has failed: {error}") from error
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise NybbleError(
            f"the Ray cluster has failed; the same command goes on with what is done ({error})"
        ) from error
    finally:
        if not has_joined:
            ray.shutdown()


def _key(model: str, pooling: Pooling | None, options: Mapping[str, Any]) -> bytes:
    """What determines answers beside the lines, as a node of the cluster finds it."""
    with LLM(model, **options) as llm:
        answerer = Answerer(llm, pooling)
        answerer.close()
        return answerer.key


def _segments(file: BinaryIO, todo: Iterator[Line]) -> tuple[array[int], array[int]]:
    """Where the segments of the lines that are left begin in the file, and how many lines each has."""
    starts, counts = array("q"), array("q")
    start, n_lines = file.tell(), 0
    for _ in todo:
        n_lines += 1
        if n_lines == _SEGMENT_LINES or file.tell() - start >= _SEGMENT_BYTES:
            starts.append(start)
            counts.append(n_lines)
            start, n_lines = file.tell(), 0
    if n_lines:
        starts.append(start)
        counts.append(n_lines)
    return starts, counts


class _File(ray.data.Datasource):
    """The segments of a file, a block each."""

    def __init__(self, path: str, segments: tuple[array[int], array[int]]) -> None:
        super().__init__()
        self._path, self._segments = path, segments

    def estimate_inmemory_data_size(self) -> int | None:
        """Unknown: not so much as would matter."""
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: object = None
    ) -> list[ray.data.ReadTask]:
        """A task for each segment."""
        return [
            ray.data.ReadTask(
                partial(_read, self._path, start, n),
                BlockMetadata(num_rows=n, size_bytes=None, exec_stats=None, input_files=None),
            )
            for start, n in zip(*self._segments, strict=True)
        ]


def _read(path: str, start: int, n_lines: int) -> list[pyarrow.Table]:
    with open(path, "rb") as file:
        file.seek(start)
        found = list(islice(lines(file, _LINE_BYTES), n_lines))
    columns = {name: [getattr(line, name) for line in found] for name in Line._fields}
    return [pyarrow.table(columns)]


def _answers(
    path: str, segments: tuple[array[int], array[int]], asked: dict[str, Any], n_workers: int | None
) -> Iterator[dict[str, Any]]:
    """The rows that `_Worker` gives for all lines, in their order."""
    n_segments = len(segments[0])
    if not n_segments:
        return
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    n_max = max(1, min(n_segments, n_workers or len(nodes)))
    data = ray.data.read_datasource(
        _File(path, segments),
        override_num_blocks=n_segments,
        num_cpus=0,
        label_selector=here,
    ).map_batches(
        _Worker,
        fn_constructor_kwargs=asked,
        batch_size=None,  # a segment as it is
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(
            min_size=1,
            max_size=n_max,
            initial_size=n_max,
            max_concurrent_calls_per_actor=_AT_ONCE,
            max_tasks_in_flight_per_actor=2 * _AT_ONCE,
            enable_true_multi_threading=True,
        ),
        num_cpus=1,  # more would leave no place for one that comes in the place of a dead one
    )
    for block in data.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from block.to_pylist()


class _Worker:
    """An actor's model. What is wrong with it is told in a row: Ray would try an exception again."""

    def __init__(self, model: str, pooling: Pooling | None, options: Mapping[str, Any], key: bytes) -> None:
        self._problem = ""
        try:
            self._answerer = Answerer(LLM(model, **options), pooling)
            if self._answerer.key != key:
                self._problem = f"{platform.node()} has another {model}, or another version of nybble"
        except (NybbleError, OSError, MemoryError) as error:
            self._problem = f"{platform.node()}: {error!r}"
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def __call__(self, segment: pyarrow.Table) -> pyarrow.Table:
        """A row for each line: the answer as JSON and what is counted of it, and the bytes of the line."""
        asked = [Line(**row) for row in segment.to_pylist()]
        answers: list[Answer] = []
        try:
            if not self._problem:
                answers = asyncio.run_coroutine_threadsafe(self._answered(asked), self._loop).result()
        except (NybbleError, OSError, MemoryError) as error:
            self._problem = f"{platform.node()}: {error!r}"
        if self._problem:
            answers = [Answer({})] * len(asked)
        return pyarrow.table(
            {
                "result": [dumped(answer.result) for answer in answers],
                "is_failed": [answer.is_failed for answer in answers],
                "n_generated": [answer.n_generated for answer in answers],
                "n_bytes": [line.n_bytes for line in asked],
                "problem": [self._problem] * len(asked),
            }
        )

    async def _answered(self, asked: list[Line]) -> list[Answer]:
        return await asyncio.gather(*map(self._answerer.answer, asked))
