"""Spans: which rows of a step belong to which sequence.

A step takes rows of several sequences, those of one side by side. Each sequence has a seat, the number of its
state and of its row in tables. `spans` is an int64 array: how many spans there are, then of each its first
row, the row after its last, and the seat. No span is empty.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from .checks import Count, check_array
from .pointer import Pointer
from .rows import aligned_zeros
from .source import inlined

SPAN_WORDS = 3


def span_table(n_max: int) -> Count:
    """Memory for up to n_max spans; there are none."""
    return aligned_zeros((1 + SPAN_WORDS * n_max,), np.int64)


def set_spans(spans: Count, found: Sequence[tuple[int, int, int]]) -> None:
    """Write (first row, row after the last, seat) of each span."""
    words = [len(found), *chain.from_iterable(found)]
    spans[: len(words)] = words


def one_span(n_tokens: int, seat: int = 0) -> Count:
    """All rows of a step of n_tokens belong to one sequence."""
    spans = span_table(1)
    set_spans(spans, [(0, n_tokens, seat)] if n_tokens else [])
    return spans


def check_spans(spans: Count) -> None:
    """TypeError or ValueError unless `spans` is an array for one span at least."""
    check_array("spans", spans, (None,), np.int64)
    if spans.size < 1 + SPAN_WORDS:
        raise ValueError(f"spans must have room for one span, not only {spans.size} numbers")


@inlined
def span_at(spans: Pointer, number: int) -> tuple[int, int, int]:
    """First row, row after the last, and seat."""
    span = spans + (1 + SPAN_WORDS * number)
    return span[0], span[1], span[2]
