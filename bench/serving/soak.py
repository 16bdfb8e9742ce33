"""Random load for as long as one likes, with engines that are killed: nothing may leak."""

import os
import random
import signal
import time
from collections import Counter

from .clients import run
from .ledger import load
from .server_process import ServerProcess, resources

_ALLOWED_KB = 2048  # of a front's own memory, above what it had when warm


def soak(server: ServerProcess, seconds: float, kill_every: float, n_at_once: int, seed: int) -> bool:
    """Runs rounds of load; after each the server is idle, and its resources are looked at. Is nothing
    leaked? Its memory may grow for a third of the time, until all that can happen has happened some times."""
    rng = random.Random(seed)
    kinds: Counter[str] = Counter()
    started, n_killed, warm, problems = time.monotonic(), 0, None, []
    last_kill = time.monotonic()
    n_rounds = 0
    while time.monotonic() - started < seconds:

        def tick() -> None:
            nonlocal last_kill, n_killed
            if time.monotonic() - last_kill > kill_every and (engines := server.engines()):
                os.kill(rng.choice(engines), signal.SIGKILL)
                n_killed += 1
                last_kill = time.monotonic()

        plans = list(load(rng.randint(50, 200), rng.randrange(2**32)))
        kinds.update(outcome.kind for outcome in run(server.port, plans, n_at_once, tick))
        server.wait_until_idle()
        n_rounds += 1
        found = resources(server.pid)
        if warm is None and n_rounds >= 3 and time.monotonic() - started > seconds / 3:
            warm = found
        metrics = server.metrics()
        pages = {
            name: value
            for name, value in metrics.items()
            if name.startswith("kv_cache_pages") and '"used"' in name
        }
        if any(pages.values()):
            problems.append(f"pages are held by nobody: {pages}")
        print(f"{n_rounds:4} {dict(kinds)} {n_killed} killed, {found}", flush=True)
        if warm is not None:
            problems += [
                f"{name} went from {warm[name]} to {found[name]}"
                for name, more in (("files", 8), ("threads", 8), ("own kB", _ALLOWED_KB))
                if found[name] > warm[name] + more
            ]
    for problem in dict.fromkeys(problems):
        print(f"WRONG: {problem}")
    return not problems and server.is_alive
