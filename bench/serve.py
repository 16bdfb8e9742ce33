"""The server under load.

    python bench/serve.py cost [MODEL]      # streams over HTTP beside the same work asked in Python
    python bench/serve.py turns [MODEL]     # half the streams to each of two models beside all to one
    python bench/serve.py ledger [MODEL]    # 1,000 requests of all kinds: lost, leaked, different?
    python bench/serve.py fuzz [MODEL]      # 10,000 random requests: no failure, no death, no silence
    python bench/serve.py soak [MODEL]      # an hour of load, an engine killed every minute: no leak

`nybble serve` runs in a process of its own, and the clients in this one. `cost` takes turns: its figure is
the median of pairs, and the best of each kind stands beside; so does `turns`, with the same file as two
models. `ledger` takes another server, too, which has
the same API and file: --rival "llama-server -m FILE --port PORT -np 32 -c 16384".
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from serving.clients import Outcome, Plan, post, run
from serving.fuzz import fuzz
from serving.ledger import CHAT, ledger, show_times
from serving.server_process import ServerProcess
from serving.soak import soak

import nybble

N_CTX, N_AT_ONCE = 512, 32


def messages(i: int) -> list[dict[str, str]]:
    """A question that no other stream asks."""
    return [{"role": "user", "content": f"Tell me a story about the number {i}."}]


def in_python(llm: nybble.LLM, n_streams: int, n_tokens: int) -> float:
    """Tokens a second of conversations in the background."""
    params = nybble.SamplingParams(max_tokens=n_tokens, ignore_eos=True, cache_prompt=False)
    started = time.perf_counter()
    requests = [llm.chat_submit(messages(i), params) for i in range(n_streams)]
    n = sum(len(request.result().token_ids) for request in requests)
    return n / (time.perf_counter() - started)


def over_http(
    port: int, n_streams: int, n_tokens: int, models: Sequence[str] = ("m",)
) -> tuple[float, list[Outcome]]:
    """Tokens a second of the same conversations, as streams, dealt to the models."""
    plans = []
    for i in range(n_streams):
        body = {"model": models[i % len(models)], "messages": messages(i), "max_tokens": n_tokens}
        how = {"stream": True, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
        plans.append(Plan(post(CHAT, json.dumps(body | how).encode())))
    started = time.perf_counter()
    outcomes = list(run(port, plans, n_streams))
    seconds = time.perf_counter() - started
    if any(outcome.kind != "completed" for outcome in outcomes):
        raise RuntimeError(f"not all were answered: {[outcome.kind for outcome in outcomes]}")
    return n_streams * n_tokens / seconds, outcomes


def cost(server: ServerProcess, model: str, n_streams: int, n_tokens: int, n_rounds: int) -> bool:
    """Prints what HTTP costs."""
    room = n_streams * N_CTX
    with nybble.LLM(model, n_ctx=N_CTX, n_seq_max=n_streams, n_pool_tokens=room) as llm:
        in_python(llm, n_streams, 4)
        over_http(server.port, n_streams, 4)
        direct, served, outcomes = [], [], []
        for _ in range(n_rounds):
            direct.append(in_python(llm, n_streams, n_tokens))
            speed, found = over_http(server.port, n_streams, n_tokens)
            served.append(speed)
            outcomes += found
        costs = sorted(1 - b / a for a, b in zip(direct, served, strict=True))
        print(f"{n_streams} streams of {n_tokens} tokens, {llm.n_threads} threads, {n_rounds} pairs")
    print(f"Python {max(direct):8.1f} tokens/s   HTTP {max(served):8.1f} tokens/s (the best of each)")
    print(
        f"HTTP costs {statistics.median(costs):.1%} (median of pairs; from {costs[0]:.1%} to {costs[-1]:.1%})"
    )
    show_times(outcomes)
    return True


def turns(server: ServerProcess, n_streams: int, n_tokens: int, n_rounds: int) -> bool:
    """Prints what it costs that a second model has half of the streams."""
    kinds = {"one model": ("m",), "two models": ("m", "other")}
    speeds: dict[str, list[float]] = {kind: [] for kind in kinds}
    found: dict[str, list[Outcome]] = {kind: [] for kind in kinds}
    over_http(server.port, n_streams, 4, kinds["two models"])
    for _ in range(n_rounds):
        for kind, models in kinds.items():
            speed, outcomes = over_http(server.port, n_streams, n_tokens, models)
            speeds[kind].append(speed)
            found[kind] += outcomes
    for kind in kinds:
        low, high = min(speeds[kind]), max(speeds[kind])
        print(f"{kind}: {statistics.median(speeds[kind]):.0f} tokens/s (from {low:.0f} to {high:.0f})")
        show_times(found[kind])
    costs = [1 - b / a for a, b in zip(*speeds.values(), strict=True)]
    print(f"a second model costs {statistics.median(costs):.1%} ({n_streams} streams, {n_rounds} pairs)")
    return True


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("cost", "turns", "ledger", "fuzz", "soak"))
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("-n", type=int, help="streams (32), or requests (1000, 10000)")
    parser.add_argument("-t", "--tokens", type=int, default=64, help="of a stream (%(default)s)")
    parser.add_argument("-r", "--rounds", type=int, default=5, help="pairs (%(default)s)")
    parser.add_argument("--minutes", type=float, default=60, help="of the soak (%(default)s)")
    parser.add_argument("--kill-every", type=float, default=60, metavar="SECONDS", help="(%(default)s)")
    parser.add_argument("--compared", type=int, default=10**9, metavar="N", help="texts asked for again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--no-garbage",
        action="store_true",
        help="only requests that are HTTP: llama-server never answers some others",
    )
    parser.add_argument("--rival", metavar="COMMAND", help="another server, for `ledger`")
    parser.add_argument("--serve-options", default="", metavar="WORDS", help="further ones of `nybble serve`")
    args = parser.parse_args()
    log = Path(tempfile.gettempdir()) / "bench-serve.log"
    words = ["--ctx", str(N_CTX), "--parallel", str(N_AT_ONCE), "--pool", str(N_CTX * N_AT_ONCE)]
    words += args.serve_options.split()
    words = [f"other={args.model}", *words] if args.what == "turns" else words
    with (
        ServerProcess.rival(args.rival, log)
        if args.rival
        else ServerProcess.nybble(args.model, log, *words) as server
    ):
        match args.what:
            case "cost":
                return not cost(server, args.model, args.n or N_AT_ONCE, args.tokens, args.rounds)
            case "turns":
                return not turns(server, args.n or N_AT_ONCE, args.tokens, args.rounds)
            case "ledger":
                return not ledger(
                    server, args.n or 1000, N_AT_ONCE, args.seed, args.compared, not args.no_garbage
                )
            case "fuzz":
                return not fuzz(server, args.n or 10_000, args.seed)
            case _:
                return not soak(server, args.minutes * 60, args.kill_every, N_AT_ONCE, args.seed)


if __name__ == "__main__":
    sys.exit(main())
