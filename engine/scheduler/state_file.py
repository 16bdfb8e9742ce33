"""Files of states: what has been computed of a sequence, to go on with it in another process.

    magic | size of the header: u32 | header | SHA-256 of these | ids | kept | arrays | SHA-256 of all before

The header is a JSON object: `key`, as `StateKey` has it, `n_tokens` and `salt`. Numbers are little-endian.
`ids` are (n_tokens,) int32. `kept` (n_blocks, n_pools + 1) uint8 says of each page of tokens which pools have
their page of it, and in the last column whether there are states. The arrays of these follow without gaps,
block by block. Nothing in the file says their dtypes and shapes but the key, which must be that of the LLM.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ...errors import NybbleError, RequestError
from ...system.atomic_file import atomic_file
from ..executors.base import Ids
from .job import Job
from .prefix import PAGE_SIZE
from .scheduler import Scheduler
from .state import Arrays, Block, State
from .state_key import ArraySpec, StateKey, n_bytes

MAGIC = b"nybble state 1\n"

_ALL_VERSIONS = b"nybble state "
_MAX_HEADER = 1 << 20
_N_DIGEST = hashlib.sha256().digest_size

FilePath = str | os.PathLike[str]


def save_state(scheduler: Scheduler, path: FilePath, job: Job) -> Ids:
    """Writes what has been computed of a job's tokens; -> these (n,). RequestError if there are none, or if
    they cannot be saved."""
    salt, model = require_savable(scheduler, job), scheduler.model_hash()
    key, state = scheduler.gate.run(_taken, scheduler, job, salt, model)
    if len(state.ids) == 0:
        raise RequestError(
            "nothing of these tokens is computed, or it is kept no more; give `LLM.save_state` their ids, and"
            " they are run"
        )
    write_state(path, key, state)
    return state.ids


def load_state(scheduler: Scheduler, path: FilePath) -> Ids:
    """Takes in what a file has, even if jobs must give their pages for it, and run again; -> its tokens (n,).
    RequestError, with the reason, if it cannot be used."""
    _require_pages(scheduler)
    model = scheduler.model_hash()
    key = scheduler.gate.run(lambda: StateKey.of(scheduler.executor, model))
    state = read_state(path, key, scheduler.n_ctx, scheduler.n_outputs)
    try:
        scheduler.gate.run(lambda: state.enter(scheduler.seating))
    except NybbleError as error:
        scheduler.gate.check_usable()
        n = len(state.ids)
        raise RequestError(
            f"{os.fsdecode(path)} cannot be loaded: there is no room for its {n} tokens: {error}; load the"
            f" model with n_pool_tokens={n} or a larger one"
        ) from error
    return state.ids


def require_savable(scheduler: Scheduler, job: Job) -> bytes:
    """The salt of a job whose state can be saved; RequestError, with the reason, if it cannot."""
    _require_pages(scheduler)
    if job.salt is not None:
        return job.salt
    if job.taps is not None and job.taps.has_edits:
        raise RequestError(
            "this state cannot be saved: edits have changed it, and nothing says which; give each of their"
            " functions an attribute `cache_key`, a text that says all that it depends on"
        )
    raise RequestError(
        "this state cannot be saved: with cache_prompt=False nothing is kept of it; use cache_prompt=True"
    )


def _require_pages(scheduler: Scheduler) -> None:
    scheduler.gate.check_usable()
    if not scheduler.executor.can_share:
        raise RequestError(
            'this executor has no pages, so there is no state to save or load; use executor="numba"'
        )


def _taken(scheduler: Scheduler, job: Job, salt: bytes, model: str) -> tuple[StateKey, State]:
    scheduler.seating.unseat(job)  # then the index has all of it, and the job will go on from there
    state = State.of(scheduler.seating, np.array(job.ids, np.int32), salt)
    return StateKey.of(scheduler.executor, model), state


def write_state(path: FilePath, key: StateKey, state: State) -> None:
    """Writes a file, which appears when it is complete."""
    fields = {"key": key.facts, "n_tokens": len(state.ids), "salt": state.salt.hex()}
    header = json.dumps(fields).encode()
    if len(header) > _MAX_HEADER:
        raise RequestError(
            f"the key of the state has {len(header)} bytes, more than {_MAX_HEADER}; give the edits shorter"
            " texts as `cache_key`"
        )
    kept = [[arrays is not None for arrays in (*block.pages, block.states)] for block in state.blocks]
    digest = hashlib.sha256()
    with atomic_file(path) as file:

        def write(content: bytes) -> None:
            digest.update(content)
            file.write(content)

        write(MAGIC + len(header).to_bytes(4, "little") + header)
        write(digest.digest())
        write(state.ids.astype("<i4").tobytes())
        write(np.array(kept, np.uint8).tobytes())
        for block in state.blocks:
            for arrays in (*block.pages, block.states):
                for array in arrays or ():
                    write(array.tobytes())
        write(digest.digest())


def read_state(path: FilePath, key: StateKey, n_ctx: int, n_vocab: int) -> State:
    """The state in a file, whose arrays are views of what was read. RequestError unless the file is whole,
    has this key, and no more than n_ctx tokens."""
    name = os.path.expanduser(os.fsdecode(path))
    if not stat.S_ISREG(os.stat(name).st_mode) and not os.path.isdir(name):  # a pipe might never end
        _refuse(name, "is no regular file")
    with open(name, "rb") as file:
        start = file.read(len(MAGIC) + 4)
        if not start.startswith(MAGIC):
            _refuse(
                name,
                "is a state file of another version of nybble; save it again"
                if start.startswith(_ALL_VERSIONS)
                else f"is no state file: it does not begin with {MAGIC!r}",
            )
        n_header = int.from_bytes(start[len(MAGIC) :], "little")
        header = start + file.read(min(n_header, _MAX_HEADER))
        digest = hashlib.sha256(header)
        if file.read(_N_DIGEST) != digest.digest():
            _refuse(name, _DAMAGED)
        digest.update(digest.digest())
        n, salt = _from_header(name, header[len(start) :], key, n_ctx)
        n_bytes_left = os.fstat(file.fileno()).st_size - file.tell()
        content = file.read(max(0, min(n_bytes_left, _most_bytes(n, key) + _N_DIGEST + 1)))
    body = memoryview(content)[:-_N_DIGEST]
    digest.update(body)
    if content[-_N_DIGEST:] != digest.digest():
        _refuse(name, _DAMAGED)
    state = _parsed(body, n, salt, key)
    if (
        state is None
        or not state.is_whole(key.windows, bool(key.states))
        or not ((state.ids >= 0) & (state.ids < n_vocab)).all()
    ):
        _refuse(name, _CONTRADICTORY)
    return state


_DAMAGED = "was cut short or changed: its checksum is another; save it again"
_CONTRADICTORY = "contradicts itself; save it again"


def _refuse(name: str, reason: str) -> NoReturn:
    raise RequestError(f"{name} cannot be loaded: it {reason}")


def _from_header(name: str, header: bytes, key: StateKey, n_ctx: int) -> tuple[int, bytes]:
    """The number of tokens, and the salt; RequestError for another key, and for too many tokens."""
    try:
        fields = json.loads(header)
        facts, n, salt = dict(fields["key"]), fields["n_tokens"], bytes.fromhex(fields["salt"])
    except (ValueError, TypeError, LookupError, RecursionError):
        _refuse(name, _CONTRADICTORY)
    if (reason := key.difference(facts)) is not None:
        raise RequestError(f"{name} cannot be loaded: {reason}")
    if not isinstance(n, int) or n < 1:
        _refuse(name, _CONTRADICTORY)
    if n > n_ctx:
        _refuse(
            name, f"has {n} tokens, more than n_ctx={n_ctx}; load the model with n_ctx={n} or a larger one"
        )
    return n, salt


def _n_blocks(n_tokens: int) -> int:
    return -(-n_tokens // PAGE_SIZE)


def _most_bytes(n_tokens: int, key: StateKey) -> int:
    """Those of a state of so many tokens of which all was kept."""
    specs = (*key.pages, key.states)
    return 4 * n_tokens + _n_blocks(n_tokens) * (len(specs) + sum(map(n_bytes, specs)))


def _parsed(body: memoryview, n_tokens: int, salt: bytes, key: StateKey) -> State | None:
    """The state in what follows the header; None if that is too long or too short."""
    specs = (*key.pages, key.states)
    ids, rest = body[: 4 * n_tokens], body[4 * n_tokens :]
    n_kept = _n_blocks(n_tokens) * len(specs)
    if len(rest) < n_kept:
        return None
    kept = np.frombuffer(rest[:n_kept], np.uint8).reshape(-1, len(specs)) != 0
    rest, blocks = rest[n_kept:], []
    for row in kept:
        found: list[Arrays | None] = []
        for some, is_kept in zip(specs, row, strict=True):
            n = n_bytes(some) if is_kept else 0
            if n > len(rest):
                return None
            found.append(_arrays(rest, some) if is_kept else None)
            rest = rest[n:]
        blocks.append(Block(found[:-1], found[-1]))
    if len(rest):
        return None
    return State(np.frombuffer(ids, "<i4").astype(np.int32), salt, blocks)


def _arrays(content: memoryview, specs: tuple[ArraySpec, ...]) -> list[NDArray[Any]]:
    """Views of the first bytes as arrays of these dtypes and shapes."""
    found = []
    for dtype, shape in specs:
        n = n_bytes([(dtype, shape)])
        found.append(np.frombuffer(content[:n], dtype).reshape(shape))
        content = content[n:]
    return found
