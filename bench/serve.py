"""What HTTP costs: streams over the server, beside the same work asked of the model in Python.

    python bench/serve.py [MODEL]

The rounds alternate, and the fastest of each kind counts. A client of its own process reads the streams, so
that reading them takes nothing of the server's process; it does take of the same cores.
"""

import argparse
import json
import selectors
import socket
import subprocess
import sys
import threading
import time
from typing import cast

import nybble
from nybble.server.app import make_app
from nybble.server.listener import Server, bound_socket
from nybble.server.work.served_model import ServedModel
from nybble.server.work.settings import Settings

N_CTX = 512


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


def request(i: int, n_tokens: int) -> bytes:
    """The bytes that ask for a stream."""
    body = {"messages": messages(i), "max_tokens": n_tokens, "stream": True, "temperature": 0}
    data = json.dumps({**body, "ignore_eos": True, "cache_prompt": False}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


def read_streams(port: int, n_streams: int, n_tokens: int) -> dict[str, float]:
    """All clients of a round, which do as little as can be: they take the time of what comes."""
    selector = selectors.DefaultSelector()
    started = time.perf_counter()
    last = {}
    for i in range(n_streams):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(request(i, n_tokens))
        selector.register(connection, selectors.EVENT_READ)
        last[connection] = started
    gaps: list[float] = []
    firsts: list[float] = []
    while last:
        for key, _ in selector.select():
            connection = cast(socket.socket, key.fileobj)
            data = connection.recv(1 << 16)
            now = time.perf_counter()
            if b'"content":"' in data:
                (firsts if last[connection] == started else gaps).append(now - last[connection])
                last[connection] = now
            if not data or b"[DONE]" in data:
                selector.unregister(connection)
                connection.close()
                del last[connection]
    seconds = time.perf_counter() - started
    gaps.sort()
    firsts.sort()
    return {
        "speed": n_streams * n_tokens / seconds,
        "first_p50": firsts[len(firsts) // 2],
        "first_p99": firsts[len(firsts) * 99 // 100],
        "gap_p50": gaps[len(gaps) // 2],
        "gap_p99": gaps[len(gaps) * 99 // 100],
    }


def over_http(port: int, n_streams: int, n_tokens: int) -> dict[str, float]:
    """A round of clients in a process of their own."""
    command = [sys.executable, __file__, "--clients", str(port), "-n", str(n_streams), "-t", str(n_tokens)]
    found: dict[str, float] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2")
    parser.add_argument("-n", "--streams", type=int, default=32)
    parser.add_argument("-t", "--tokens", type=int, default=64)
    parser.add_argument("-r", "--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.clients:
        print(json.dumps(read_streams(args.clients, args.streams, args.tokens)))
        return
    room = args.streams * N_CTX
    with nybble.LLM(args.model, n_ctx=N_CTX, n_seq_max=args.streams, n_pool_tokens=room) as llm:
        listening = bound_socket("127.0.0.1", 0)
        rules = Settings(n_seq_max=args.streams)
        server = Server(make_app([ServedModel("m", llm)], rules), rules, lambda: None)
        threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
        port = listening.getsockname()[1]
        in_python(llm, args.streams, 4)
        over_http(port, args.streams, 4)
        direct, served = [], []
        for _ in range(args.rounds):
            direct.append(in_python(llm, args.streams, args.tokens))
            served.append(over_http(port, args.streams, args.tokens))
        server.should_exit = True
        best = max(served, key=lambda found: found["speed"])
        cost = 1 - best["speed"] / max(direct)
        print(f"{args.streams} streams of {args.tokens} tokens, {llm.n_threads} threads")
        print(
            f"Python {max(direct):8.1f} tokens/s   HTTP {best['speed']:8.1f} tokens/s   HTTP costs {cost:.1%}"
        )
        for name, title in (("first", "first token"), ("gap", "between tokens")):
            p50, p99 = best[f"{name}_p50"] * 1e3, best[f"{name}_p99"] * 1e3
            print(f"{title:<15} p50 {p50:7.1f} ms   p99 {p99:7.1f} ms")


if __name__ == "__main__":
    main()
