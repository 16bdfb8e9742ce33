"""Random requests: by the server's own description, and broken in all ways."""

import json
import random
import string
import time
from collections import Counter
from typing import Any

from .clients import Plan, run
from .server_process import ServerProcess

_ODD = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    2**70,
    -0.5,
    1e308,
    "",
    "a",
    "\0",
    "é" * 9,
    [],
    {},
    [[]],
    [None],
)
_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "BREW")
_HEADERS = (
    "Accept: text/event-stream",
    "Content-Type: text/plain",
    "Expect: 100-continue",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "X-Forwarded-For: 1.2.3.4",
    "Origin: http://evil.example",
    "Authorization: Bearer \xff",
    "Range: bytes=0-1",
    "Accept-Encoding: gzip, br",
    "Transfer-Encoding: gzip",
    "Content-Length: 5",
    "Host: evil.example",
    "Cookie: a=b",
    "If-None-Match: *",
)


class Requests:
    """Makes random requests for the paths of a description."""

    def __init__(self, description: dict[str, Any], seed: int) -> None:
        self.rng = random.Random(seed)
        self._schemas = {}
        for path, methods in description["paths"].items():
            for method, operation in methods.items():
                content = operation.get("requestBody", {}).get("content", {})
                self._schemas[path, method.upper()] = content.get("application/json", {}).get("schema")

    def bytes(self) -> bytes:
        """One request, whole or broken."""
        rng = self.rng
        (path, method), schema = rng.choice(list(self._schemas.items()))
        body = b"" if schema is None else self._body(schema)
        path = path.replace("{model}", rng.choice(("m", "..%2f..", "%00", "a/b")))
        kind = rng.random()
        if kind < 0.05:
            method = rng.choice(_METHODS)
        elif kind < 0.10:
            path = rng.choice(
                (
                    path + "/",
                    "/" + path,
                    path.upper(),
                    path + "?a=%ff",
                    "/%2e%2e" + path,
                    "*",
                    "http://x" + path,
                )
            )
        headers = [f"Content-Length: {len(body)}", "Connection: close"]
        if kind > 0.9:
            headers += rng.sample(_HEADERS, rng.randint(1, 3))
        if kind > 0.98:
            rng.shuffle(headers)
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""])
        data = head.encode("latin-1") + body
        return self._broken(data) if 0.10 < kind < 0.18 else data

    def _body(self, schema: dict[str, Any]) -> bytes:
        rng = self.rng
        value = self._value(schema, 0)
        for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
            if rng.random() < 0.9 and name in schema["properties"]:
                value[name] = rng.randint(1, 3)
        if "options" in schema["properties"] and rng.random() < 0.95:
            value["options"] = {**(value.get("options") or {}), "num_predict": 2}
        if rng.random() < 0.3 and value:
            value[rng.choice([*value, "colour"])] = self._odd()
        data = json.dumps(value).encode()
        kind = rng.random()
        if kind < 0.03:
            return data[: rng.randrange(len(data) + 1)]
        if kind < 0.06:
            return self._broken(data)
        return data

    def _value(self, schema: dict[str, Any], depth: int) -> Any:
        rng = self.rng
        if "anyOf" in schema:
            return self._value(rng.choice(schema["anyOf"]), depth)
        if "enum" in schema:
            return rng.choice(schema["enum"])
        match schema.get("type"):
            case "integer":
                low, high = schema.get("minimum", -5), schema.get("maximum", 100)
                return rng.choice((low, high, rng.randint(low, min(high, low + 40))))
            case "number":
                low, high = schema.get("minimum", schema.get("exclusiveMinimum", 0)), schema["maximum"]
                return rng.choice((low, high, rng.uniform(low, high)))
            case "boolean":
                return rng.random() < 0.5
            case "string":
                return self._text()
            case "null":
                return None
            case "array":
                n = schema.get("minItems", 0) + rng.randint(0, 2)
                return [self._value(schema.get("items", {}), depth + 1) for _ in range(n)]
            case "object":
                return self._object(schema, depth)
            case _:
                return self._odd()

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        rng = self.rng
        known = schema.get("properties", {})
        needed = schema.get("required", [])
        others = [name for name in known if name not in needed and name != "model"]
        some = rng.sample(others, min(len(others), rng.choice((0, 0, 1, 2, 4))))
        found = {name: self._value(known[name], depth + 1) for name in [*needed, *some]}
        if "role" in found:
            found |= {"role": rng.choice(("user", "assistant", "system", "tool")), "content": self._text()}
        if depth == 0 and "model" in known:
            found["model"] = rng.choice(("m",) * 18 + ("m:latest", "n", "../m"))
        if not known and depth < 3:
            found[str(rng.randint(0, 300))] = self._value(schema.get("additionalProperties") or {}, depth + 1)
        return found

    def _text(self) -> str:
        rng = self.rng
        alphabet = rng.choice(
            (string.ascii_letters + " ", "<|im_end>\n{}[]\"'\\%", "é\u2028\U0001f600\0\x7f ", "a")
        )
        return "".join(rng.choices(alphabet, k=rng.choice((0, 1, 3, 9, 30))))

    def _odd(self) -> Any:
        rng = self.rng
        if rng.random() < 0.2:
            value: Any = "x"
            for _ in range(rng.randint(1, 70)):
                value = [value] if rng.random() < 0.5 else {"a": value}
            return value
        return rng.choice(_ODD)

    def _broken(self, data: bytes) -> bytes:
        """With some bytes changed, left out, or there twice."""
        rng = self.rng
        changed = bytearray(data)
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(max(1, len(changed)))
            match rng.randrange(4):
                case 0:
                    changed[place : place + 1] = rng.randbytes(1)
                case 1:
                    del changed[place : place + rng.randint(1, 8)]
                case 2:
                    changed[place:place] = changed[place : place + rng.randint(1, 30)]
                case _:
                    changed[place:place] = rng.choice((b"\0", b"\r\n", b"\xff\xfe", b'"', b"[" * 99, b": "))
        return bytes(changed)


def fuzz(server: ServerProcess, n: int, seed: int, n_at_once: int = 16) -> bool:
    """Sends `n` random requests. Is no answer a failure, the server alive, and `/health` fast throughout?"""
    requests = Requests(server.openapi(), seed)
    # What is never whole is waited for by the server: its client leaves
    plans = [Plan(requests.bytes(), key=i, patience=0.5) for i in range(n)]
    slowest, last, statuses, problems = 0.0, 0.0, Counter[int](), []

    def tick() -> None:
        nonlocal slowest, last
        if time.monotonic() - last > 0.1:
            started = time.perf_counter()
            server.get("/health")
            slowest = max(slowest, time.perf_counter() - started)
            last = time.monotonic()

    for outcome in run(server.port, plans, n_at_once, tick):
        statuses[outcome.status] += 1
        if (outcome.status >= 500 and outcome.status != 503) or outcome.kind == "failed":
            problems.append(outcome.plan.key)
            print(f"{outcome.plan.data[:1000]!r}\n-> {bytes(outcome.answer[-600:])!r}")
    server.wait_until_idle()
    print(f"{n} requests: {dict(sorted(statuses.items()))}; /health took {slowest * 1e3:.0f} ms at most")
    return not problems and server.is_alive
