"""For people's own tests: a tiny model to run, and a stand-in that runs nothing.

from nybble.testing import MockBackend, tiny_model

llm = nybble.LLM(tiny_model())
backend = MockBackend(["What a model would say."])
"""

from .mock_backend import MockBackend, MockRequest
from .mock_stream import MockStream
from .model_file import tiny_model

__all__ = ["MockBackend", "MockRequest", "MockStream", "tiny_model"]
