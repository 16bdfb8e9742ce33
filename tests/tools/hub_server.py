"""A stand-in for the HTTP interface of huggingface.co, and of any web server, with faults.

/api/models/OWNER/REPO/revision/REVISION    the commit, and the files with sizes and hashes
/OWNER/REPO/resolve/REVISION/FILE           a redirect to the content, with its hash and size
/content/SHA256                             the content; ranges are served
/files/NAME                                 the same content, as a plain web server has it
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """The files of its repositories, the faults to come, and what was asked for.

    `faults`: by the kind of a request ("api", "resolve", "content", "files") what happens to the next ones: a
    function of the handler, which answers in its place and gives True, or gives False to let it answer.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.content_url = f"http://localhost:{port}"
        """Of another host, as the hub's contents are."""
        self.repos: dict[str, dict[str, bytes]] = {}
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Callable[[Handler, bytes], bool]]] = defaultdict(list)
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.token: str | None = None
        """What gated repositories ask for; None: nothing is gated."""

    def asked(self, kind: str, method: str = "GET") -> list[dict[str, str]]:
        """The headers of the requests of a kind."""
        return [headers for how, path, headers in self.requests if how == method and _kind(path) == kind]


def status(code: int, **headers: str) -> Callable[[Handler, bytes], bool]:
    """Answers with a status, and headers with "_" for "-"."""

    def answer(handler: Handler, content: bytes) -> bool:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.answer(code, b"no", named)
        return True

    return answer


def cut(n_bytes: int) -> Callable[[Handler, bytes], bool]:
    """Breaks the connection after so many bytes of what was asked for."""

    def answer(handler: Handler, content: bytes) -> bool:
        handler.send_content(content, n_bytes)
        handler.close_connection = True
        return True

    return answer


def damage(handler: Handler, content: bytes) -> bool:
    """Another byte in the middle."""
    at = len(content) // 2
    handler.send_content(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    return True


def shorter(handler: Handler, content: bytes) -> bool:
    """Half the file, and the length of half of it."""
    handler.answer(200, content[: len(content) // 2], {"ETag": '"half"'})
    return True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, dict(self.headers)))
        kind, words = _kind(path), path.strip("/").split("/")
        content = self._content(kind, words)
        faults = self.hub.faults[kind]
        if faults and faults.pop(0)(self, content or b""):
            return
        if content is None:
            code = "RepoNotFound" if "/".join(words[:2]) not in self.hub.repos else "EntryNotFound"
            self.answer(404, b"", {"X-Error-Code": code})
        elif kind == "api":
            self.answer(200, content, {"Content-Type": "application/json"})
        elif kind == "resolve" and self.hub.token not in (None, self._token()):
            self.answer(403 if self._token() else 401, b"", {"X-Error-Code": "GatedRepo"})
        elif kind == "resolve":
            digits = hashlib.sha256(content).hexdigest()
            self.answer(
                302,
                b"",
                {
                    "Location": f"{self.hub.content_url}/content/{digits}",
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-Etag": f'"{digits}"',
                    "X-Linked-Size": str(len(content)),
                    "ETag": f'"{digits}"',
                },
            )
        else:
            self.send_content(content)

    do_HEAD = do_GET

    def _token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    def _content(self, kind: str, words: list[str]) -> bytes | None:
        hub = self.hub
        if kind == "api":
            files = hub.repos.get("/".join(words[2:4]))
            return None if files is None else json.dumps(_info("/".join(words[2:4]), files)).encode()
        if kind == "content":
            contents = [content for files in hub.repos.values() for content in files.values()]
            return next(c for c in contents if hashlib.sha256(c).hexdigest() == words[1])
        if kind == "files":
            return hub.files.get(words[-1])
        return hub.repos.get("/".join(words[:2]), {}).get("/".join(words[4:]))

    def send_content(self, content: bytes, n_bytes: int | None = None) -> None:
        """The content, or the range of it that was asked for; only the first bytes of it with `n_bytes`."""
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if start and self.headers.get("If-Range", etag) != etag:
            start = 0
        if start >= len(content):
            self.answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        headers = {"ETag": etag, "Accept-Ranges": "bytes"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.answer(206 if start else 200, content[start:], headers, n_bytes)

    def answer(self, code: int, body: bytes, headers: dict[str, str], n_bytes: int | None = None) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:n_bytes])

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _kind(path: str) -> str:
    first = path.strip("/").partition("/")[0]
    return first if first in ("api", "content", "files") else "resolve"


def _info(repo: str, files: dict[str, bytes]) -> dict[str, Any]:
    siblings = []
    for name, content in files.items():
        digits = hashlib.sha256(content).hexdigest()
        lfs = {"sha256": digits, "size": len(content), "pointerSize": 130}
        siblings.append({"rfilename": name, "size": len(content), "blobId": "0" * 40, "lfs": lfs})
    return {"id": repo, "modelId": repo, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """A server on a port of this machine, for as long as the context lasts."""
    handler = type("OwnHandler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.hub = HubServer(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield handler.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
