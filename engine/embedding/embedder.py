"""Embeddings: a vector for each text, pooled from those of its tokens, and the scores of classifiers.

    mean   the mean of all tokens
    cls    the first token, such as [CLS]
    last   the last token, the only one of a decoder that sees all others
    none   no pooling: a vector for each token

A model may have matrices after the pooling, or after the tokens without pooling. They give the embedding, or
a score for each class.

Sources: Reimers & Gurevych 2019, "Sentence-BERT" (arXiv:1908.10084); Nogueira & Cho 2019, "Passage Re-ranking
with BERT" (arXiv:1901.04085); llama.cpp `src/llama-graph.cpp`, build_pooling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelError, RequestError
from ...gguf_io.tensor import Tensor
from ..executors.reference.run import run_alone
from ..generation.prompt import Prompt
from ..generation.prompts import Prompts
from ..model import Model
from ..scheduler.diagnosis import damaged_weight
from ..scheduler.driver import Driver
from ..tracing.recorder import Recorder
from .reranking import first_probability, pair_ids, rerank_template

Array = NDArray[np.float32]
Pooling = Literal["none", "mean", "cls", "last"]

_POOLINGS = ("none", "mean", "cls", "last", "rank")  # by their numbers in files


def pool(rows: Array, pooling: Pooling) -> Array:
    """The embeddings of a text's tokens, (n, n_embd), n > 0 -> (1, n_embd), or with "none" unchanged."""
    if pooling == "mean":
        return rows.mean(axis=0, keepdims=True)
    return {"none": rows, "cls": rows[:1], "last": rows[-1:]}[pooling]


def normalized(rows: Array) -> Array:
    """Rows divided by their Euclidean lengths; a row of zeros stays."""
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    divided: Array = (rows / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    return divided


class Embedder:
    """Computes embeddings with the model that runs by `driver`; `prompts_of`: texts, and what an argument
    calls them -> what can be run."""

    def __init__(self, model: Model, driver: Driver, prompts_of: Callable[..., Prompts]) -> None:
        self._model, self._driver, self._prompts_of = model, driver, prompts_of
        self._weights: dict[Tensor, Array] = {}

    def embed(self, texts: Prompt | Sequence[Prompt], pooling: Pooling | None, normalize: bool) -> Array:
        """See `LLM.embed`."""
        chosen, prompts = self._pooling(pooling), self._prompts_of(texts, "texts")
        if chosen == "none" and len(prompts) != 1:
            raise RequestError("without pooling there is a vector for each token: embed one text at a time")
        head = self._model.pooled_plan
        embeddings = [pool(rows, chosen) for rows in self._tokens(prompts)]
        if not head.has_scores:
            embeddings = [self._after_pooling(pooled) for pooled in embeddings]
        found = np.concatenate([np.empty((0, self._model.config.n_embd), np.float32), *embeddings])
        return normalized(found) if normalize else found

    def classify(self, texts: Prompt | Sequence[Prompt]) -> Array:
        """See `LLM.classify`."""
        config, path = self._model.config, self._model.file.path
        if not self._model.pooled_plan.has_scores:
            raise RequestError(f"{path} has no classifier (tensors cls and cls.output); use `LLM.embed`")
        by_file = _POOLINGS[config.classifier_pooling or 0]
        pooling: Pooling = "mean" if by_file == "mean" else "last" if self._model.plan.is_causal else "cls"
        prompts = self._prompts_of(texts, "texts")
        scores = [self._after_pooling(pool(rows, pooling)) for rows in self._tokens(prompts)]
        return np.concatenate([np.empty((0, config.n_classes), np.float32), *scores])

    def rerank(self, query: str, documents: Sequence[str]) -> Array:
        """See `LLM.rerank`."""
        tokenizer, file = self._model.tokenizer, self._model.file
        if tokenizer is None:
            raise RequestError(f"{file.path} has no tokenizer; use `LLM.classify` with token ids")
        template = rerank_template(file)
        scores = self.classify([pair_ids(tokenizer, template, query, text) for text in documents])
        return scores[:, 0] if scores.shape[1] == 1 else first_probability(scores)

    def _pooling(self, asked: str | None) -> Pooling:
        """The pooling that the caller asks for, or else the file's; RequestError if it gives no embedding."""
        path, number = self._model.file.path, self._model.config.pooling
        known = get_args(Pooling)
        if asked is not None and asked not in known:
            raise RequestError(f"pooling must be one of {', '.join(known)}, not {asked!r:.100}")
        by_file = _POOLINGS[number] if number is not None and 0 <= number < len(_POOLINGS) else None
        chosen = by_file if asked is None else asked
        if chosen == "rank":
            raise RequestError(
                f'{path} is made for ranking: use `LLM.rerank`, or embed with pooling="mean" or "cls"'
            )
        if chosen is None:
            raise RequestError(
                f"{path} does not say how embeddings are pooled (its pooling_type is {number}); choose with "
                'pooling="mean", pooling="cls" or pooling="last"'
            )
        return chosen  # type: ignore[return-value]

    def _tokens(self, prompts: Prompts) -> Iterator[Array]:
        """The embeddings of each text's tokens, (n, n_embd); ModelError if they are not finite."""
        name = self._model.plan.embedding
        recorder = Recorder(self._model.activations, prompts, [name], [None] * len(prompts), None)
        for i, trace in enumerate(recorder.run(self._driver)):
            rows = trace[name]
            if not np.isfinite(rows).all():
                position = int(np.argwhere(~np.isfinite(rows))[0, 0])
                where = f"{self._model.file.path}: the embedding at position {position}"
                cause = self._driver.scheduler.cause_of_nan(trace.ids, position)
                with prompts.naming(i):
                    raise ModelError(f"{where} is NaN or infinite{cause}")
            yield rows

    def _after_pooling(self, pooled: Array) -> Array:
        """The output of the matrices after the pooling, if there are any; ModelError if it is not finite."""
        head = self._model.pooled_plan
        with np.errstate(over="ignore", invalid="ignore"):
            found = run_alone(head.ops, {"pooled": pooled}, self._values)[head.output]
        if not np.isfinite(found).all():
            cause = damaged_weight(head.ops) or "its weights are finite, but it leaves the range of float32"
            raise ModelError(
                f"{self._model.file.path}: what stands after the pooling is NaN or infinite: {cause}"
            )
        return found

    def _values(self, weight: Tensor) -> Array:
        if weight not in self._weights:
            self._weights[weight] = weight.dequantize()
        return self._weights[weight]
