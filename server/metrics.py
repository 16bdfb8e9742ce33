"""Counts and times of the server, as Prometheus reads them; names are those of vLLM."""

from __future__ import annotations

import bisect
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from .work.engine_status import EngineStatus
from .work.usage import Usage

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Histogram:
    """How many values lie below each of some bounds."""

    def __init__(self, bounds: Sequence[float] = _SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Counts a value."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> Iterator[str]:
        """As Prometheus has it."""
        n = 0
        for bound, count in zip(self._bounds, self._counts, strict=False):
            n += count
            yield f'{name}_bucket{{le="{bound:g}"}} {n}'
        n += self._counts[-1]
        yield f'{name}_bucket{{le="+Inf"}} {n}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {n}"


class Metrics:
    """All counts since the start."""

    def __init__(self) -> None:
        self.n_refused = 0
        self._started = time.time()
        self._n_requests: Counter[tuple[str, int]] = Counter()
        self._n_finished: Counter[str] = Counter()
        self._n_prompt = self._n_cached = self._n_generated = 0
        self._first, self._gap, self._whole = Histogram(), Histogram(), Histogram()

    def count(self, path: str, status: int) -> None:
        """A request has been answered; `path` is one of the known ones."""
        self._n_requests[path, status] += 1

    def add(self, usage: Usage) -> None:
        """A request that has used the model has ended."""
        self._n_prompt += usage.n_prompt
        self._n_cached += usage.n_cached
        self._n_generated += usage.n_generated
        self._n_finished.update(usage.finish_reasons or ["cancelled"])
        self._whole.add(time.perf_counter() - usage.began)
        if usage.first is not None:
            self._first.add(usage.first - usage.began)
        for gap in usage.gaps:
            self._gap.add(gap)

    def text(self, n_running: int, n_waiting: int, engines: Mapping[str, EngineStatus]) -> str:
        """Everything, a line each; `engines`: those of models, by their names."""
        lines: list[str] = []

        def single(name: str, kind: str, meaning: str, value: float) -> None:
            several(name, kind, meaning, [f"nybble:{name} {value:g}"])

        def several(name: str, kind: str, meaning: str, values: Iterator[str] | list[str]) -> None:
            lines.extend((f"# HELP nybble:{name} {meaning}", f"# TYPE nybble:{name} {kind}", *values))

        single("num_requests_running", "gauge", "Requests of which tokens come.", n_running)
        single("num_requests_waiting", "gauge", "Requests whose first token has not come.", n_waiting)
        several(
            "http_requests_total",
            "counter",
            "Requests by path and status.",
            [
                f'nybble:http_requests_total{{path="{path}",status="{status}"}} {n}'
                for (path, status), n in sorted(self._n_requests.items())
            ],
        )
        several(
            "request_success_total",
            "counter",
            "Texts by the reason why they ended.",
            [
                f'nybble:request_success_total{{finished_reason="{reason}"}} {n}'
                for reason, n in sorted(self._n_finished.items())
            ],
        )
        for name, kind, meaning, value in (
            ("engine_up", "gauge", "Is the engine of a model there?", lambda each: each.state == "ready"),
            ("restarts_total", "counter", "Engines that were started again.", lambda each: each.n_restarts),
        ):
            rows = [
                f'nybble:{name}{{model="{_label(key)}"}} {value(each):d}' for key, each in engines.items()
            ]
            if rows:
                several(name, kind, meaning, rows)
        single("requests_refused_total", "counter", "Requests that found the queue full.", self.n_refused)
        single("prompt_tokens_total", "counter", "Tokens of prompts.", self._n_prompt)
        single("generation_tokens_total", "counter", "Tokens that were generated.", self._n_generated)
        single(
            "prefix_cache_queries_total", "counter", "Tokens of prompts that were looked up.", self._n_prompt
        )
        single(
            "prefix_cache_hits_total",
            "counter",
            "Of these, tokens that were computed before.",
            self._n_cached,
        )
        for name, meaning, histogram in (
            ("time_to_first_token_seconds", "From the request to its first token.", self._first),
            ("inter_token_latency_seconds", "Between the tokens of a request.", self._gap),
            ("e2e_request_latency_seconds", "From the request to its end.", self._whole),
        ):
            several(name, "histogram", meaning, histogram.lines(f"nybble:{name}"))
        single("start_time_seconds", "gauge", "When the server started.", self._started)
        return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    """A text as Prometheus has it in quotes."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
