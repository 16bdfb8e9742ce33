"""What the front and the process of an engine say to each other, pickled.

front -> engine    Start, then any number of Begin, Cancel, Question, TakeTurns
engine -> front    Notice, Loaded or Failed; then Begun, News (one for a step) and Answer
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...engine.executors.base import Ids
from ...engine.generation.logprobs import TokenLogprob
from ...engine.generation.output import FinishReason
from ...engine.hooks.taps import Edits
from ...engine.model_info import ModelInfo
from ...engine.sampling.params import SamplingParams
from ...errors import NybbleError


@dataclass(frozen=True)
class Start:
    """Which model is to be loaded, and how."""

    path: str
    options: Mapping[str, Any]
    """Arguments of `LLM`."""
    falls_back: bool
    """May it choose mapped weights or smaller keys and values, where memory is short?"""
    parent: int
    """The number of the front's process."""
    is_quiet: bool


class Begin(NamedTuple):
    """Texts that continue a prompt, which has been checked."""

    key: int
    ids: Ids
    params: SamplingParams
    edit: Edits | None
    marks: tuple[frozenset[int], frozenset[int]] | None
    """What `ChatTokenizer` shows, and what ends an answer; None for no chat."""


class Cancel(NamedTuple):
    """One of the texts of `Begin` is not wanted any more, or what a `Question` asks for."""

    key: int
    choice: int = 0


class Question(NamedTuple):
    """A method of `LLM` to be called."""

    key: int
    method: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class TakeTurns(NamedTuple):
    """Steps are computed in turn with the other processes that know this folder; None: without regard."""

    folder: str | None


class Notice(NamedTuple):
    """Something that the front's log should have."""

    text: str


class Loaded(NamedTuple):
    """The model is there."""

    info: ModelInfo
    identity: object
    """`GGUFFile.identity` of the file that was loaded."""
    n_outputs: int
    has_draft: bool
    seconds: tuple[float, float]
    """For loading and for compiling."""
    notice: str
    """What the front should say of how it was loaded; "" for nothing."""


class Failed(NamedTuple):
    """It cannot be loaded."""

    error: BaseException


class Begun(NamedTuple):
    """The next step has tokens of these requests, for the first time."""

    keys: Sequence[int]


class TextNews(NamedTuple):
    """What has come of a text since the last time."""

    key: int
    choice: int
    pieces: Sequence[tuple[str, int]]
    """A text, and how many of the tokens belong to it."""
    token_ids: Sequence[int]
    logprobs: Sequence[TokenLogprob] | None
    n_chosen: int
    times: tuple[float, float]
    """The seconds that the prompt and the tokens after it have taken."""
    n_cached: int
    prompt_logprobs: list[TokenLogprob | None] | None
    """Once, when the prompt has run."""
    end: TextEnd | None


class TextEnd(NamedTuple):
    """How a text has ended."""

    finish_reason: FinishReason | None
    error: BaseException | None


class News(NamedTuple):
    """What a step has brought. Plain tuples are pickled in half the time."""

    rows: Sequence[tuple[Any, ...]]

    @classmethod
    def of(cls, texts: Sequence[TextNews]) -> News:
        """The message of some texts."""
        return cls(list(map(tuple, texts)))

    @property
    def texts(self) -> list[TextNews]:
        """What there is of each text."""
        return list(map(TextNews._make, self.rows))


class Answer(NamedTuple):
    """What a method has returned or raised."""

    key: int
    value: Any
    error: BaseException | None


def portable(error: BaseException) -> BaseException:
    """The error, or one with the same message if it cannot be pickled."""
    try:
        found = pickle.loads(pickle.dumps(error))
    except Exception:
        found = None
    if type(found) is type(error) and str(found) == str(error):
        return error
    return NybbleError(f"{type(error).__name__}: {error}")
