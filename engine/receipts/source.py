"""What receipts are made from: they are made when somebody asks, for the hash of a model takes its time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import NybbleError
from ...kernels.target.target import host_target
from ..hooks.taps import Edits
from ..sampling.params import SamplingParams
from ..scheduler.state_key import installed_version
from .params import params_facts
from .receipt import Receipt


@dataclass(frozen=True)
class Origin:
    """What the bits of all texts of an LLM depend on."""

    model: str
    architecture: str
    executor: str
    cache_type: str
    n_ctx: int
    hash: Callable[[], str]
    """Of the model's file, all of which is read the first time."""

    def facts(self) -> dict[str, Any]:
        """As a receipt has them."""
        target = host_target()
        try:
            model_hash = self.hash()
        except ValueError as error:
            raise NybbleError(
                f"{self.model} is closed; ask for a receipt while it is open: after one others are made, too"
            ) from error
        return {
            "nybble": installed_version(),
            "model": self.model,
            "architecture": self.architecture,
            "model_hash": model_hash,
            "executor": self.executor,
            "cache_type": self.cache_type,
            "n_ctx": self.n_ctx,
            "machine": {
                "processor": target.cpu,
                "kernels": target.dot,
                "numpy": installed_version("numpy"),
                "llguidance": installed_version("llguidance"),
            },
        }


@dataclass(frozen=True, eq=False)
class ReceiptSource:
    """Makes the receipt of a text. Pickled, it is the receipt, or None if that cannot be made any more."""

    origin: Origin
    prompt_ids: Sequence[int]
    params: SamplingParams
    seed: int
    choice: int
    eog_ids: frozenset[int]
    edits: Edits | None
    token_ids: Sequence[int]
    finish_reason: str

    def __call__(self) -> Receipt:
        """The receipt. ModelError if the model's file was written to."""
        return Receipt.of(
            **self.origin.facts(),
            prompt_ids=list(self.prompt_ids),
            params=params_facts(self.params, self.seed),
            choice=self.choice,
            eog_ids=sorted(self.eog_ids),
            edits=[
                [pattern, key]
                for pattern, edit in (self.edits or {}).items()
                if (key := getattr(edit, "cache_key", None)) is not None
            ],
            obstacle=self._obstacle(),
            token_ids=list(self.token_ids),
            finish_reason=self.finish_reason,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        try:
            return MadeReceipt, (self(),)
        except NybbleError:  # it cannot be made any more
            return type(None), ()

    def _obstacle(self) -> str | None:
        for pattern, edit in (self.edits or {}).items():
            if getattr(edit, "cache_key", None) is None:
                return f"the edit of {pattern!r:.100} is a function without a `cache_key`"
        own = [each for each in self.params.samplers or () if not isinstance(each, str)]
        return f"the sampler {type(own[0]).__name__:.100} is a function" if own else None


@dataclass(frozen=True)
class MadeReceipt:
    """A receipt that is there."""

    receipt: Receipt

    def __call__(self) -> Receipt:
        """The receipt."""
        return self.receipt
