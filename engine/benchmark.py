"""Measuring a model on this machine: prefill, decode, and what its memory could feed it."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..gguf_io.errors import RequestError
from ..kernels.stream import WORDS, bind_stream
from .llm import LLM
from .memory import aligned_zeros
from .team import Program, Team

_STREAM_BYTES = 256 << 20  # beyond any cache


@dataclass(frozen=True)
class Benchmark:
    """What `measure` found; speeds are medians of the repetitions."""

    model: str
    executor: str
    n_threads: int
    n_prompt: int
    n_decode: int
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    load_seconds: float
    compile_seconds: float
    weight_bytes_per_token: int
    decode_bandwidth_gb_per_second: float
    """Bytes of weights read in a second of decoding, in 1e9 bytes."""
    stream_bandwidth_gb_per_second: float
    """What as many threads read of a large array, measured in the same run."""
    peak_memory_bytes: int | None
    """Of the process, until the model was measured; None where the system does not tell."""


def measure(llm: LLM, n_prompt: int, n_decode: int, repetitions: int = 3) -> Benchmark:
    """Runs `n_prompt` random tokens at once, then `n_decode` more one by one; after a warm-up, several times.

    No sampling and no text: this is the engine alone, as in llama.cpp's llama-bench.
    """
    for name, value in (("-p", n_prompt), ("-n", n_decode), ("repetitions", repetitions)):
        if value < 1:
            raise RequestError(f"{name} must be at least 1, not {value}")
    if n_prompt + n_decode > llm.n_ctx:
        raise RequestError(f"{n_prompt} + {n_decode} tokens do not fit in n_ctx={llm.n_ctx}")
    llm.require_generation()
    ids = random_ids(llm.config.n_vocab, n_prompt + n_decode)
    _time(llm, ids[: min(n_prompt, 32) + 2], min(n_prompt, 32))
    runs = [_time(llm, ids, n_prompt) for _ in range(repetitions)]
    peak = peak_memory()  # before the large array of the stream measurement
    decode_speed = n_decode / statistics.median(decode for _, decode in runs)
    return Benchmark(
        model=str(llm.path),
        executor=llm.executor,
        n_threads=llm.n_threads,
        n_prompt=n_prompt,
        n_decode=n_decode,
        prefill_tokens_per_second=n_prompt / statistics.median(prefill for prefill, _ in runs),
        decode_tokens_per_second=decode_speed,
        load_seconds=llm.load_seconds,
        compile_seconds=llm.compile_seconds,
        weight_bytes_per_token=llm.weight_bytes_per_token,
        decode_bandwidth_gb_per_second=llm.weight_bytes_per_token * decode_speed / 1e9,
        stream_bandwidth_gb_per_second=stream_bandwidth(llm.n_threads) / 1e9,
        peak_memory_bytes=peak,
    )


def _time(llm: LLM, ids: list[int], n_prompt: int) -> tuple[float, float]:
    """The seconds for the first `n_prompt` of `ids`, and for the others one by one."""
    sequence = object()
    with llm.context.exclusive():
        started = time.perf_counter()
        llm.context.last_logits(sequence, ids[:n_prompt])
        prefilled = time.perf_counter()
        for n in range(n_prompt + 1, len(ids) + 1):
            llm.context.last_logits(sequence, ids[:n])
        return prefilled - started, time.perf_counter() - prefilled


def random_ids(n_vocab: int, n: int) -> list[int]:
    """The same `n` ids for everyone who measures."""
    ids: list[int] = np.random.default_rng(0).integers(0, n_vocab, n).tolist()
    return ids


def stream_bandwidth(n_threads: int, repetitions: int = 5) -> float:
    """Bytes a second that `n_threads` threads read of an array larger than the caches: the best of a few."""
    data = aligned_zeros((_STREAM_BYTES // 4,), np.int32)
    data.fill(1)  # pages that were never written all share one page of zeros, which is read from the cache
    totals = aligned_zeros((n_threads, WORDS), np.int32)
    team = Team(Program([bind_stream(data, totals)], [True]), n_threads)
    try:
        return _STREAM_BYTES / min(_seconds(lambda: team.run(0, 1)) for _ in range(repetitions))
    finally:
        team.close()


def peak_memory() -> int | None:
    """The largest resident size that this process has had, in bytes."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
