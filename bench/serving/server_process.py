"""A server in a process of its own: nybble's, or another that has the OpenAI API."""

import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any, Self


class ServerProcess:
    """Runs as long as the context."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        self._log = log.open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)
        self.pid = self._process.pid

    @classmethod
    def nybble(cls, model: str, log: Path, *options: str) -> Self:
        """`nybble serve`, of this package; `options` may begin with further models."""
        port = free_port()
        return cls(
            [sys.executable, "-m", "nybble", "serve", f"m={model}", *options, "--port", str(port)], port, log
        )

    @classmethod
    def rival(cls, command: str, log: Path) -> Self:
        """Another one: PORT in its command is where it is to listen."""
        port = free_port()
        return cls(command.replace("PORT", str(port)).split(), port, log)

    def __enter__(self) -> Self:
        end = time.monotonic() + 120
        while True:
            try:
                self.get("/v1/models")
                return self
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    self.__exit__()
                    raise RuntimeError(f"it does not serve; {self._log.name} says why") from None
                time.sleep(0.05)

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    @property
    def is_alive(self) -> bool:
        """Does it still run?"""
        return self._process.poll() is None

    def get(self, path: str) -> str:
        """What it answers at this path."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return str(answer.read().decode())

    def openapi(self) -> dict[str, Any]:
        """The description of what it takes."""
        found: dict[str, Any] = json.loads(self.get("/openapi.json"))
        return found

    def metrics(self) -> dict[str, float]:
        """The numbers of `/metrics`, by name and labels."""
        found = re.findall(r"^nybble:(\S+) (\S+)$", self.get("/metrics"), re.MULTILINE)
        return {name: float(value) for name, value in found}

    def wait_until_idle(self, seconds: float = 60) -> float:
        """Returns when no request runs or waits: after how many seconds."""
        started = time.monotonic()
        while True:
            found = self.metrics()
            if found["num_requests_running"] == found["num_requests_waiting"] == 0:
                return time.monotonic() - started
            if time.monotonic() - started > seconds:
                raise RuntimeError("the server does not come to rest")
            time.sleep(0.02)

    def engines(self) -> list[int]:
        """The processes of its engines."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes()
                parent = re.search(r"PPid:\s+(\d+)", (path.parent / "status").read_text())
            except OSError:
                continue
            if parent and int(parent[1]) == self.pid and b".child import main" in words:
                found.append(int(path.parent.name))
        return found


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def resources(pid: int) -> dict[str, int]:
    """What a process has: kilobytes of memory of its own, in RAM or swapped out, threads, open files."""
    status = dict(re.findall(r"^(\w+):\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    return {
        "own kB": int(status["RssAnon"]) + int(status["VmSwap"]),
        "threads": int(status["Threads"]),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
    }
