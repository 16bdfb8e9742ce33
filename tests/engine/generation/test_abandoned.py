"""What nobody has any more: it is gone, whatever has become of it."""

import gc
import weakref

import pytest

import nybble
from nybble.testing import tiny_model

LAYER = "blk.0.resid_post"


@pytest.fixture(scope="module")
def llm():
    with nybble.LLM(tiny_model(), n_ctx=128) as llm:
        yield llm


@pytest.mark.parametrize("kind", ["stream", "submit", "sequence"])
def test_what_has_failed_lives_no_longer_than_it_is_had(llm, kind):
    """Though the error's traceback knows it."""

    def fail(value, info):
        raise LookupError("mine")

    asked = {
        "stream": lambda: llm.stream("a", edit={LAYER: fail}),
        "submit": lambda: llm.submit("a", edit={LAYER: fail}),
        "sequence": lambda: llm.sequence("a", edit={LAYER: fail}),
    }[kind]()
    with pytest.raises(LookupError):
        asked.run() if kind == "sequence" else asked.result()
    is_alive = weakref.ref(asked)
    del asked
    gc.collect()
    assert is_alive() is None
