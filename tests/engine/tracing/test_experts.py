"""Experts chosen by edits, with both executors."""

import architecture_fixtures
import numpy as np
import pytest

import nybble
from nybble.errors import RequestError

IDS = np.arange(40, 64)


@pytest.fixture(scope="module", params=["numba", "reference"])
def mixture(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("mixture") / "m.gguf"
    architecture_fixtures.write(path, architecture_fixtures.description("llama-moe"))
    with nybble.LLM(path, executor=request.param, n_threads=1) as made:
        yield made


def test_experts_can_be_chosen(mixture):
    """What the same expert gives in both slots is the same."""

    def choose(value, info):
        value[:] = 5

    names = ["blk.0.expert_ids", "blk.0.exps_down"]
    trace = mixture.trace(IDS[:4], names, edit={"blk.0.expert_ids": choose})
    assert trace["blk.0.expert_ids"].tolist() == [[5, 5]] * 4
    first, second = trace.heads("blk.0.exps_down").transpose(1, 0, 2)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("number", [-1, 6, 2.5, 1e9])
def test_experts_that_there_are_not_cannot_be_chosen(mixture, number):
    with pytest.raises(RequestError, match=r"blk\.0\.expert_ids must give integers from 0 to 5"):
        mixture.logits(IDS[:4], edit={"blk.0.expert_ids": lambda v, info: np.full_like(v, number)})
