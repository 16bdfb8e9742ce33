"""Sizes in tables of tensors: formulas over fields of `Config`."""

from types import SimpleNamespace

import pytest

from nybble.engine.config.size import fields_of, is_formula, value_of

CONFIG = SimpleNamespace(n_ff=7, n_embd=10, n_heads=3, n_2=5, ssm=SimpleNamespace(d_inner=4))


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("n_ff", 7),
        ("12", 12),
        ("2*n_ff", 14),
        ("n_ff*n_ff", 49),
        ("n_embd/2", 5),
        ("3*n_ff/2", 10),
        ("n_ff-1", 6),
        ("n_ff/2-n_embd/3", 0),
        ("n_heads*n_embd+2*n_ff-n_2", 39),
        ("3*ssm.d_inner/2+n_ff", 13),
    ],
)
def test_formulas(formula, value):
    assert is_formula(formula)
    assert value_of(formula, CONFIG) == value


def test_fields_of_a_formula():
    assert fields_of("n_heads*n_2+2*ssm.d_inner/3-1") == ["n_heads", "n_2", "ssm.d_inner"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2 * n_ff",
        "(n_ff)",
        "2**n_ff",
        "n_ff/n_embd",
        "n_ff/0",
        "-n_ff",
        "n_ff+",
        "*n_ff",
        "2n_ff",
        ".n_ff",
        "ssm.",
    ],
)
def test_what_is_no_formula(text):
    assert not is_formula(text)
