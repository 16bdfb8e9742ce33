"""The sampler: chooses the tokens of a text by their logits."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import RequestError
from ...kernels.sampling.reference import REFERENCE, SamplingFunctions, argmax_reference
from ..grammar.constraint import Constraint
from .chain import Breakers, make_chain
from .logits import Logits
from .params import SamplingParams
from .penalties import LogitBias
from .uniform import uniform

_NONE = np.empty(0, np.intp)


class Sampler:
    """Chooses the tokens of a text by `params`, one after the other.

    What may not come is masked first; then come the logit bias, the chain of samplers, and the draw. A
    sampler with a state, as mirostat's, needs the tokens in order; for others they may be chosen in any
    order, and more than once.

    `functions` are NumPy's, or compiled ones. `suppressed_ids` (n,) are never chosen. `eog_ids`, and the
    `stop_token_ids` of `params`, end the text, and are not chosen before `min_tokens`; nor are `eog_ids` if
    `ignore_eos`. `constraint` allows only some tokens; it must be told which are chosen. `choice` is the
    number of the text among the alternatives for one prompt, which differ in their draws. `seed` is that of
    `params`, or the random one that was taken if that is None.
    """

    def __init__(
        self,
        params: SamplingParams,
        functions: SamplingFunctions = REFERENCE,
        suppressed_ids: NDArray[np.intp] = _NONE,
        choice: int = 0,
        *,
        eog_ids: Collection[int] = (),
        breakers: Breakers | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        self.params = params
        self.seed = secrets.randbits(64) if params.seed is None else int(params.seed)
        self.choice = choice
        self._functions = functions
        self._constraint = constraint
        bans = {
            "the tokens that the file suppresses": suppressed_ids,
            "ignore_eos": _ids(eog_ids if params.ignore_eos else ()),
        }
        self._bans = {name: token_ids for name, token_ids in bans.items() if len(token_ids)}
        end_ids = _ids({*eog_ids, *params.stop_token_ids})
        self._bans_before_min_tokens = {**self._bans, "min_tokens": end_ids} if len(end_ids) else self._bans
        self._bias = LogitBias(params.logit_bias) if params.logit_bias else None
        self._bias_bans = -np.inf in params.logit_bias.values()
        self._chain = make_chain(params, breakers or {})

    def __call__(self, logits: NDArray[np.float32], index: int, ids: Sequence[int] = ()) -> int:
        """The id of the generated token number `index`, 0 for the first, chosen from its `logits` (n_vocab,)
        float32, which hold no NaN or +inf (see `StepRows.are_sound`), and may be changed. `ids` is the text
        so far, the prompt included.

        RequestError, which says by what, if all tokens are banned, and if a caller's sampler leaves none or
        gives what is no id.
        """
        bans = self._bans_before_min_tokens if index < self.params.min_tokens else self._bans
        if self._constraint is not None:
            self._functions.mask(logits, self._constraint.allowed())
        for token_ids in bans.values():
            logits[token_ids] = -np.inf
        if self._bias is not None:
            self._bias(Logits(logits), ids)
        if not self._chain and self.params.is_greedy:
            best = argmax_reference(logits)
            if logits[best] == -np.inf:
                raise self._nothing_is_left(bans)
            return best
        if (bans or self._constraint is not None or self._bias_bans) and logits.max() == -np.inf:
            raise self._nothing_is_left(bans)
        left = Logits(logits, self._functions, lambda lane: uniform(self.seed, self.choice, index, lane))
        for sampler in self._chain:
            if (chosen := sampler(left, ids)) is not None:
                return chosen
        return left.id_at(argmax_reference(left.values) if self.params.is_greedy else left.draw()[0])

    def _nothing_is_left(self, bans: Iterable[str]) -> RequestError:
        """The error for logits that are all banned, which says by what."""
        by = [] if self._constraint is None else [self._constraint.name]
        by += [*bans, "logit_bias"] if self._bias_bans else bans
        return RequestError(f"no token is left that may come next: all are banned, by {', '.join(by)}")


def _ids(token_ids: Collection[int]) -> NDArray[np.intp]:
    return np.array(sorted(token_ids), np.intp)
