"""Answers a file of requests, many at a time, and writes the results in the order of the requests."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from ..engine.embedding.embedder import Pooling
from ..engine.llm import LLM
from ..engine.sampling.params import SamplingParams
from ..errors import ModelError, RequestError
from ..server.models.registry import Registry
from ..server.wire.errors import APIError, error_body, failed
from ..server.work.call import Call, Reply
from ..server.work.served_model import ServedModel
from ..server.work.settings import Settings
from ..server.work.usage import Usage
from .line_request import LineError, LineRequest
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
    requests, results = os.path.expanduser(requests), os.path.expanduser(results)
    if os.path.exists(results) and os.path.samefile(requests, results):
        raise RequestError("the results must not be written to the file of the requests")
    batch = _Batch(llm, pooling)
    started = time.perf_counter()
    with open(requests, "rb") as file, Results(results) as out:
        todo = lines(file, batch.settings.body_max)
        for kept in out.kept_ids():
            line = next(todo, None)
            if line is None or batch.id_of(line) != kept:
                raise RequestError(
                    f"{out.partial} has results of other requests, of another model or version (result"
                    f" {out.n_kept}); remove it to begin anew"
                )
            on_progress(line.n_bytes)
        _run(batch.answer_all(todo, out, on_progress))
        out.finish()
    counts = batch.counts
    return BatchSummary(
        n_requests=out.n_kept + counts["requests"],
        n_kept=out.n_kept,
        n_failed=counts["failed"],
        n_generated=counts["generated"],
        seconds=time.perf_counter() - started,
    )


@dataclass(eq=False)
class _Batch:
    """A model, and what has been counted of its answers."""

    llm: LLM
    pooling: Pooling | None
    settings: Settings = field(init=False)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        n_seq_max = self.llm.scheduler.executor.n_seq_max
        self.settings = Settings(n_seq_max=n_seq_max, n_waiting_max=1 << 30)
        by_file, usual = self.llm.default_sampling_params(), ServedModel("", self.llm).defaults
        defaults = usual if by_file == SamplingParams() else replace(by_file, max_tokens=usual.max_tokens)
        fingerprint = self.llm.fingerprint()
        self._model = ServedModel(self.llm.path.stem, self.llm, fingerprint, defaults, self.pooling)
        self._models = Registry.of([self._model])
        self._file = _identity(self.llm.path)
        template = self.llm.chat_template
        facts = (fingerprint, self._model.name, self.llm.n_ctx, self.pooling, template and template.source)
        self._key = hashlib.sha256(repr(facts).encode()).digest()

    def id_of(self, line: Line) -> str:
        """Says the request, and what determines its answer."""
        return f"batch_req_{hashlib.sha256(self._key + line.content).hexdigest()[:32]}"

    async def answer_all(self, todo: Iterator[Line], out: Results, on_progress: Callable[[int], Any]) -> None:
        """Answers and writes, in order. Of all lines so many are in memory as keep the model busy."""
        n_lines = _LINES_PER_SEQUENCE * self.settings.n_seq_max
        under_way: deque[tuple[Line, asyncio.Task[dict[str, Any]]]] = deque()
        n_bytes, is_end = 0, False
        try:
            while not is_end or under_way:
                while not is_end and len(under_way) < n_lines and n_bytes < self.settings.bodies_max:
                    if (line := next(todo, None)) is None:
                        is_end = True
                        break
                    n_bytes += len(line.content)
                    under_way.append((line, asyncio.create_task(self._result(line))))
                if under_way:
                    line, task = under_way[0]
                    out.write(await task)
                    under_way.popleft()
                    n_bytes -= len(line.content)
                    self.counts["requests"] += 1
                    on_progress(line.n_bytes)
        finally:
            for _, task in under_way:
                task.cancel()
            await asyncio.gather(*(task for _, task in under_way), return_exceptions=True)
            self._models.close()

    async def _result(self, line: Line) -> dict[str, Any]:
        """What is written for a line. Raises what has nothing to do with this line alone."""
        id = self.id_of(line)
        try:
            request = LineRequest.of(line)
        except LineError as wrong:
            self.counts["failed"] += 1
            error = {"code": wrong.error.code or "invalid_request", "message": wrong.error.message}
            return {"id": id, "custom_id": wrong.custom_id, "response": None, "error": error}
        status = 200
        try:
            body = await self._body(request, id)
        except (APIError, ModelError) as error:
            if isinstance(error, ModelError) and _identity(self.llm.path) != self._file:
                raise
            self.counts["failed"] += 1
            found = failed(error)
            status, body = found.status, error_body(found, request.url)
        response = {"status_code": status, "request_id": id.removeprefix("batch_"), "body": body}
        return {"id": id, "custom_id": request.custom_id, "response": response, "error": None}

    async def _body(self, request: LineRequest, id: str) -> Mapping[str, Any]:
        usage, digits = Usage(), id.rpartition("_")[2]
        call = Call(
            id=digits,
            path=request.url,
            fields=request.fields(seed=int(digits[:16], 16)),
            settings=self.settings,
            models=self._models,
            cache_salt=None,
            usage=usage,
            admit=lambda n_texts: None,
        )
        with call.at_end:
            reply = await request.handler(call)
        if not isinstance(reply, Reply):
            raise TypeError("a request of a batch is answered at once, and by no stream")
        self.counts["generated"] += usage.n_generated
        return _repeatable(reply.content)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Runs it to its end: in a thread of its own where an event loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


def _repeatable(body: dict[str, Any]) -> Mapping[str, Any]:
    """A body without what depends on the time, or on what else has run."""
    if "created" in body:
        body["created"] = 0
    body["usage"].pop("prompt_tokens_details", None)
    return body


def _identity(path: os.PathLike[str]) -> tuple[int, int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
