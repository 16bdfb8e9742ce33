"""Answers a file of requests, many at a time, and writes the results in the order of the requests."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..engine.embedding.embedder import Pooling
from ..engine.llm import LLM
from ..errors import RequestError
from .answerer import Answer, Answerer, result_id
from .lines import Line, lines
from .results import Results

_LINES_PER_SEQUENCE = 4
"""How many lines are under way for each sequence that runs: those behind a long one go on meanwhile."""


@dataclass(frozen=True)
class BatchSummary:
    """How a batch has gone. `n_kept` of the `n_requests` were answered by an earlier run, `n_failed` of the
    others have an error as their result."""

    n_requests: int
    n_kept: int
    n_failed: int
    n_generated: int
    """Tokens."""
    seconds: float


def run_batch(
    llm: LLM,
    requests: str | os.PathLike[str],
    results: str | os.PathLike[str],
    *,
    pooling: Pooling | None = None,
    on_progress: Callable[[int], object] = lambda n_bytes: None,
) -> BatchSummary:
    """Answers the requests in a file, by `llm`, and writes the results to another; the OpenAI API describes
    the lines of both.

    A request for "/v1/chat/completions", "/v1/completions" or "/v1/embeddings" is answered as the server
    does; the `model` in it is not looked at. What cannot be answered has an error as its result. A text whose
    seed is left to chance has one that follows from its line, so that the same requests have the same
    results, to the byte: `created` is 0, and cached tokens are not told.

    Until all is done the results are in a file with .partial after its name; after an interruption of any
    kind the same call goes on with it. `on_progress` is told the bytes of the requests that are done.

    Raises RequestError if the results are there already, or an earlier run was of other requests or another
    model; ModelError if the model's file has been changed; OSErrors and MemoryError as they come.
    """
    requests, results = paths_of(requests, results)
    answerer = Answerer(llm, pooling)
    started = time.perf_counter()
    counts: Counter[str] = Counter()
    with open(requests, "rb") as file, Results(results) as out:
        todo = lines(file, answerer.settings.body_max)
        skip_kept(todo, out, answerer.key, on_progress)
        _run(_answer_all(answerer, todo, out, counts, on_progress))
        out.finish()
    return summary(out, counts, started)


def paths_of(requests: str | os.PathLike[str], results: str | os.PathLike[str]) -> tuple[str, str]:
    """Both paths; RequestError if they are the same file."""
    requests, results = os.path.expanduser(requests), os.path.expanduser(results)
    if os.path.exists(results) and os.path.samefile(requests, results):
        raise RequestError("the results must not be written to the file of the requests")
    return requests, results


def skip_kept(todo: Iterator[Line], out: Results, key: bytes, on_progress: Callable[[int], object]) -> None:
    """Takes the lines from `todo` that an earlier run has answered; RequestError if it has not answered
    these, with the same model."""
    for kept in out.kept_ids():
        line = next(todo, None)
        if line is None or result_id(key, line) != kept:
            raise RequestError(
                f"{out.partial} has results of other requests, of another model or version (result"
                f" {out.n_kept}); remove it to begin anew"
            )
        on_progress(line.n_bytes)


def summary(out: Results, counts: Counter[str], started: float) -> BatchSummary:
    """How it has gone: `counts` has "requests", "failed" and "generated", and `started` is a time of
    `time.perf_counter`."""
    return BatchSummary(
        n_requests=out.n_kept + counts["requests"],
        n_kept=out.n_kept,
        n_failed=counts["failed"],
        n_generated=counts["generated"],
        seconds=time.perf_counter() - started,
    )


async def _answer_all(
    answerer: Answerer,
    todo: Iterator[Line],
    out: Results,
    counts: Counter[str],
    on_progress: Callable[[int], object],
) -> None:
    """Answers and writes, in order. Of all lines so many are in memory as keep the model busy."""
    settings = answerer.settings
    n_lines = _LINES_PER_SEQUENCE * settings.n_seq_max
    under_way: deque[tuple[Line, asyncio.Task[Answer]]] = deque()
    n_bytes, is_end = 0, False
    try:
        while not is_end or under_way:
            while not is_end and len(under_way) < n_lines and n_bytes < settings.bodies_max:
                if (line := next(todo, None)) is None:
                    is_end = True
                    break
                n_bytes += len(line.content)
                under_way.append((line, asyncio.create_task(answerer.answer(line))))
            if under_way:
                line, task = under_way[0]
                answer = await task
                out.write(answer.result)
                under_way.popleft()
                n_bytes -= len(line.content)
                counts.update(requests=1, failed=answer.is_failed, generated=answer.n_generated)
                on_progress(line.n_bytes)
    finally:
        for _, task in under_way:
            task.cancel()
        await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)
        answerer.close()


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Runs it to its end: in a thread of its own where an event loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
