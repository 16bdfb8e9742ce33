"""Counts and times of the server, as Prometheus reads them; names are those of vLLM."""

from __future__ import annotations

import bisect
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..engine.scheduler.stats import Stats
from .models.loader import Loader
from .work.engine_status import EngineStatus
from .work.usage import Usage

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)

_OUTCOMES = ("completed", "client_error", "busy", "cut", "failed")


_OF_MODELS: tuple[tuple[str, str, str, Callable[[Stats], float]], ...] = (
    ("kv_cache_usage_perc", "gauge", "Part of the pages that is in use, 0 to 1.", lambda s: s.cache_usage),
    ("num_preemptions_total", "counter", "Sequences that lost their seats.", lambda s: s.n_preemptions),
    (
        "prefix_cache_queries_total",
        "counter",
        "Tokens of prompts that were looked up.",
        lambda s: s.n_prefix_queries,
    ),
    (
        "prefix_cache_hits_total",
        "counter",
        "Of these, tokens that were computed before.",
        lambda s: s.n_prefix_hits,
    ),
    ("spec_decode_num_draft_tokens_total", "counter", "Tokens drafted.", lambda s: s.n_drafted),
    (
        "spec_decode_num_accepted_tokens_total",
        "counter",
        "Of these, tokens that were right.",
        lambda s: s.n_accepted,
    ),
    ("engine_steps_total", "counter", "Steps of the engine.", lambda s: s.n_steps),
    ("engine_tokens_total", "counter", "Tokens that have run in them.", lambda s: s.n_tokens),
)


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
        self._n_received = 0
        self._n_ended: Counter[str] = Counter(dict.fromkeys(_OUTCOMES, 0))
        self._n_requests: Counter[tuple[str, int]] = Counter()
        self._n_finished: Counter[str] = Counter()
        self._n_prompt = self._n_generated = 0
        self._first, self._gap, self._whole = Histogram(), Histogram(), Histogram()

    def has_come(self) -> None:
        """A request has come."""
        self._n_received += 1

    def count(self, path: str, status: int, is_whole: bool = True, has_failed: bool = False) -> None:
        """A request has ended: its answer had this status (0: nothing was sent) and was sent whole or not, or
        told in the middle that the server had failed. `path` is one of the known ones."""
        self._n_requests[path, status] += 1
        self._n_ended["failed" if has_failed else _outcome(status, is_whole)] += 1

    def add(self, usage: Usage) -> None:
        """A request that has used the model has ended."""
        self._n_prompt += usage.n_prompt
        self._n_generated += usage.n_generated
        self._n_finished.update(usage.finish_reasons or ["cancelled"])
        self._whole.add(time.perf_counter() - usage.began)
        if usage.first is not None:
            self._first.add(usage.first - usage.began)
        for gap in usage.gaps:
            self._gap.add(gap)

    def text(
        self,
        n_running: int,
        n_waiting: int,
        stats: Mapping[str, Stats],
        engines: Mapping[str, EngineStatus],
        models: Loader,
    ) -> str:
        """Everything, a line each; `stats` and `engines`: those of models, by their names."""
        lines: list[str] = []

        def single(name: str, kind: str, meaning: str, value: float) -> None:
            several(name, kind, meaning, [f"nybble:{name} {value:g}"])

        def several(name: str, kind: str, meaning: str, values: Iterator[str] | list[str]) -> None:
            lines.extend((f"# HELP nybble:{name} {meaning}", f"# TYPE nybble:{name} {kind}", *values))

        single("num_requests_running", "gauge", "Requests of which tokens come.", n_running)
        single("num_requests_waiting", "gauge", "Requests whose first token has not come.", n_waiting)
        single("http_requests_received_total", "counter", "Requests that came.", self._n_received)
        several(
            "http_requests_ended_total",
            "counter",
            "Requests that ended: answered whole, wrong, too many, given up by the client, or by a failure.",
            [
                f'nybble:http_requests_ended_total{{outcome="{outcome}"}} {n}'
                for outcome, n in self._n_ended.items()
            ],
        )
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
            rows = [f"nybble:{name}{_labels(key)} {value(each):d}" for key, each in engines.items()]
            if rows:
                several(name, kind, meaning, rows)
        single("requests_refused_total", "counter", "Requests that found the queue full.", self.n_refused)
        single("prompt_tokens_total", "counter", "Tokens of prompts.", self._n_prompt)
        single("generation_tokens_total", "counter", "Tokens that were generated.", self._n_generated)
        for name, kind, meaning, value_of in _OF_MODELS:
            several(
                name,
                kind,
                meaning,
                [f"nybble:{name}{_labels(model)} {value_of(own):g}" for model, own in stats.items()],
            )
        several(
            "kv_cache_pages",
            "gauge",
            "Pages of keys and values: in use, kept for the same beginnings, free.",
            [
                f"nybble:kv_cache_pages{_labels(model, state=state)} {n}"
                for model, own in stats.items()
                for state, n in (
                    ("used", own.n_pages_used),
                    ("cached", own.n_pages_cached),
                    ("free", own.n_pages_free),
                )
            ],
        )
        for name, meaning, histogram in (
            ("time_to_first_token_seconds", "From the request to its first token.", self._first),
            ("inter_token_latency_seconds", "Between the tokens of a request.", self._gap),
            ("e2e_request_latency_seconds", "From the request to its end.", self._whole),
        ):
            several(name, "histogram", meaning, histogram.lines(f"nybble:{name}"))
        single("models_loaded", "gauge", "Models in memory.", models.n_present)
        single("models_memory_bytes", "gauge", "What those take that may be unloaded.", models.n_bytes)
        single("model_loads_total", "counter", "Models that were loaded.", models.n_loads)
        single("model_load_failures_total", "counter", "Models that could not be loaded.", models.n_failed)
        single("model_unloads_total", "counter", "Models that were unloaded.", models.n_unloads)
        single("start_time_seconds", "gauge", "When the server started.", self._started)
        return "\n".join(lines) + "\n"


def _labels(model: str, **others: str) -> str:
    """As Prometheus has them."""
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, value in {"model_name": model, **others}.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"


def _outcome(status: int, is_whole: bool) -> str:
    if not is_whole:
        return "cut"
    if status < 400:
        return "completed"
    return "client_error" if status < 500 else "busy" if status == 503 else "failed"
