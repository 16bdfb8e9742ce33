"""The encoders of the K-quants; the decoders in `k_quants.py` draw the blocks.

Each group is first fitted by itself (`fit.py`). Then its scale becomes a small integer, its code, times the d
of the block, and its minimum a code times dmin. Rounding loses precision, so neighbouring codes are tried,
and d and dmin are fitted again to the chosen ones.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .blocks import U8, Blocks, Floats
from .fit import dot, fit_scale, fit_scale_and_minimum, levels, quotient, to_half
from .simple_encoders import join_nibbles


def q2_k(x: Floats, blocks: Blocks) -> None:
    coded = _with_minima(x, n_groups=16, highest=3, highest_code=15)
    blocks["d"], blocks["dmin"] = coded.d, coded.dmin
    blocks["scales"] = coded.scales | coded.minima << 4
    blocks["qs"] = join_two_bits(coded.q.reshape(-1, 2, 4, 32)).reshape(-1, 64)


def q3_k(x: Floats, blocks: Blocks) -> None:
    d, codes, q = _scaled(x, lowest=-4, lowest_code=-32)
    blocks["d"] = d
    unsigned = (q + 4).astype(np.uint8)
    blocks["qs"] = join_two_bits(unsigned.reshape(-1, 2, 4, 32) & np.uint8(3)).reshape(-1, 64)
    blocks["hmask"] = np.packbits(unsigned.reshape(-1, 8, 32) >> 2, axis=1, bitorder="little")[:, 0]
    scales = (codes + 32).astype(np.uint8)
    blocks["scales"][:, :8] = join_nibbles(scales)
    blocks["scales"][:, 8:] = join_two_bits(scales.reshape(-1, 4, 4) >> np.uint8(4))


def q4_k(x: Floats, blocks: Blocks) -> None:
    _nibbles_with_minima(x, blocks, highest=15)


def q5_k(x: Floats, blocks: Blocks) -> None:
    q = _nibbles_with_minima(x, blocks, highest=31)
    blocks["qh"] = np.packbits(q.reshape(-1, 8, 32) >> 4, axis=1, bitorder="little")[:, 0]


def _nibbles_with_minima(x: Floats, blocks: Blocks, highest: int) -> U8:
    """Encodes what Q4_K and Q5_K share; -> the levels (n, 256), of which `qs` has the lower 4 bits."""
    coded = _with_minima(x, n_groups=8, highest=highest, highest_code=63)
    blocks["d"], blocks["dmin"] = coded.d, coded.dmin
    blocks["scales"] = join_scales_and_minima(coded.scales, coded.minima)
    blocks["qs"] = join_nibbles(coded.q.reshape(-1, 4, 64)).reshape(-1, 128)
    return coded.q


def q6_k(x: Floats, blocks: Blocks) -> None:
    blocks["d"], blocks["scales"], q = _scaled(x, lowest=-32, lowest_code=-128)
    runs = (q + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    blocks["ql"] = ((runs[:, :, :2] & 15) | runs[:, :, 2:] << 4).reshape(-1, 128)
    blocks["qh"] = join_two_bits(runs >> np.uint8(4)).reshape(-1, 64)


def join_two_bits(q: U8) -> U8:
    """(…, 4, n) -> (…, n): bits 1,0 of all bytes from the first, bits 3,2, 5,4 and 7,6 from the others."""
    shifts = np.array([[0], [2], [4], [6]], np.uint8)
    joined: U8 = np.bitwise_or.reduce(q << shifts, axis=-2)
    return joined


def join_scales_and_minima(sc: U8, mn: U8) -> U8:
    """8 scales and 8 minima of 6 bits, (n_blocks, 8) each -> 12 bytes: the inverse of `scales_and_mins`."""
    first = sc[:, :4] | sc[:, 4:] >> 4 << 6
    second = mn[:, :4] | mn[:, 4:] >> 4 << 6
    third = (sc[:, 4:] & 15) | mn[:, 4:] << 4
    return np.concatenate([first, second, third], axis=1).astype(np.uint8)


def _scaled(x: Floats, lowest: int, lowest_code: int) -> tuple[Floats, Floats, Floats]:
    """x (n, 256) -> d (n,), codes (n, 16), q (n, 256): x = d * code[group] * q, in groups of 16."""
    highest, highest_code = -1 - lowest, -1 - lowest_code
    columns = np.ascontiguousarray(x.reshape(-1, 16).T)
    scales = fit_scale(columns, lowest, highest).reshape(-1, 16)
    extreme = np.take_along_axis(scales, np.abs(scales).argmax(axis=1, keepdims=True), axis=1)
    d = to_half(extreme / np.float32(lowest_code))
    codes = np.clip(np.rint(quotient(scales, d)), lowest_code, highest_code)
    q = levels(columns, (d * codes).reshape(-1), None, lowest, highest)
    xq = dot(columns, q).reshape(codes.shape) * codes
    qq = dot(q, q).reshape(codes.shape) * codes**2
    d = to_half(quotient(xq.sum(axis=1, keepdims=True), qq.sum(axis=1, keepdims=True)))
    q = levels(columns, (d * codes).reshape(-1), None, lowest, highest)
    return d[:, 0], codes, q.T.reshape(x.shape)


class _Coded(NamedTuple):
    """x = d * scales[group] * q - dmin * minima[group]"""

    d: Floats  # (n,)
    dmin: Floats
    scales: U8  # (n, n_groups)
    minima: U8
    q: U8  # (n, 256)


def _with_minima(x: Floats, n_groups: int, highest: int, highest_code: int) -> _Coded:
    """Encodes x (n, 256) in n_groups. Groups are columns; numbers of a block are repeated for its groups."""
    columns = np.ascontiguousarray(x.reshape(-1, 256 // n_groups).T)
    scale, minimum = fit_scale_and_minimum(columns, highest)
    d, dmin = (
        to_half(np.repeat(fitted.reshape(-1, n_groups).max(axis=1) / np.float32(highest_code), n_groups))
        for fitted in (scale, minimum)
    )
    sc, mn = (
        np.clip(np.rint(quotient(fitted, unit)), 0, highest_code)
        for fitted, unit in ((scale, d), (minimum, dmin))
    )
    sc, mn = _best_codes(columns, d, dmin, sc, mn, highest, highest_code)
    d, dmin = _fit_units(columns, d, dmin, sc, mn, highest, n_groups)
    sc, mn = _best_codes(columns, d, dmin, sc, mn, highest, highest_code)
    q = levels(columns, d * sc, dmin * mn, 0, highest)
    scales, minima = (code.astype(np.uint8).reshape(-1, n_groups) for code in (sc, mn))
    return _Coded(d[::n_groups], dmin[::n_groups], scales, minima, q.T.astype(np.uint8).reshape(x.shape))


def _best_codes(
    x: Floats, d: Floats, dmin: Floats, sc: Floats, mn: Floats, highest: int, highest_code: int
) -> tuple[Floats, Floats]:
    """The codes of least error for each group: sc, sc - 1 or sc + 1, with mn or the minimum fitted to it."""
    best = np.full_like(d, np.inf)
    best_sc, best_mn = sc.copy(), mn.copy()
    residual = np.empty_like(x)
    for step in (0, -1, 1):
        new_sc, new_mn = np.clip(sc + step, 0, highest_code), mn
        for _ in range(2):
            minimum = dmin * new_mn
            levels(x, d * new_sc, minimum, 0, highest, out=residual)
            residual *= d * new_sc
            residual -= minimum
            residual -= x
            error = dot(residual, residual)
            better = error < best
            for kept, new in ((best, error), (best_sc, new_sc), (best_mn, new_mn)):
                np.copyto(kept, new, where=better)
            mean = residual.sum(axis=0) / np.float32(len(x))
            new_mn = np.clip(np.rint(quotient(minimum + mean, dmin)), 0, highest_code)
    return best_sc, best_mn


def _fit_units(
    x: Floats, d: Floats, dmin: Floats, sc: Floats, mn: Floats, highest: int, n_groups: int
) -> tuple[Floats, Floats]:
    """The d and dmin of each block with the least error for its codes and levels: the normal equations

    | Σ (sc q)²   -Σ sc q mn |   | d    |   |  Σ x sc q |
    | -Σ sc q mn   Σ mn²     | · | dmin | = | -Σ x mn   |
    """

    def total(per_group: Floats) -> NDArray[np.float64]:
        summed: NDArray[np.float64] = per_group.reshape(-1, n_groups).sum(axis=1, dtype=np.float64)
        return summed

    q = levels(x, d * sc, dmin * mn, 0, highest)
    ss, sm, mm = total(sc * sc * dot(q, q)), total(sc * mn * q.sum(axis=0)), total(mn * mn) * len(x)
    xs, xm = total(sc * dot(x, q)), total(mn * x.sum(axis=0))
    determinant = ss * mm - sm * sm
    # There is no solution for blocks without minima, or with all q equal.
    solvable = determinant > 1e-6 * ss * mm
    solution = np.divide(
        [mm * xs - sm * xm, sm * xs - ss * xm], determinant, where=solvable, out=np.zeros((2, len(ss)))
    )
    new_d, new_dmin = np.repeat(to_half(solution), n_groups, axis=1)
    solved = (new_d > 0) & (new_dmin > 0)
    return np.where(solved, new_d, d), np.where(solved, new_dmin, dmin)
