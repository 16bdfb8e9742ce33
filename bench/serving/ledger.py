"""A load of a thousand requests of all kinds, and what is held against it."""

import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .clients import Outcome, Plan, post, run
from .server_process import ServerProcess, resources

CHAT = "/v1/chat/completions"
SUBJECTS = ("the sea", "a mountain", "bread", "the moon", "a clock", "snow", "a river", "the wind")
GARBAGE = (
    b"\x16\x03\x01\x00\xf5\x01\x00\x00\xf1\x03\x03" + bytes(40),
    b"GET\r\n\r\n",
    post(CHAT, b'{"messages": ['),
    post(CHAT, b'{"messages": [{"role": "user", "content": "\\ud800"}]}'),
    post(CHAT, b'{"messages": [], "max_tokens": 4}'),
    post(CHAT, b'{"messages": [{"role": "user", "content": "a"}], "temperature": -1}'),
    post("/v1/nothing", b"{}"),
    post(CHAT, b"{}", "Content-Length: 7"),
)


def load(n: int, seed: int, garbage: bool = True) -> Iterator[Plan]:
    """`n` requests: a fifth leave at a random point, some are garbage, some read slowly."""
    rng = random.Random(seed)
    for i in range(n):
        kind = rng.random()
        if kind < 0.2:
            yield _leaving(rng, i)
        elif kind < 0.25 and garbage:
            yield Plan(rng.choice(GARBAGE))
        else:
            body = _body(rng, i)
            yield Plan(post(CHAT, json.dumps(body).encode()), is_slow=kind > 0.95, key=json.dumps(body))


def _body(rng: random.Random, i: int) -> dict[str, Any]:
    question = f"Tell me about {rng.choice(SUBJECTS)} and the number {i}."
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": question}],
        "max_tokens": rng.randint(8, 48),
        "temperature": rng.choice((0.0, 0.8)),
        "seed": i,
    }
    if rng.random() < 0.7:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


def _leaving(rng: random.Random, i: int) -> Plan:
    """Its answer is long, and it leaves well before it could be complete."""
    body = {**_body(rng, i), "max_tokens": 400, "ignore_eos": True, "stream": rng.random() < 0.7}
    data = post(CHAT, json.dumps(body).encode())
    if rng.random() < 0.15:
        return Plan(data[: -rng.randint(1, 40)], leaves=0)
    return Plan(data, leaves=rng.randint(1, 32) if body["stream"] and rng.random() < 0.8 else 0)


def ledger(
    server: ServerProcess, n: int, n_at_once: int, seed: int, n_compared: int, garbage: bool = True
) -> bool:
    """Runs the load, and prints what was found; nybble's own counts are held against it. Is all as it should
    be?"""
    is_ours = "num_requests_running" in _metrics(server)
    for _ in run(server.port, list(load(max(32, n // 5), seed + 1, garbage)), n_at_once):
        pass  # warm
    problems = []
    if is_ours:
        server.wait_until_idle()
        before, counted = resources(server.pid), _metrics(server)
    started = time.perf_counter()
    outcomes = list(run(server.port, list(load(n, seed, garbage)), n_at_once))
    seconds = time.perf_counter() - started
    kinds = Counter(outcome.kind for outcome in outcomes)
    n_tokens = sum(outcome.n_tokens for outcome in outcomes if outcome.kind == "completed")
    print(f"{n} requests, {n_at_once} at once, {seconds:.1f} s: {dict(kinds)}")
    print(f"{n_tokens / seconds:8.1f} tokens/s of answers that were complete")
    show_times(outcomes)
    if is_ours:
        print(f"idle {server.wait_until_idle() * 1e3:.0f} ms after the last")
        theirs = ended(server, counted)
        after = resources(server.pid)
        print(f"server: {theirs}; {before} -> {after}")
        if {kind: theirs[kind] for kind in theirs if theirs[kind]} != dict(kinds):
            problems.append("the ledgers do not agree")
        if after["threads"] > before["threads"] or after["files"] > before["files"]:
            problems.append("threads or files have become more")
        wrong = different(server, outcomes, n_compared)
        if wrong:
            problems.append(f"{wrong} texts differ from those that were asked one after another")
    for problem in problems:
        print(f"WRONG: {problem}")
    return not problems


def ended(server: ServerProcess, before: dict[str, float]) -> dict[str, int]:
    """How the requests since then have ended, as the server has it."""
    now = _metrics(server)
    found = {}
    for kind in ("completed", "client_error", "busy", "cut", "failed"):
        name = f'http_requests_ended_total{{outcome="{kind}"}}'
        found[kind] = int(now[name] - before[name])
    n_asked = now["n_asked"] - before["n_asked"]
    return {**found, "completed": found["completed"] - int(n_asked)}


def _metrics(server: ServerProcess) -> dict[str, float]:
    """The metrics, and how often they have been asked for before."""
    try:
        found = server.metrics()
    except OSError:
        return {}
    others = 'http_requests_total{path="/metrics",status="200"}'
    return {**found, "n_asked": found.get(others, 0)}


def different(server: ServerProcess, outcomes: list[Outcome], n: int) -> int:
    """How many of the complete answers are others when they are asked for one after another."""
    some = [outcome for outcome in outcomes if outcome.plan.key and outcome.kind == "completed"][:n]
    texts = {outcome.plan.key: outcome.text for outcome in some}
    again = run(server.port, [Plan(outcome.plan.data, key=outcome.plan.key) for outcome in some], 1)
    return sum(outcome.text != texts[outcome.plan.key] for outcome in again)


def show_times(outcomes: list[Outcome]) -> None:
    """Prints the times of what streamed and was read at once."""
    streams = [each for each in outcomes if b'"stream": true' in each.plan.data and not each.plan.is_slow]
    firsts = [each.times[0] - each.began for each in streams if each.times]
    gaps = [b - a for each in streams for a, b in zip(each.times, each.times[1:], strict=False)]
    for title, values in (("first token", firsts), ("between tokens", gaps)):
        if len(values) > 1:
            cuts = statistics.quantiles(values, n=100)
            print(f"{title:<15} p50 {cuts[49] * 1e3:7.1f} ms   p99 {cuts[98] * 1e3:7.1f} ms")
