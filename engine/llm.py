"""`LLM`: a model that is loaded and ready to run."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property, partial
from typing import NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from ..gguf_io.display import Shown
from ..hub.models import resolve
from ..kernels.attention.cache_type import CacheTypeName
from ..system.placement import NumaStrategy
from .embedding.embedder import Embedder, Pooling
from .embedding.reranking import class_labels
from .executors.choose import ExecutorName, ExecutorOptions, WeightsName, make_executor
from .generation.draft_source import draft_source
from .generation.in_process import InProcess
from .generation.prompt import Prompt, prompt_ids
from .hooks.activations import find_activations
from .model import Model
from .model_info import ModelInfo
from .receipts.receipt import Receipt
from .receipts.source import Origin
from .receipts.verification import Verification, verified
from .scheduler.driver import Driver
from .scheduler.scheduler import Scheduler
from .scheduler.state_key import installed_version
from .scheduler.stats import Stats
from .scoring.scorer import Scorer
from .steering.control_vector import ControlVector
from .text_front import TextFront
from .tracing.linear_path import LinearPath
from .tracing.tracer import Tracer
from .tracing.unembedding import Unembedding


class LLM(InProcess, TextFront, Tracer, Scorer, Shown):
    """A model, ready to run.  Threads may share it: what they ask for at the same time runs side by side.

        nybble.LLM("smollm2", n_ctx=512).generate("The capital of France is").text

    `model` is a name ("smollm2", "gemma3"), an address ("hf:OWNER/REPO:Q4_K_M", "https://…"; both are fetched
    on first use), a model that Ollama has ("ollama:NAME:TAG"), or the path of a GGUF file (`~`: the home).
    `n_ctx`: the most tokens of prompt and generated text together, for which memory is taken; default: as
    many as the model was trained for, at most 4096.
    `n_threads`: default one per physical core that this process may use.
    `executor`: "numba" is fast; "reference" is NumPy in float32, slow and simple.
    `n_batch`: the tokens that are run at a time; results do not depend on it.
    `n_seq_max`: how many sequences run side by side, by default 32; more of them wait. `n_pool_tokens`: for
    how many tokens all of them have room together, at least and by default n_ctx; what is left of it keeps
    the beginnings of prompts, which are not computed again for others.
    `weights`: "packed" weights are copied to memory in the layout of the kernels; "mapped" ones stay in the
    file, for models larger than memory: the same bits, but slower ("numba" only).
    `cache_type`: of keys and values: "f16" (default), "f32", "q8_0" or "q4_0"; the reference has "f32" only.
    `draft`: speculate on the next tokens, and verify several in one step. "ngram" looks them up earlier in
    the text, another MODEL has a smaller one of the same vocabulary propose them. The texts are the same,
    at any temperature; what does not pay stops by itself. Runs with edits do without, unless each edit has
    a `cache_key`, as those of control vectors have.
    `chat_template`: a Jinja template, or the path of one, in the place of the file's, for conversations.
    `mlock`: keep weights, and keys and values, in memory, whatever the system would swap out or drop.
    `numa`, on machines with several nodes of memory: "distribute" binds the threads to all of them in turns,
    "isolate" to the one on which the caller runs. `cpu_affinity`: the numbers of the CPUs for the threads.
    `n_gpu_layers` is 0: nybble runs on the CPU.

    Raises `RequestError` (a ValueError) for arguments out of range, `GGUFFormatError`, `GGUFUnsupportedError`
    or `ModelError` for a file that cannot be run, `PullError` if a model cannot be fetched.  OSError
    and MemoryError are passed on.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        executor: ExecutorName = "numba",
        n_batch: int = 512,
        n_seq_max: int | None = None,
        n_pool_tokens: int | None = None,
        weights: WeightsName = "packed",
        cache_type: CacheTypeName | None = None,
        draft: str | os.PathLike[str] | None = None,
        chat_template: str | os.PathLike[str] | None = None,
        mlock: bool = False,
        numa: NumaStrategy = "disabled",
        cpu_affinity: Sequence[int] | None = None,
        n_gpu_layers: int = 0,
    ) -> None:
        options = ExecutorOptions(
            n_ctx=n_ctx,
            n_threads=n_threads,
            executor=executor,
            n_batch=n_batch,
            n_seq_max=n_seq_max,
            n_pool_tokens=n_pool_tokens,
            weights=weights,
            cache_type=cache_type,
            mlock=mlock,
            numa=numa,
            cpu_affinity=cpu_affinity,
            n_gpu_layers=n_gpu_layers,
        )
        path = resolve(model)
        started = time.perf_counter()
        opened = Model.load(path)
        try:
            self._read(opened, path, chat_template)
            self._model.file.metadata.release()  # it is not needed any more
            self.n_ctx = n_ctx or self._model.default_n_ctx
            options = replace(options, n_ctx=self.n_ctx)
            self.n_threads = options.placement.n_threads
            self.executor = executor
            self.weights = weights
            smaller = replace(options, n_pool_tokens=None)
            self._draft_source = draft_source(draft, self._model, lambda own: make_executor(own, smaller))
            try:
                made = make_executor(self._model, options)
            except BaseException:
                if self._draft_source is not None:
                    self._draft_source.close()
                raise
        except BaseException:
            opened.close()
            raise
        self.cache_type: CacheTypeName = made.cache_type.name
        has_template = self.chat_template is not None
        self.info = ModelInfo.of(self._model, self.n_ctx, executor, self.cache_type, has_template)
        """What the model is, and how it runs."""
        self.weight_bytes_per_token = made.weight_bytes_per_token
        self.compile_seconds = made.compile_seconds
        self.load_seconds = time.perf_counter() - started - self.compile_seconds
        content_hash = cache(self._model.file.content_hash)
        self._origin = Origin(
            path.name, self.info.architecture, executor, self.cache_type, self.n_ctx, content_hash
        )
        self.scheduler = Scheduler(made, self._model.file.content_hash)
        """What runs in each step; `step` is for callers that drive the model themselves."""
        self._driver = Driver(self.scheduler)

    def unembed(self, residual: NDArray[np.float32]) -> NDArray[np.float32]:
        """residual (n, n_embd) float32 -> logits (n, n_vocab), as if it were the residual stream after the
        last block. Computed in float32 on dequantized weights. RequestError for another shape."""
        return self.unembedding.logits(residual)

    @property
    def unembedding(self) -> Unembedding:
        """The last norm and the head, to be run by themselves."""
        self.scheduler.gate.check_usable()
        return self._unembedding

    def linear_path(self, name: str) -> LinearPath:
        """The path from an activation, such as the output of the heads, to the residual stream; RequestError
        if it is not linear, or the name is unknown."""
        self.scheduler.gate.check_usable()
        (spec,) = find_activations(self.activations, name)[:1]
        return LinearPath(self._model.plan, spec.buffer)

    def embed(
        self, texts: Prompt | Sequence[Prompt], *, pooling: Pooling | None = None, normalize: bool = True
    ) -> NDArray[np.float32]:
        """An embedding of each text: (n_texts, n_embd) float32, of length 1 unless `normalize` is False.

        `texts`: a text or a list of them; a list of token ids may replace a text. Special tokens such as BOS
        and EOS are added where the file asks for it; a prefix that a model needs ("query: ") is not.

        `pooling` makes one embedding of those of a text's tokens: their "mean", that of the first token
        ("cls") or of the "last"; with "none" there is one for each token of a single text. Default: as the
        file says. Any model gives embeddings, but few are trained for it.

        Raises RequestError for a text that is empty or does not fit in the context, and if neither `pooling`
        nor the file says how to pool; ModelError if the model gives NaN.
        """
        return self._embedder.embed(texts, pooling, normalize)

    def classify(self, texts: Prompt | Sequence[Prompt]) -> NDArray[np.float32]:
        """The scores of a classifier or reranker, before any softmax: (n_texts, n_classes) float32.

        `class_labels` has the names of the classes. Raises RequestError for a model that is neither, and what
        `embed` raises.
        """
        return self._embedder.classify(texts)

    def rerank(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """How well each document answers the query, by a reranker: (n_documents,) float32, more is better.

        With several classes (Qwen3-Reranker: yes, no) it is the probability of the first. Raises what
        `classify` raises.
        """
        return self._embedder.rerank(query, documents)

    @property
    def class_labels(self) -> list[str]:
        """The names of the classes of `classify`; empty if the file has none."""
        self.scheduler.gate.check_usable()
        return class_labels(self._model.file, self.config.architecture)

    def stats(self) -> Stats:
        """What has run, and what memory for keys and values holds, in numbers; it waits for nothing."""
        return self.scheduler.stats()

    def model_hash(self) -> str:
        """A hash of the model's file, as a receipt has it; reads all of the file, the first time."""
        return self._origin.hash()

    def fingerprint(self) -> str:
        """What determines the bits of what is generated, besides the request: 12 hexadecimal digits of a hash
        over the file, the version of nybble, the executor and the cache type. Reads all of the file, the
        first time."""
        facts = (self.scheduler.model_hash(), installed_version(), self.executor, self.cache_type)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:12]

    def verify(self, receipt: Receipt, vectors: Sequence[ControlVector] = ()) -> Verification:
        """Makes the text of a receipt (`Output.receipt`) again, and says whether it is the same, to the
        token.

            llm.verify(llm.generate("Once upon a time").receipt).is_same  # True

        `vectors`: the control vectors that it was steered with. Raises RequestError, with the reason, for a
        receipt of another model, executor, cache type or n_ctx, of an edit or a sampler that is a function,
        and for one whose contents are not possible.
        """
        return verified(receipt, self._origin, vectors, self._replayed)

    def close(self) -> None:
        """Frees memory, threads and the file; waits for a step in progress.  Closing twice is fine.

        The tokenizer, and the traces and arrays that the LLM gave, can be used afterwards.
        """
        self.scheduler.close()
        if self._draft_source is not None:
            self._draft_source.close()
        self._model.close()
        for name in ("_unembedding", "_made_embedder"):  # they hold copies of weights
            self.__dict__.pop(name, None)

    def __enter__(self) -> Self:
        self.scheduler.gate.check_usable()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        self.scheduler.gate.__reduce__()

    def __repr__(self) -> str:
        rest = f"n_ctx={self.n_ctx}, n_threads={self.n_threads}, executor={self.executor!r}"
        return f"LLM({os.fspath(self.path)!r}, {rest if self.scheduler.gate.is_open else 'closed'})"

    def _facts(self) -> dict[str, str]:
        config = self.config
        return {
            "file": os.fspath(self.path),
            "state": "open" if self.scheduler.gate.is_open else "closed",
            "model": f"{config.architecture}, {config.n_layers} layers, n_embd {config.n_embd}",
            "tokens": f"n_vocab {config.n_vocab}, n_ctx {self.n_ctx} (trained for {config.n_ctx_train})",
            "runs": f"executor {self.executor}, {self.n_threads} threads, {self.weights} weights",
        }

    def _continuation_ids(self, given: Prompt) -> NDArray[np.int32]:
        return prompt_ids(given, partial(self._encode, add_special=False), self.config.n_vocab, self.n_ctx)

    def _check_usable(self) -> None:
        self.scheduler.gate.check_usable()
        self._model.file.check_unchanged()

    @cached_property
    def _unembedding(self) -> Unembedding:
        return Unembedding(self._model.plan)

    @property
    def _embedder(self) -> Embedder:
        self.scheduler.gate.check_usable()
        return self._made_embedder

    @cached_property
    def _made_embedder(self) -> Embedder:
        return Embedder(self._model, self._driver, self._prompts)
