"""Linear layers of a mixture of experts: each token is multiplied with the matrices of its chosen experts.

    out[t, s, :] = scale[e] * (weight[e] @ x[t, s, :]) + bias[e, :]        e = ids[t, s], s < n_used

    ids     (n, n_used) integers              weight  (n_experts, n_out, n_in) float32
    x       (n, n_in), the same for every slot of a token, or (n, n_used * n_in), slot by slot
    out     (n, n_used * n_out) float32       bias    (n_experts, n_out) float32 or None
                                              scale   (n_experts,) float32 or None

Only the chosen experts are read. In `head_linear` every head has its own matrix instead: head h of x is
multiplied with weight[h].

The kernel works on pairs grouped by expert, with the products of tiles of other linear layers: a result
depends on its pair alone. The cost of an expert is proportional to its pairs; threads get equal shares of the
sum, cut between tiles. The result of a pair whose expert does not exist is NaN.

Source: Shazeer et al. 2017, "Outrageously Large Neural Networks" (arXiv:1701.06538).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...gguf_io.formats import BlockFormat
from ..jit.kernel import Call, Kernel, kernel
from ..language.checks import Array, check_array, check_indices
from ..language.pointer import F32, I64, U8
from ..language.record import Field, PointerTo, Record
from ..language.rows import padded_width, share
from ..language.simd import load, store
from ..language.source import inlined
from ..linear.mapped import TILES, tile_arguments, tile_maker, tile_weights
from ..linear.packed_product import TOKENS_PER_PASS, packed_product, tokens_per_pass
from ..linear.tile_product import Weights, input_arguments, inputs_of, tile_product
from ..target.target import host_target
from ..weights.floats import ELEMENT_OF
from ..weights.layout import BLOCK, TILE_ROWS, Layout
from .groups import Groups


def expert_linear_reference(
    x: Array,
    ids: NDArray[np.integer],
    matrix_of: Callable[[int], Array],
    n_out: int,
    bias: Array | None = None,
    is_shared: bool = True,
    scale: Array | None = None,
) -> Array:
    """x and ids as above, `matrix_of(expert)` -> (n_out, n_in); -> (n, n_used * n_out).

    `is_shared`: x is the same for every slot of a token.
    """
    check_array("x", x, (None, None))
    check_indices("ids", ids, (len(x), None))
    n, n_used = ids.shape
    out = np.empty((n, n_used, n_out), np.float32)
    for expert in np.unique(ids):
        matrix = matrix_of(int(expert))
        check_array("matrix", matrix, (n_out, None))
        token, slot = np.nonzero(ids == expert)
        rows = x[token] if is_shared else x.reshape(n, n_used, -1)[token, slot]
        found = rows @ matrix.T
        if scale is not None:
            found *= scale[expert]
        if bias is not None:
            found += bias[expert]
        out[token, slot] = found
    return out.reshape(n, -1)


def head_linear_reference(x: Array, weight: Array) -> Array:
    """x (n, n_heads * n_in), weight (n_heads, n_out, n_in) -> (n, n_heads * n_out)."""
    check_array("weight", weight, (None, None, None))
    n_heads, _, n_in = weight.shape
    check_array("x", x, (None, n_heads * n_in))
    heads = x.reshape(len(x), n_heads, n_in).transpose(1, 0, 2)  # (n_heads, n, n_in)
    return (heads @ weight.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(len(x), -1)


LD_RESULTS = 2 * TILE_ROWS
SCRATCH = TOKENS_PER_PASS * LD_RESULTS


def expert_scratch(n_threads: int) -> Array:
    """Working memory of the threads: the results of a tile, or two, for the tokens of a pass."""
    return np.zeros((n_threads, SCRATCH), np.float32)


@dataclass(frozen=True)
class Mapped:
    """The form of weights that are as in the file: their format, and memory for tiles (n_threads,
    `tiles_bytes`)."""

    format: BlockFormat
    tiles: NDArray[np.uint8]


def bind_expert_linear(
    form: Weights | Mapped,
    weight: NDArray,
    xs: tuple[NDArray, ...],
    groups: Groups,
    out: Array,
    scratch: Array,
    working: NDArray[np.uint8],
    n_out: int,
    bias: Array | None = None,
    scale: Array | None = None,
) -> Call:
    """The kernel, for weights in a compute layout, in floats of a format (F32, F16, BF16), or as in the file.

    weight: whole tiles for each expert, or the bytes of all experts in the file. xs: the gathered inputs of
    up to n_max * n_used pairs, (n_pairs, n_in) float32 or the four arrays of `bind_quantize`. out (n_max, at
    least n_used * n_out). scratch: `expert_scratch`; working: `working_memory`, of which floats need none.
    Raises TypeError or ValueError for arrays that do not fit.
    """
    n_pairs, n_experts, n_used, n_in = len(groups.token), groups.n_experts, groups.n_used, xs[0].shape[1]
    if isinstance(form, Mapped):
        weights, mapped = tile_weights(form.format), form.format
        source = tile_arguments(mapped, weight, (n_out, n_in), form.tiles, n_experts)
    else:
        weights, mapped = form, None
        source = _tiles_of(form, weight, n_in, n_out, n_experts)
    check_array("out", out, (n_pairs // n_used, None))
    if n_used * n_out > out.shape[1]:
        raise ValueError(f"out has rows of {out.shape[1]}; {n_used} x {n_out} columns are needed")
    check_array("scratch", scratch, (None, SCRATCH))
    width = padded_width(n_out)
    biases = np.zeros((1 if bias is None else n_experts, width), np.float32)
    if bias is not None:
        check_array("bias", bias, (n_experts, n_out))
        biases[:, :n_out] = bias
    scales = np.ones(n_experts + 1, np.float32)
    if scale is not None:
        check_array("scale", scale, (n_experts,))
        scales[:n_experts] = scale
    scales[n_experts] = np.nan
    return expert_kernel(weights, mapped).bind(
        **source,
        **input_arguments(weights, xs, n_pairs, n_in, working),
        token=groups.token,
        slot=groups.slot,
        first=groups.first,
        cost=groups.cost,
        bias=biases,
        scale=scales,
        out=out,
        scratch=scratch,
        n_experts=n_experts,
        ld_bias=0 if bias is None else width,
        ld_out=out.shape[1],
    )


def _tiles_of(weights: Weights, packed: NDArray, n_in: int, n_out: int, n_experts: int) -> dict[str, Any]:
    """The arguments for packed tiles, checked."""
    n_tiles = -(-n_out // TILE_ROWS)
    n_all = n_experts * n_tiles
    if isinstance(weights, Layout):
        if n_in == 0 or n_in % (BLOCK * weights.blocks_per_span):
            raise ValueError(f"n_in = {n_in} is no multiple of the blocks of layout {weights.name}")
        check_array("weight", packed, (n_all, weights.tile_bytes(n_in)), np.uint8)
    else:
        check_array("weight", packed, (n_all, n_in, TILE_ROWS), ELEMENT_OF[weights].dtype)
    return {"w": packed, "ld_w": packed.size // n_all, "n_out": n_out, "n_tiles": n_tiles}


@inlined
def _packed_tile(args, tile, thread_id):
    """The address of a tile of the stack."""
    return args.w + tile * args.ld_w


@inlined
def _rounded_up(n: int, divisor: int) -> int:
    """n / divisor, rounded up; 0 for negative n."""
    return max(n + divisor - 1, 0) // divisor


@inlined
def _write_rows(args, results, row, first_pair, n, scale, bias):
    """Scale the results of n pairs, add the bias, and write the rows from `row` on that exist."""
    for i in range(n):
        result = results + i * LD_RESULTS
        value = load(result, TILE_ROWS) * scale + load(bias + row, TILE_ROWS)
        slot = args.slot[first_pair + i] * args.n_out
        out = args.out + (args.token[first_pair + i] * args.ld_out + slot + row)
        if row + TILE_ROWS <= args.n_out:
            store(out, value)
        else:
            store(result, value)
            for j in range(args.n_out - row):
                out[j] = result[j]


@cache
def expert_kernel(weights: Weights, mapped: BlockFormat | None = None) -> Kernel:
    """The kernel for experts in a compute layout or a float format; `mapped`: the format of blocks of a file
    that the tiles are made of."""
    if mapped is not None:
        source, tile_at, name = TILES, tile_maker(mapped), f"mapped_{mapped.name.lower()}"
    elif isinstance(weights, Layout):
        source, tile_at, name = {"w": PointerTo(U8), "ld_w": I64}, _packed_tile, weights.name
    else:
        source, tile_at = {"w": PointerTo(ELEMENT_OF[weights]), "ld_w": I64}, _packed_tile
        name = weights.name.lower()
    if isinstance(weights, Layout) and mapped is None and host_target().lanes == TILE_ROWS:
        n_together, (prepare, multiply) = 2, packed_product(weights, 2)
    else:
        n_together, (prepare, multiply) = 1, tile_product(weights)
    in_pairs = n_together == 2
    pairs = dict.fromkeys(("token", "slot", "first", "cost"), PointerTo(I64))
    floats = dict.fromkeys(("bias", "scale", "out", "scratch"), PointerTo(F32))
    sizes = dict.fromkeys(("n_experts", "n_out", "n_tiles", "ld_bias", "ld_out"), I64)
    fields: dict[str, Field] = {**source, **inputs_of(weights), **pairs, **floats, **sizes}

    @kernel(Record(**fields), f"expert_linear_{name}")
    def expert_linear(args, thread_id, n_threads):
        n_experts, n_tiles = args.n_experts, args.n_tiles
        begin, end = share(args.cost[n_experts + 1] * n_tiles, thread_id, n_threads)
        results, per_pass = args.scratch + thread_id * SCRATCH, tokens_per_pass(args.n_in)
        for expert in range(n_experts + 1):
            cost, start = args.cost[expert + 1] - args.cost[expert], args.cost[expert] * n_tiles
            if cost > 0 and start < end and start + cost * n_tiles > begin:
                matrix = min(expert, n_experts - 1)
                bias, scale = args.bias + matrix * args.ld_bias, args.scale[expert]
                first_tile = _rounded_up(begin - start, cost)
                last_tile = min(n_tiles, _rounded_up(end - start, cost))
                first, last = args.first[expert], args.first[expert + 1]
                for first_pair in range(first, last, per_pass):
                    n = min(per_pass, last - first_pair)
                    prepare(args, first_pair, n, thread_id)
                    for tile in range(first_tile, last_tile, n_together):
                        w, n_now = tile_at(args, matrix * n_tiles + tile, thread_id), n_together
                        if tile + n_together > last_tile:
                            n_now = 1
                        w_step, out_step = 0, 0
                        if in_pairs:
                            w_step, out_step = (n_now - 1) * args.ld_w, (n_now - 1) * TILE_ROWS
                        multiply(args, w, w_step, first_pair, n, results, out_step, LD_RESULTS, thread_id)
                        for i in range(n_now):
                            row, result = (tile + i) * TILE_ROWS, results + i * TILE_ROWS
                            _write_rows(args, result, row, first_pair, n, scale, bias)

    return expert_linear
