"""A plan: the operations of a model over named buffers, ready for an executor.

Buffer names are stable and public: people read and replace activations by them. `engine/hooks/names.py`
has all of them, and what they hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Self

from ...errors import RequestError
from ...gguf_io.display import Shown
from ...gguf_io.tensor import Tensor
from . import ops
from .ops.base import Op
from .rope import RopeTable
from .states import StateSpec


@dataclass(frozen=True, eq=False, repr=False)
class Plan(Shown):
    """A model as a list of operations."""

    ops: tuple[ops.Op, ...]
    buffers: Mapping[str, int]  # name -> width, in the order of computation
    rope_tables: Mapping[str, RopeTable]
    states: tuple[StateSpec, ...]  # operations refer to them by number
    output: str = "logits"
    """The last buffer: the logits, or if the model has none, the embeddings."""
    n_ctx_max: int = 0  # the longest context for which this is what the model computes; 0: any

    def _facts(self) -> dict[str, str]:
        sizes = {"ops": self.ops, "buffers": self.buffers, "states": self.states, "matrices": self.matrices}
        return {**{name: str(len(items)) for name, items in sizes.items()}, "output": repr(self.output)}

    @property
    def has_logits(self) -> bool:
        """Does the model say what comes next?  Encoders do not."""
        return self.output == "logits"

    @property
    def has_scores(self) -> bool:
        """Does it give a score for each class?  Of plans that run after a pooling, those of rerankers do."""
        return self.output == "scores"

    @property
    def embedding(self) -> str:
        """The buffer with an embedding of each token: what comes out of the last norm."""
        return "output_norm" if "output_norm" in self.buffers else self.output

    @cached_property
    def is_causal(self) -> bool:
        """Does no token see those after it?  Then a sequence can be run piece by piece."""
        return all(op.is_causal for op in self.ops if isinstance(op, ops.Attention))

    @property
    def matrices(self) -> tuple[Tensor, ...]:
        """The weights that buffers are multiplied with, each once; stacks of experts count as one."""
        linear = ops.Linear | ops.ExpertLinear | ops.HeadLinear
        found = (op.weight for op in self.ops if isinstance(op, linear))
        return tuple({weight.name: weight for weight in found}.values())

    def tokens_at_once(self, n_ctx: int, n_batch: int) -> int:
        """How many tokens a step takes at the most, where `n_batch` are wanted."""
        return min(n_batch, n_ctx) if self.is_causal else n_ctx

    def require_whole(self, start: int) -> None:
        """ValueError if what comes at position `start` would come too late to be seen by those before."""
        if start and not self.is_causal:
            raise ValueError("the tokens of this model see those after them: run all of them in one step")

    def share_read(self, op: Op) -> Fraction:
        """How much of an operation's weights one token meets: of experts, those that it goes to."""
        if isinstance(op, ops.ExpertLinear):
            return Fraction(self.buffers[op.ids], op.weight.shape[0])
        return Fraction(1)

    def for_context(self, n_ctx: int) -> Self:
        """The plan for a context of so many positions; RequestError if the model has not learned as many."""
        if 0 < self.n_ctx_max < n_ctx:
            raise RequestError(
                f"n_ctx={n_ctx} is too long: with more than {self.n_ctx_max} positions the model chooses "
                f"some to attend to, which nybble cannot do; use n_ctx={self.n_ctx_max} at most"
            )
        for op in self.ops:
            if isinstance(op, ops.PositionEmbed) and op.weight.shape[0] < n_ctx:
                n = op.weight.shape[0]
                raise RequestError(f"n_ctx={n_ctx} is more than the {n} positions that the model has learned")
        tables = {name: table.for_context(n_ctx) for name, table in self.rope_tables.items()}
        return replace(self, rope_tables=tables)
