"""Without the JIT (`NUMBA_DISABLE_JIT=1`) the same executor runs the same kernels as plain Python: a debugger
can step through them, and they are a second oracle for the machine code. `python test_plain_python.py FILE
OUT` is the script."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_model
from numpy.typing import NDArray

from nybble.engine.executors.numba.executor import NumbaExecutor
from nybble.engine.model import Model
from nybble.engine.scheduler.seats import single_seat
from nybble.kernels.jit.kernel import JIT_DISABLED


def logits(path: str) -> NDArray[np.float32]:
    """Of a prompt of 4 tokens, then of 2 more one by one."""
    model = Model.load(path)
    executor = NumbaExecutor(model.plan, 16, 2, 16)
    ids = np.array([5, 9, 2, 7, 11, 3], np.int32)
    sequence = single_seat(executor)
    rows = [sequence.forward(ids[:4], 0, np.arange(4))]
    rows += [sequence.forward(ids[i : i + 1], i, np.arange(1)) for i in (4, 5)]
    executor.close()
    model.close()
    return np.concatenate(rows)


@pytest.mark.parametrize(("arch", "weight_format"), [("llama", "Q4_K"), ("gemma3", "Q5_0")])
def test_a_model_in_plain_python(tmp_path: Path, arch: str, weight_format: str) -> None:
    """The same numbers, but for `fma`, which rounds twice in plain Python: an activation may fall to the next
    level."""
    path = str(tiny_model.write(tmp_path / "m.gguf", arch, weight_format, n_layers=1))
    out = str(tmp_path / "logits.npy")
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    result = subprocess.run(
        [sys.executable, __file__, path, out], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split() == ["True", "False"], "not jitted, and Numba not even imported"
    expected = logits(path)
    np.testing.assert_allclose(np.load(out), expected, rtol=0, atol=3e-3 * np.abs(expected).max())


if __name__ == "__main__":
    np.save(sys.argv[2], logits(sys.argv[1]))
    print(JIT_DISABLED, "numba" in sys.modules)
