"""Sizes in tables of tensors: an integer, or a formula over the fields of `Config`.

    64    "n_ff"    "2*n_ff"    "n_rot/2"    "n_streams-1"    "ssm.d_inner+2*ssm.d_state"

A formula is a sum or difference of products of integers and fields; a product may be divided by an integer at
its end, rounded down.  There are no parentheses.
"""

import re
from functools import cache
from math import prod
from operator import attrgetter

from .config import Config

_FIELD = r"[a-z_]\w*(?:\.[a-z_]\w*)?"
_PRODUCT = rf"(?:\d+|{_FIELD})(?:\*(?:\d+|{_FIELD}))*(?:/[1-9]\d*)?"
_FORMULA = re.compile(rf"{_PRODUCT}(?:[+-]{_PRODUCT})*", re.ASCII)


def is_formula(text: str) -> bool:
    """Is `text` written as a formula?  Its fields need not exist."""
    return _FORMULA.fullmatch(text) is not None


def fields_of(formula: str) -> list[str]:
    """The fields that a formula reads."""
    return re.findall(_FIELD, formula)


def value_of(formula: str, config: Config) -> int:
    """The value of a formula for a model, or for one of its layers."""
    return sum(
        sign * (prod(attrgetter(field)(config) for field in fields) * factor // divisor)
        for sign, factor, fields, divisor in _products(formula)
    )


@cache
def _products(formula: str) -> list[tuple[int, int, list[str], int]]:
    """Of each product: its sign, the product of its integers, its fields, and the divisor."""
    found = []
    for sign, product, divisor in re.findall(r"([+-]?)([\w.*]+)(?:/(\d+))?", formula):
        factors = product.split("*")
        integers = [int(factor) for factor in factors if factor.isdecimal()]
        fields = [factor for factor in factors if not factor.isdecimal()]
        found.append((-1 if sign == "-" else 1, prod(integers), fields, int(divisor or 1)))
    return found
