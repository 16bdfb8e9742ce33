"""What can be run as a prompt, and what is said about what cannot."""

import numpy as np
import pytest

from nybble.engine.generation.prompt import prompt_ids
from nybble.errors import RequestError

N_VOCAB = 100


def check(prompt, n_ctx=10):
    return prompt_ids(prompt, lambda text: [ord(letter) - 32 for letter in text], N_VOCAB, n_ctx)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "empty"),
        ([], "empty"),
        (np.empty(0, np.int64), "empty"),
        ("x" * 11, r"11 tokens, .* n_ctx=10"),
        ([1] * 11, r"11 tokens, .* n_ctx=10"),
        ("ab\ud800c", "lone surrogate, '\\\\ud800', at index 2"),
        ([1, 2, 100], "token id 100 at index 2 is outside the vocabulary, 0 to 99"),
        ([1, -1], "token id -1 at index 1"),
        ([5, 2**63], "token id 9223372036854775808 at index 1"),
        ([5, 2**70], "token id 1180591620717411303424 at index 1"),
        ([5, -(2**70)], "token id -1180591620717411303424 at index 1"),
        ([1.0, 2.0], "integers in one flat list, not 1.0 at index 0"),
        (np.array([True]), "not True at index 0"),
        ([None], "not None at index 0"),
        (["a"], "not 'a' at index 0"),
        ([[1, 2]], r"one flat list, not \[1, 2\] at index 0"),
        ([[1], [2, 3]], "one flat list"),
        (np.int32(3), "text or a list of token ids"),
        (5, "text or a list of token ids"),
        (b"abc", "text or a list of token ids"),
        (None, "text or a list of token ids"),
    ],
)
def test_prompts_that_cannot_be_run(prompt, message):
    with pytest.raises(RequestError, match=message):
        check(prompt)


@pytest.mark.parametrize(
    "prompt", ["!#", [1, 3], (1, 3), np.array([1, 3], np.uint64), np.array([1, 3], np.int8)]
)
def test_prompts_become_int32(prompt):
    ids = check(prompt)
    assert ids.dtype == np.int32 and ids.tolist() == [1, 3]
    assert check(range(10)).tolist() == list(range(10))
