"""A tiny model whose engine runs in another process, and the same model here."""

import contextlib

import pytest

import nybble
from nybble.server.remote.open_engine import open_engine
from nybble.testing import tiny_model

OPTIONS = {"n_ctx": 1024, "n_threads": 1}


@pytest.fixture(scope="session")
def tiny_path():
    return tiny_model()


@pytest.fixture(scope="session")
def llm(tiny_path):
    with nybble.LLM(tiny_path, **OPTIONS) as llm:
        yield llm


@pytest.fixture(scope="module")
def engine(tiny_path):
    """One that no test kills."""
    with contextlib.closing(open_engine(tiny_path, "tiny", OPTIONS)) as engine:
        yield engine


@pytest.fixture
def opened(tiny_path):
    """Opens engines, which are closed afterwards, with their events in a list `events`."""
    with contextlib.ExitStack() as stack:

        def open_one(path=tiny_path, name="tiny", **options):
            events = []
            engine = open_engine(path, name, {**OPTIONS, **options}, events.append)
            stack.callback(engine.close)
            engine.events = events
            return engine

        yield open_one
