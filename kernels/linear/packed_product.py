"""The product of packed tiles with any number of tokens: what all kernels with packed weights have in common.

Few tokens are multiplied with the packed weights themselves (`token_product`). For more of them a piece of a
tile is unpacked (`unpack_piece`) and then multiplied with all: 16 at a time on machines with a unit for small
matrices (`matrix_product`), else in vectors (`vector_product`). The bits are the same.

Working memory of a thread:

    piece     of each tile (2 at most)
    sums      of the tokens of a pass; for few tokens too, if the layout has minima
    words     their activations as int16, or in pairs, where the machine wants them
  or with a unit for matrices
    piece
    products  (2, 16, 16) int32
    results   (16, 16) float32, of the tokens that are left over, fewer than 16
    tokens    of a pass, packed, if they have not been packed for all threads
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..language.checks import check_array
from ..language.pointer import F32, I8, I16, I32, I64, U8, cast
from ..language.record import Field, PointerTo
from ..language.rows import CACHE_LINE, aligned_zeros
from ..language.simd import load, matrix_end, matrix_start, store
from ..language.source import inlined
from ..target.target import host_target
from ..weights.layout import BLOCK, TILE_ROWS, Layout
from . import matrix_product
from .block_scales import RegisterTile
from .matrix_product import PRODUCTS
from .packed_tokens import LEAST_TOKENS, TOKENS, TOKENS_BYTES, pack_blocks, packed_arguments
from .piece import PIECE_BLOCKS, PIECE_BYTES, blocks_per_piece, is_in_words, unpack_piece
from .token_product import token_product
from .vector_product import put_pairs, put_words, sums_of_sub_blocks, vector_product

LEAST_PER_PASS, TOKENS_PER_PASS = 128, 512  # with fewer, unpacking would cost too much
VALUES_PER_PASS = 1 << 20  # of activations: they stay in the second-level cache for all tiles of a thread
SUMS_AT = PRODUCTS_AT = 2 * PIECE_BYTES
RESULTS_AT = PRODUCTS_AT + 2 * 4 * PRODUCTS
TOKENS_AT = RESULTS_AT + 4 * PRODUCTS

PACKED_INPUTS: dict[str, Field] = {
    "x": PointerTo(I8),
    "x_scale": PointerTo(F32),
    "x_sum": PointerTo(I32),
    "x_half": PointerTo(I32),
    "tokens": PointerTo(I8),
    "has_tokens": I64,
    "working": PointerTo(U8),
    "n_in": I64,
    "ld_working": I64,
}
"""The arguments of a kernel that its products read."""


def few_tokens() -> int:
    """The least number of tokens for which unpacking is faster."""
    if host_target().has_matrix_unit:
        return LEAST_TOKENS
    return 33 if _has_wide_vectors() else 4


def _has_wide_vectors() -> bool:
    """Are the 16 rows of a tile one vector? Then there are registers for products with 8 tokens at once."""
    return host_target().lanes == TILE_ROWS


@inlined
def tokens_per_pass(n_in: int) -> int:
    """How many tokens are multiplied with all tiles before the next ones are."""
    n = TOKENS_PER_PASS
    while n > LEAST_PER_PASS and n * n_in >= VALUES_PER_PASS:
        n //= 2
    return n


def _working_bytes(n_in: int) -> int:
    # The most that a pass can have, for this number of columns or fewer.
    n_blocks = max(VALUES_PER_PASS, LEAST_PER_PASS * n_in) // BLOCK
    n_bytes = SUMS_AT + n_blocks * 2 * 4
    if host_target().multiplies_words:
        n_bytes += n_blocks * BLOCK * 2
    if host_target().multiplies_pairs:
        n_bytes += n_blocks * BLOCK + n_in  # an odd number of tokens has one more
    if host_target().has_matrix_unit:
        n_bytes = TOKENS_AT + n_blocks // TOKENS * TOKENS_BYTES
    return -(-n_bytes // CACHE_LINE) * CACHE_LINE


def working_memory(n_in: int, n_threads: int) -> NDArray[np.uint8]:
    """Working memory of the threads for products of up to n_in columns: (n_threads, bytes)."""
    return aligned_zeros((n_threads, _working_bytes(n_in)), np.uint8)


def packed_inputs(n: int, n_in: int, xs: tuple[NDArray, ...], working: NDArray[np.uint8]) -> dict[str, Any]:
    """The arguments `PACKED_INPUTS`, checked: for n tokens the arrays of `bind_quantize`, with or without
    tokens packed side by side, the sums times `Layout.sum_factor`; and `working_memory` for at least n_in
    columns, with a row for every thread that will run the call; calls that never run at the same time can
    share it. Raises TypeError or ValueError."""
    x, scale, sums, half, *packed = xs
    check_array("x", x, (n, n_in), np.int8)
    check_array("scale", scale, (n, n_in // BLOCK))
    check_array("sum", sums, (n, n_in // BLOCK), np.int32)
    check_array("half", half, (n, n_in // BLOCK), np.int32)
    check_array("working", working, (None, None), np.uint8)
    if working.shape[1] < _working_bytes(n_in):
        raise ValueError(
            f"working has {working.shape[1]} bytes a thread; {n_in} columns need {_working_bytes(n_in)}"
        )
    arrays = {"x": x, "x_scale": scale, "x_sum": sums, "x_half": half}
    tokens = packed_arguments(packed[0] if packed else None, n, n_in)
    return {**arrays, **tokens, "n_in": n_in, "working": working, "ld_working": working.shape[1]}


@inlined
def activations(args, t):
    """The addresses of the activations of token t: values, scales, sums and half sums."""
    b = t * (args.n_in // BLOCK)
    return args.x + t * args.n_in, args.x_scale + b, args.x_sum + b, args.x_half + b


class Product(NamedTuple):
    """Two functions for kernels with `PACKED_INPUTS`, which multiply n tokens from number `first` on with
    tiles; n is up to `tokens_per_pass`. If tokens have been packed for all threads, `first` is a multiple of
    `TOKENS`.

    `prepare(args, first, n, thread_id)` is called once, before the tiles.
    `multiply(args, w, w_step, first, n, out, out_step, ld_out, thread_id)` multiplies the tile at w, or two,
    of which the second is w_step bytes after the first. A token's 16 results are written ld_out after those
    of the token before, those of the second tile out_step after those of the first. With both steps 0 the
    second tile is the first.
    """

    prepare: Callable[..., Any]
    multiply: Callable[..., Any]


def packed_product(layout: Layout, n_tiles: int = 1) -> Product:
    """Make the functions for one tile at a time, or two."""
    make = _by_matrices if host_target().has_matrix_unit else _by_vectors
    prepare_many, multiply_many = make(layout, n_tiles)
    prepare_few, multiply_few = _few_tokens_product(layout, n_tiles)
    is_pair, lanes, n_few = n_tiles == 2, host_target().lanes, few_tokens()

    @inlined
    def prepare(args, first, n, thread_id):
        if n >= n_few:
            prepare_many(args, first, n, thread_id)
        else:
            prepare_few(args, first, n, thread_id)

    @inlined
    def multiply(args, w, w_step, first, n, out, out_step, ld_out, thread_id):
        second_out = out_step if is_pair else lanes
        if n >= n_few:
            multiply_many(args, w, w_step, first, n, out, second_out, ld_out, thread_id)
        else:
            multiply_few(args, w, w_step, first, n, out, second_out, ld_out, thread_id)

    return Product(prepare, multiply)


def _few_tokens_product(layout: Layout, n_tiles: int) -> Product:
    """The functions that multiply n tokens with the packed weights themselves: with wide vectors 8 at a time,
    and of the rest 4, 2 and 1."""
    by_groups = _has_wide_vectors()
    has_products = by_groups and layout.has_min and layout.sub_block == BLOCK
    write_sums = sums_of_sub_blocks(layout)
    # 8 with one tile: the sums of two would fill all registers.
    by_eight = token_product(layout, RegisterTile(8), has_products=has_products)
    by_four, by_two, by_one = (token_product(layout, RegisterTile(n, n_tiles)) for n in (4, 2, 1))

    @inlined
    def products_of(args, thread_id):
        return cast(args.working + (thread_id * args.ld_working + SUMS_AT), F32)

    @inlined
    def prepare(args, first, n, thread_id):
        if has_products and n >= 8:
            _, scale, total, half = activations(args, first)
            write_sums(scale, total, half, products_of(args, thread_id), n // 8 * 8 * (args.n_in // BLOCK))

    @inlined
    def multiply(args, w, w_step, first, n, out, second_out, ld_out, thread_id):
        n_in, t, end = args.n_in, first, first + n
        if by_groups:
            while t + 8 <= end:
                xs = activations(args, t)
                if has_products:
                    x, scale, _, half = xs
                    products = products_of(args, thread_id) + (t - first) * (n_in // BLOCK)
                    xs = x, scale, products, half
                for i in range(n_tiles if w_step > 0 else 1):
                    by_eight(w + i * w_step, 0, xs, out + i * second_out, 0, n_in, ld_out)
                t, out = t + 8, out + 8 * ld_out
            if t + 4 <= end:
                by_four(w, w_step, activations(args, t), out, second_out, n_in, ld_out)
                t, out = t + 4, out + 4 * ld_out
            if t + 2 <= end:
                by_two(w, w_step, activations(args, t), out, second_out, n_in, ld_out)
                t, out = t + 2, out + 2 * ld_out
        while t < end:
            by_one(w, w_step, activations(args, t), out, second_out, n_in, ld_out)
            t, out = t + 1, out + ld_out

    return Product(prepare, multiply)


def _by_vectors(layout: Layout, n_tiles: int) -> Product:
    """The functions for machines without a unit for matrices."""
    in_pairs = host_target().multiplies_pairs
    unpack, product = unpack_piece(layout, as_int8=in_pairs), vector_product(layout, n_tiles)
    write_sums, sum_type = sums_of_sub_blocks(layout), F32 if layout.has_min else I32
    in_words = is_in_words(layout)
    piece_blocks = blocks_per_piece(layout)
    bytes_per_piece = layout.tile_bytes(piece_blocks * BLOCK)
    bytes_per_block = bytes_per_piece // piece_blocks

    @inlined
    def words_of(args, piece):
        words = piece + (SUMS_AT + tokens_per_pass(args.n_in) * (args.n_in // BLOCK) * 2 * 4)
        return cast(words, I8 if in_pairs else I16)

    @inlined
    def prepare(args, first, n, thread_id):
        piece, n_blocks = args.working + thread_id * args.ld_working, n * (args.n_in // BLOCK)
        x, scale, total, half = activations(args, first)
        write_sums(scale, total, half, cast(piece + SUMS_AT, sum_type), n_blocks)
        if in_words:
            put_words(x, words_of(args, piece), n_blocks)
        elif in_pairs:
            put_pairs(x, words_of(args, piece), n, args.n_in)

    @inlined
    def multiply(args, w, w_step, first, n, out, second_out, ld_out, thread_id):
        n_in, n_blocks = args.n_in, args.n_in // BLOCK
        piece = args.working + thread_id * args.ld_working
        sums = cast(piece + SUMS_AT, sum_type)
        x, scale, _, _ = activations(args, first)
        x_block = BLOCK
        if in_words:
            x = words_of(args, piece)
        elif in_pairs:
            x, x_block = words_of(args, piece), 2 * BLOCK
        next_tile = w + (bytes_per_block * n_blocks + (n_tiles - 1) * w_step)
        for b in range(0, n_blocks, piece_blocks):
            n_now = min(piece_blocks, n_blocks - b)
            for i in range(n_tiles):
                unpack(w + i * w_step, piece + i * PIECE_BYTES, n_now)
            w = w + bytes_per_piece
            next_w = w if b + piece_blocks < n_blocks else next_tile
            ahead = next_w, w_step, bytes_per_block
            xs = x + b * x_block, scale + b, sums + b, sums + (n * n_blocks + b)
            product(piece, xs, out, second_out, n, n_now, n_in, ld_out, b == 0, ahead)

    return Product(prepare, multiply)


def _by_matrices(layout: Layout, n_tiles: int) -> Product:
    """The functions for machines with a unit for matrices."""
    width, n_subs = layout.sub_block, BLOCK // layout.sub_block
    unpack = unpack_piece(layout, as_int8=True)
    product = matrix_product.piece_product(layout)
    bytes_per_piece = layout.tile_bytes(PIECE_BLOCKS * BLOCK)
    bytes_per_step = bytes_per_piece * width // (PIECE_BLOCKS * BLOCK)

    @inlined
    def prepare(args, first, n, thread_id):
        n_blocks = args.n_in // BLOCK
        packed = cast(args.working + (thread_id * args.ld_working + TOKENS_AT), I8)
        if args.has_tokens == 0:
            for t in range(n):
                pack_blocks(activations(args, first + t), packed, t, 0, n_blocks, n_blocks)

    @inlined
    def multiply(args, w, w_step, first, n, out, second_out, ld_out, thread_id):
        n_blocks, piece = args.n_in // BLOCK, args.working + thread_id * args.ld_working
        products, results = cast(piece + PRODUCTS_AT, I32), cast(piece + RESULTS_AT, F32)
        packed = cast(piece + TOKENS_AT, I8)
        if args.has_tokens != 0:
            packed = args.tokens + first // TOKENS * n_blocks * TOKENS_BYTES
        n_ahead = (2 * bytes_per_step) // min((n + TOKENS - 1) // TOKENS, 2)
        matrix_start(width)
        for i in range(n_tiles if w_step > 0 else 1):
            tile, tile_out = w + i * w_step, out + i * second_out
            for b in range(0, n_blocks, PIECE_BLOCKS):
                n_now = min(PIECE_BLOCKS, n_blocks - b)
                unpack(tile, piece, n_now)
                tile = tile + bytes_per_piece
                for t in range(0, n, TOKENS):
                    o, ld = tile_out + t * ld_out, ld_out
                    if t + TOKENS > n:
                        o, ld = results, TILE_ROWS
                    now = packed + (t // TOKENS * n_blocks + b) * TOKENS_BYTES
                    tokens = now, now + n_blocks * TOKENS_BYTES if t + TOKENS < n else now
                    is_begun = t > 0 and n_now * n_subs % 2 == 0
                    # The next piece is asked for by the first 32 tokens: by 16 it would all come at once.
                    ahead = tile + t // TOKENS * n_ahead, bytes_per_step, n_ahead if t < 2 * TOKENS else 0
                    product(piece, tokens, products, o, n_now, ld, b == 0, is_begun, ahead)
            for t in range(n - n % TOKENS, n):
                store(tile_out + t * ld_out, load(results + t % TOKENS * TILE_ROWS, TILE_ROWS))
        matrix_end()

    return Product(prepare, multiply)
