"""A model whose matrices are random blocks of one format: the kernels compute what the reference does.

`numba/test_executor.py` has more on the formats that `gguf` can write; here is every one.
"""

from pathlib import Path

import numpy as np
import pytest
from format_model import N_CTX, write

from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.executors.reference.executor import ReferenceExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.seats import single_seat
from nybble.gguf_io.formats import PLAIN, SUPPORTED, BlockFormat

BOUND, BOUND_OF_FLOATS = 1e-3, 2e-7
"""NMSE of the logits; with blocks activations are rounded to 8 bits, with floats only keys and values."""


@pytest.mark.parametrize("format", SUPPORTED, ids=lambda format: format.name)
def test_both_executors_agree(format: BlockFormat, tmp_path: Path) -> None:
    model = Model.load(write(tmp_path / "model.gguf", format))
    ids = np.random.default_rng(3).integers(0, model.config.n_vocab, N_CTX).astype(np.int32)
    expected = single_seat(ReferenceExecutor(model.plan, N_CTX)).forward(ids, 0, np.arange(N_CTX))
    assert expected.std() > 0.1
    executor = NumbaExecutor(model.plan, N_CTX, 2)
    sequence = single_seat(executor)
    for chunk in (N_CTX, 7, 1):
        sequence.reset()
        found = [
            sequence.forward(ids[i : i + chunk], i, np.arange(len(ids[i : i + chunk])))
            for i in range(0, N_CTX, chunk)
        ]
        error = np.square(np.concatenate(found) - expected).mean() / expected.var()
        assert error < (BOUND_OF_FLOATS if format in PLAIN else BOUND), chunk
    executor.close()
    model.close()
