"""The activations of a model that can be read and replaced: their names, shapes and meanings.

They are the buffers of its plan, in the order of computation, and two more: a block's input, `resid_pre`, is
another name for the buffer that it comes from; the attention probabilities, `attn_probs`, are computed only
on request.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from math import prod

from ...errors import RequestError
from ...gguf_io.display import Shown, Table
from ..plan import ops
from ..plan.plan import Plan
from .meaning import Meaning
from .names import MEANINGS

_BLOCK = re.compile(r"blk\.(\d+)\.")
_ELEMENT_WISE = (
    *(ops.SiluMul, ops.GeluMul, ops.SwigluOai, ops.Xielu, ops.Activate),
    *(ops.Scale, ops.Shift, ops.Clamp, ops.Mul, ops.QueryScale),
)


@dataclass(frozen=True, repr=False)
class ActivationSpec(Shown):
    """One activation: a row of numbers for each token."""

    name: str
    dims: tuple[int | str, ...]
    """The dimensions of a row, such as (n_heads, head_dim); "n_keys" grows with the positions."""
    buffer: str
    """The buffer of the plan that holds it: it has the same name, except for `resid_pre`."""
    is_wanted_only: bool = False
    """Is it computed only for tokens whose logits are wanted, as everything after the last attention?"""
    n_choices: int = 0
    """If not 0, values are integers below it."""

    @cached_property
    def layer(self) -> int | None:
        """The number of its block; None outside of blocks."""
        found = _BLOCK.match(self.name)
        return int(found[1]) if found else None

    @property
    def width(self) -> int | None:
        """Values in a row; None where it grows with the positions."""
        sizes = [size for size in self.dims if isinstance(size, int)]
        return prod(sizes) if len(sizes) == len(self.dims) else None

    @property
    def shape(self) -> str:
        """A text such as "n_tokens x 9 x 64"."""
        return " x ".join(["n_rows" if self.is_wanted_only else "n_tokens", *map(str, self.dims)])

    @property
    def meaning(self) -> str:
        """A line that says what it holds; "" for an unknown name."""
        return _known(self.name).text

    def _facts(self) -> dict[str, str]:
        return {"shape": self.shape, "meaning": self.meaning}

    def __repr__(self) -> str:
        return f"<Activation {self.name!r}, {self.shape}>"


def _known(name: str) -> Meaning:
    return MEANINGS.get(_BLOCK.sub("", name), Meaning(""))


def activation_table(plan: Plan) -> Table[str, ActivationSpec]:
    """Every activation of a plan by its name, in the order of computation."""
    table: dict[str, ActivationSpec] = {}
    dims = _dims(plan)
    n_choices = {op.ids: plan.buffers[op.x] // op.n_sharing for op in plan.ops if isinstance(op, ops.Route)}
    blocks: set[str] = set()
    is_wanted_only = False
    for op in plan.ops:
        if isinstance(op, ops.SelectRows):  # its buffers are known already
            is_wanted_only = True
            continue
        block = _BLOCK.match(op.out)
        if block and block[0] not in blocks:
            blocks.add(block[0])
            came_from = op.inputs[0]
            table[f"{block[0]}resid_pre"] = ActivationSpec(
                f"{block[0]}resid_pre", (plan.buffers[came_from],), came_from
            )
        if isinstance(op, ops.Attention):
            table[op.probs] = ActivationSpec(op.probs, (op.n_heads, "n_keys"), op.probs)
        for name in op.outputs:
            shape = dims.get(name, (plan.buffers[name],))
            table[name] = ActivationSpec(name, shape, name, is_wanted_only, n_choices.get(name, 0))
    return Table(table, "activations")


def hook_names(table: Mapping[str, ActivationSpec]) -> dict[str, str]:
    """The names of TransformerLens, where it has one: "blk.3.resid_pre" -> "blocks.3.hook_resid_pre"."""
    found: dict[str, str] = {}  # by hook: of two names the later is kept
    for name, spec in table.items():
        hook = _known(name).hook
        if hook == "mlp.hook_pre_linear" and f"blk.{spec.layer}.ffn_gate" not in table:
            hook = "mlp.hook_pre"
        if hook:
            found[hook if spec.layer is None else f"blocks.{spec.layer}.{hook}"] = name
    return {name: hook for hook, name in found.items()}


def find_activations(table: Mapping[str, ActivationSpec], pattern: str) -> list[ActivationSpec]:
    """The activations whose names match, in the order of computation; `*` matches anything, `?` and [0-9] one
    character.  RequestError if there is none."""
    if not isinstance(pattern, str):
        raise RequestError(f"the name of an activation is a text, not {pattern!r:.100}")
    if pattern in table:
        return [table[pattern]]
    found = [spec for name, spec in table.items() if fnmatchcase(name, pattern)]
    if not found:
        hint = f"{nearest(table, pattern)} (`LLM.activations` has them all)"
        raise RequestError(f"no activation is called {pattern!r:.100}{hint}")
    return found


def nearest(table: Iterable[str], pattern: str) -> str:
    """A hint for an error message: the most similar names, or patterns of all blocks; "" if there are
    none."""
    names = dict.fromkeys(name for known in table for name in (known, _BLOCK.sub("blk.*.", known)))
    close = difflib.get_close_matches(pattern[:100], names, n=4, cutoff=0.5)
    return f"; the nearest are {', '.join(close)}" if close else ""


def _dims(plan: Plan) -> dict[str, tuple[int, ...]]:
    """The dimensions of buffers whose rows are divided into heads, experts or groups."""
    dims: dict[str, tuple[int, ...]] = {}
    same = [op for op in plan.ops if isinstance(op, _ELEMENT_WISE)]
    for groups in (_groups, _repeated):  # heads come first: norms may have other groups
        for op in plan.ops:
            for name, n_groups in groups(op, plan):
                dims.setdefault(name, (n_groups, plan.buffers[name] // n_groups))
        for op in [*same, *reversed(same)]:  # element-wise operations keep the dimensions
            names = [name for name in (op.out, *op.inputs) if plan.buffers[name] == plan.buffers[op.out]]
            known = next((dims[name] for name in names if name in dims), None)
            if known:
                dims.update({name: known for name in names if name not in dims})
    return dims


def _groups(op: ops.Op, plan: Plan) -> Iterable[tuple[str, int]]:
    """Buffers of an operation, and the number of parts of their rows."""
    match op:
        case ops.Attention():
            new = [(name, op.n_kv_heads) for name in op.inputs[1:]]
            return (op.q, op.n_heads), (op.out, op.n_heads), *new
        case ops.Rope():
            return (op.x, op.n_heads), (op.out, op.n_heads)
        case ops.HeadLinear():
            return (op.x, op.weight.shape[0]), (op.out, op.weight.shape[0])
        case ops.ExpertLinear():
            return ((op.out, plan.buffers[op.out] // op.weight.shape[1]),)
        case ops.DeltaRule():
            heads, keys = op.n_heads, op.n_k_heads
            return (op.q, keys), (op.k, keys), (op.v, heads), (op.out, heads)
        case ops.GatedLinearAttention() | ops.GeneralizedDeltaRule() | ops.Bonus():
            return tuple((name, op.n_heads) for name in (*op.inputs, op.out))
        case ops.SelectiveScan() if op.n_heads < plan.buffers[op.x]:
            x, _, b, c = op.inputs
            return (x, op.n_heads), (b, op.n_groups), (c, op.n_groups), (op.out, op.n_heads)
        case _:
            return ()


def _repeated(op: ops.Op, plan: Plan) -> Iterator[tuple[str, int]]:
    """Buffers of an operation on equal groups, and the number of groups of their rows."""
    n_groups = getattr(op, "n_groups", 1)
    if n_groups > 1 and not isinstance(op, ops.Route):
        yield op.out, n_groups
        if isinstance(op, ops.RmsNorm | ops.LayerNorm | ops.L2Norm):
            yield op.inputs[0], n_groups
