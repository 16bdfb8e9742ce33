"""A model whose engine runs in another process: texts and conversations are read here, and computed there."""

from __future__ import annotations

import copy
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...engine.embedding.embedder import Pooling
from ...engine.executors.base import Ids
from ...engine.generation.chat_tokenizer import ChatTokenizer
from ...engine.generation.generator import OnToken
from ...engine.generation.prompt import Prompt
from ...engine.hooks.taps import Edits, Taps, edits_key
from ...engine.model import Model
from ...engine.receipts.source import Origin
from ...engine.sampling.params import SamplingParams
from ...engine.scheduler.stats import Stats
from ...engine.text_front import TextFront
from ...errors import RequestError
from ...system.asker import unless_asker_leaves
from ..work.engine_status import EngineStatus
from .errands import RemoteCall, RemotePrompt, RemoteText
from .events import EngineEvent, OnEvent
from .ledger import Ledger
from .messages import Loaded
from .remote_work import RemoteWork
from .supervisor import Supervisor
from .turn_takers import TURN_TAKERS
from .watched_file import WatchedFile

if TYPE_CHECKING:
    from ...engine.backend import Backend


class RemoteEngine(TextFront):
    """A `Backend`, made by `open_engine`. What it gives is what the `LLM` in the other process gives.

    Functions cannot go there: `on_token`, samplers of one's own, and edits without a `cache_key` raise
    RequestError. While the process is started again, what is asked for waits; EngineError is raised by what
    has begun to come when it dies, and by everything when it does not come back.
    """

    def __init__(
        self,
        model: Model,
        watched: WatchedFile,
        supervisor: Supervisor,
        ledger: Ledger,
        loaded: Loaded,
        options: Mapping[str, Any],
        on_event: OnEvent,
    ) -> None:
        self._read(model, Path(model.file.path), options.get("chat_template"))
        model.file.metadata.release()  # it is not needed any more
        self.n_ctx = loaded.info.n_ctx
        self.info = replace(loaded.info, has_chat_template=self.chat_template is not None)
        """What the model is, and how it runs."""
        self._watched, self._supervisor, self._ledger, self._loaded = watched, supervisor, ledger, loaded
        self._on_event = on_event
        facts = (self.path.name, self.info.architecture, self.info.executor, self.info.cache_type, self.n_ctx)
        self._origin = Origin(*facts, cache(partial(self.call, "model_hash")))
        self._driver = RemoteWork(ledger, self._check_usable)

    def embed(
        self, texts: Prompt | Sequence[Prompt], *, pooling: Pooling | None = None, normalize: bool = True
    ) -> NDArray[np.float32]:
        """See `LLM.embed`."""
        found: NDArray[np.float32] = self.call("embed", texts, pooling=pooling, normalize=normalize)
        return found

    def rerank(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """See `LLM.rerank`."""
        found: NDArray[np.float32] = self.call("rerank", query, documents)
        return found

    def capture(
        self,
        prompt: Prompt,
        names: str | Sequence[str],
        *,
        edit: Edits | None = None,
        max_bytes: int | None = None,
    ) -> bytes:
        """See `LLM.capture`; RequestError for an edit without a `cache_key`."""
        if edit and edits_key(edit) is None:
            raise _no_function("edit")
        found: bytes = self.call("capture", prompt, names, edit=edit, max_bytes=max_bytes)
        return found

    def stats(self) -> Stats:
        """See `LLM.stats`; EngineError while the process is started again."""
        found: Stats = self.call_now("stats")
        return found

    def fingerprint(self) -> str:
        """See `LLM.fingerprint`."""
        found: str = self.call("fingerprint")
        return found

    def call(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """What a method of the `LLM` in the other process returns, or raises; arguments and result must be
        what can be pickled."""
        self._check_usable()
        return self._result(RemoteCall(method, args, kwargs))

    def call_now(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """As `call`, but it waits for no restart: EngineError unless the engine is ready, and stays so."""
        self._check_usable()
        if self._supervisor.state != "ready":
            raise self._supervisor.error("is not ready; ask again later")
        return self._result(RemoteCall(method, args, kwargs, waits=False))

    def _result(self, call: RemoteCall) -> Any:
        with unless_asker_leaves(lambda: self._ledger.give_up(call)):
            self._ledger.add(call)
            return call.result()

    @property
    def status(self) -> EngineStatus:
        """How the engine is."""
        self._look()
        notices = [self._loaded.notice] if self._loaded.notice else []
        if self._watched.is_replaced:
            notices.append("another file is in the place of this model's; it is served on from the old one")
        return EngineStatus(
            self._supervisor.state, self._supervisor.n_restarts, "; ".join(notices), self._supervisor.pid
        )

    def close(self) -> None:
        """Ends the process, and what runs in it; closing twice is fine."""
        TURN_TAKERS.leave(self._supervisor)
        self._supervisor.close()
        self._model.close()

    @property
    def _n_outputs(self) -> int:
        return self._loaded.n_outputs

    @property
    def _has_draft(self) -> bool:
        return self._loaded.has_draft

    def _jobs(
        self,
        ids: Ids,
        params: SamplingParams,
        edit: Edits | None,
        on_token: OnToken | None = None,
        text: ChatTokenizer | None = None,
    ) -> Sequence[RemoteText]:
        if on_token is not None:
            raise _no_function("on_token")
        if any(callable(sampler) for sampler in params.samplers or ()):
            raise _no_function("samplers")
        seed = secrets.randbits(64) if params.seed is None else params.seed
        if params.seed is None:  # so that after a death the same text comes
            params = copy.copy(params)
            object.__setattr__(params, "seed", seed)
        texts = [
            RemoteText(
                ids,
                params,
                choice,
                seed,
                self._loaded.seconds,
                self._receipts(params, choice, edit, text or self._text),
            )
            for choice in range(params.n)
        ]
        marks = None if text is None else (text.shown_ids, text.end_ids)
        RemotePrompt(ids, params, edit, marks, texts)
        return texts

    def _taps(self, ids: Ids, edit: Edits | None) -> Taps | None:
        """Only what a `cache_key` describes is data that can go elsewhere."""
        if not edit:
            return None
        if edits_key(edit) is None:
            raise _no_function("edit")
        return Taps(self.activations, len(ids), edit)

    def _check_usable(self) -> None:
        self._supervisor.check_usable()
        self._look()
        self._supervisor.check_usable()

    def _look(self) -> None:
        """Notices what has become of the file."""
        if self._supervisor.state in ("lost", "closed"):
            return
        if (problem := self._watched.problem()) is not None:
            self._supervisor.lose(problem)
        elif self._watched.look():
            self._on_event(
                EngineEvent(
                    "replaced",
                    "the model's file was replaced, and is served on from the old one",
                    logging.WARNING,
                    {"path": str(self.path)},
                )
            )


def _no_function(name: str) -> RequestError:
    return RequestError(f"`{name}` has a function, which cannot go to the process in which the model runs")


if TYPE_CHECKING:

    def _is_backend(engine: RemoteEngine) -> Backend:
        """A type checker sees that it is."""
        return engine
