"""Measures a model on this machine: prefill, decode, and the bandwidth of memory."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import RequestError
from ..gguf_io.display import Shown
from ..kernels.roofline.bandwidth import WORDS, bind_bandwidth
from .executors.numba.storage.memory import aligned_zeros
from .executors.numba.team import Program, Team
from .llm import LLM

_READ_BYTES = 256 << 20  # beyond any cache
_WARM_UP = 32  # tokens at once

Phase = Literal["prefill", "decode"]


@dataclass(frozen=True)
class SpeedTest:
    """A test: tokens at once ("prefill") or one by one ("decode"), after `depth` tokens in the cache."""

    phase: Phase
    n_tokens: int
    depth: int = 0


@dataclass(frozen=True)
class Speed:
    """The seconds of each repetition of a test; speeds are in tokens per second."""

    test: SpeedTest
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return self.test.n_tokens / statistics.median(self.seconds)

    @property
    def slowest(self) -> float:
        return self.test.n_tokens / max(self.seconds)

    @property
    def fastest(self) -> float:
        return self.test.n_tokens / min(self.seconds)


@dataclass(frozen=True, repr=False)
class Benchmark(Shown):
    """The result of `measure`."""

    model: str
    executor: str
    n_threads: int
    speeds: list[Speed]
    """One for each test, in their order."""
    load_seconds: float
    compile_seconds: float
    weight_bytes_per_token: int
    stream_bandwidth_gb_per_second: float
    """The speed at which as many threads read a large array, measured in the same run, in 1e9 bytes/s."""
    peak_memory_bytes: int | None
    """The peak memory of the process, until the model was measured; None where the system does not say."""

    def bandwidth_gb_per_second(self, speed: Speed) -> float:
        """Bytes of weights that are read per second of decoding, in 1e9 bytes/s, without keys and values."""
        return self.weight_bytes_per_token * speed.median / 1e9


def measure(llm: LLM, tests: Sequence[SpeedTest], repetitions: int = 3) -> Benchmark:
    """Runs each of `tests` on random tokens several times, after a warm-up.

    Without sampling and tokenizer. As in llama.cpp's llama-bench a test begins with an empty cache, or after
    `depth` tokens, whose time does not count.

    Raises RequestError for a number below 1, a depth below 0, and tests that do not fit in the context.
    """
    _check("repetitions", repetitions, 1)
    for test in tests:
        _check(f"tokens of {test.phase}", test.n_tokens, 1)
        _check("depth", test.depth, 0)
        if test.depth + test.n_tokens > llm.n_ctx:
            raise RequestError(f"{test.depth} + {test.n_tokens} tokens do not fit in n_ctx={llm.n_ctx}")
    llm.require_generation()
    warm_up = min(_WARM_UP, max(test.n_tokens for test in tests), llm.n_ctx)
    for test in (SpeedTest("prefill", warm_up), SpeedTest("decode", min(2, warm_up))):
        _seconds_of(llm, test)
    speeds = [Speed(test, tuple(_seconds_of(llm, test) for _ in range(repetitions))) for test in tests]
    peak = peak_memory()  # before the large array of the bandwidth measurement
    return Benchmark(
        model=str(llm.path),
        executor=llm.executor,
        n_threads=llm.n_threads,
        speeds=speeds,
        load_seconds=llm.load_seconds,
        compile_seconds=llm.compile_seconds,
        weight_bytes_per_token=llm.weight_bytes_per_token,
        stream_bandwidth_gb_per_second=read_bandwidth(llm.n_threads) / 1e9,
        peak_memory_bytes=peak,
    )


def _check(name: str, value: int, low: int) -> None:
    if value < low:
        raise RequestError(f"{name} must be at least {low}, not {value}")


def _seconds_of(llm: LLM, test: SpeedTest) -> float:
    """How long one run of `test` takes."""
    ids = random_ids(llm.config.n_vocab, test.depth + test.n_tokens)
    first = test.depth + (test.n_tokens if test.phase == "prefill" else 1)
    with llm.sequence(ids[: test.depth or first], cache_prompt=False) as sequence:
        if test.depth:
            sequence.run()
        started = time.perf_counter()
        sequence.append(ids[len(sequence) : first])
        sequence.run()
        for token_id in ids[first:]:
            sequence.append(token_id)
            sequence.run()
        return time.perf_counter() - started


def busy_elsewhere(seconds: float = 0.25) -> float | None:
    """The number of CPUs that other processes keep busy, or a host takes away, measured for `seconds`; None
    where the system does not say (only Linux does)."""
    try:
        before, started = _ticks_elsewhere(), time.perf_counter()
        time.sleep(seconds)
        return (_ticks_elsewhere() - before) / os.sysconf("SC_CLK_TCK") / (time.perf_counter() - started)
    except (OSError, ValueError, AttributeError):
        return None


def _ticks_elsewhere() -> float:
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, soft_irq, stolen = map(int, file.readline().split()[1:9])
    own = time.process_time() * os.sysconf("SC_CLK_TCK")
    return user + nice + system + irq + soft_irq + stolen - own


def share(part: float, whole: float) -> str:
    """`part` of `whole` in percent. More than 100 % is marked by "!": then `whole` was measured on a busy
    machine, or does not bound `part` (weights that fit into a cache)."""
    return f"{part / whole:.0%}" + ("!" if part > whole else "") if whole else ""


def random_ids(n_vocab: int, n: int) -> list[int]:
    """`n` random ids, always the same."""
    ids: list[int] = np.random.default_rng(0).integers(0, n_vocab, n).tolist()
    return ids


def read_bandwidth(n_threads: int, repetitions: int = 5) -> float:
    """Bytes per second that `n_threads` threads read of an array larger than the caches; the best of some."""
    data = aligned_zeros((_READ_BYTES // 4,), np.int32)
    data.fill(1)  # pages that were never written share one page of zeros, which is read from the cache
    totals = aligned_zeros((n_threads, WORDS), np.int32)
    team = Team(Program([bind_bandwidth(data, totals)], [True]), n_threads)
    try:
        return _READ_BYTES / min(_seconds(lambda: team.run(0, 1)) for _ in range(repetitions))
    finally:
        team.close()


def peak_memory() -> int | None:
    """The peak resident size of this process in bytes; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
