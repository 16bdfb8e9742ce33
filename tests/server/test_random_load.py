"""Random requests and a load of all kinds at a real server, as `bench/serve.py` has them, but fewer."""

import sys
from pathlib import Path

import pytest

from nybble.testing import tiny_model

BENCH = str(Path(__file__).parents[2] / "bench")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    sys.path.insert(0, BENCH)
    try:
        from serving.server_process import ServerProcess

        log = tmp_path_factory.mktemp("server") / "log"
        with ServerProcess.nybble(str(tiny_model()), log, "--ctx", "512", "--parallel", "8") as server:
            yield server
    finally:
        sys.path.remove(BENCH)


def test_no_random_request_is_a_failure(server):
    from serving.fuzz import fuzz

    assert fuzz(server, 400, seed=1)


def test_the_ledgers_of_client_and_server_agree(server):
    """Nothing is lost, texts are those that are asked for one after another, and nothing leaks."""
    from serving.ledger import ledger

    assert ledger(server, 100, 16, seed=2, n_compared=30)


def test_load_goes_on_for_a_while(server):
    from serving.soak import soak

    assert soak(server, 4, kill_every=60, n_at_once=16, seed=3)
