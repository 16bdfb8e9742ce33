"""Batches over a Ray cluster of several nodes: the bytes are those of one machine, whatever dies. Skipped
without Ray, unless NYBBLE_REQUIRE_RAY=1."""

import json
import os
import signal

import pytest
import tiny_model
from optional_package import optional_package

import nybble
from nybble.cli import main
from nybble.errors import ModelError, NybbleError, RequestError

ray = optional_package("ray")

from ray.cluster_utils import Cluster  # noqa: E402

from nybble.batch import ray_run, run_batch, run_batch_on_ray  # noqa: E402

TEXT, EMBED = "/v1/completions", "/v1/embeddings"
N = 150


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model.write(tmp_path_factory.mktemp("batch") / "tiny.gguf", n_ctx=256)


@pytest.fixture(scope="module")
def cluster():
    """A head that computes nothing, and two nodes that do. Tests may add and kill nodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def asked(model, tmp_path):
    """A file of requests, what one machine answers, and where the cluster's answers go."""
    paths = tmp_path / "in.jsonl", tmp_path / "local.jsonl", tmp_path / "out.jsonl"
    words = ["the", "other", "hand", "is", "here"]
    with paths[0].open("w", encoding="utf-8") as file:
        for i in range(N):
            text, n_tokens = " ".join(words[: 1 + i % 5]), 1 + i * 7 % 23
            body = {"prompt": text, "max_tokens": n_tokens, "temperature": 0.8}
            url, body = (EMBED, {"input": text}) if i % 10 == 0 else (TEXT, body)
            body = {**body, "temperature": -1} if i == 123 else body
            print(json.dumps({"custom_id": f"r{i}", "url": url, "body": body}), file=file)
            print("\n" if i % 50 else "no JSON", file=file)
    with nybble.LLM(model, n_threads=1) as llm:
        run_batch(llm, *paths[:2], pooling="mean")
    return paths


def run(model, paths, cluster, **options):
    return run_batch_on_ray(
        model, paths[0], paths[2], address=cluster.address, pooling="mean", n_threads=1, **options
    )


def test_the_death_of_a_node_costs_nothing_but_time(model, asked, cluster):
    victim = cluster.add_node(num_cpus=2)
    done = []

    def progress(n_bytes):
        done.append(n_bytes)
        if len(done) == 20:
            cluster.remove_node(victim, allow_graceful=False)

    summary = run(model, asked, cluster, n_workers=3, on_progress=progress)
    assert asked[2].read_bytes() == asked[1].read_bytes() and len(done) == N + 3
    assert (summary.n_requests, summary.n_kept, summary.n_failed) == (N + 3, 0, 4)


def test_the_death_of_a_worker_costs_nothing_but_time(model, asked, cluster, capsys, monkeypatch):
    """As if it had been killed for the memory that it takes; by the command."""
    mark = str(asked[0].with_name("mark"))

    class Mortal(ray_run._Worker):
        def __call__(self, segment):
            if not os.path.exists(mark):
                open(mark, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(segment)

    monkeypatch.setattr(ray_run, "_Worker", Mortal)
    words = ["batch", *map(str, (asked[0], asked[2])), "--model", str(model), "--pooling", "mean"]
    assert main([*words, "--threads", "1", "--workers", "2", "--ray", cluster.address]) == 0
    assert f"{N + 3} requests, 4 failed; " in capsys.readouterr().err
    assert asked[2].read_bytes() == asked[1].read_bytes() and os.path.exists(mark)
    assert main([*words, "--workers", "2"]) == 1 and "--workers needs --ray" in capsys.readouterr().err


def test_each_goes_on_with_what_the_other_has_begun(model, asked, cluster):
    whole = asked[1].read_bytes()
    partial = asked[2].with_name("out.jsonl.partial")
    partial.write_bytes(b"".join(whole.splitlines(keepends=True)[:77]) + b'{"id":"ba')
    assert run(model, asked, cluster).n_kept == 77 and asked[2].read_bytes() == whole
    asked[2].unlink()

    def stop(n_bytes):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, asked, cluster, on_progress=stop)
    with nybble.LLM(model, n_threads=1) as llm:
        assert run_batch(llm, asked[0], asked[2], pooling="mean").n_kept == 1
    assert asked[2].read_bytes() == whole
    with pytest.raises(RequestError, match=r"is there already, with all results"):
        run(model, asked, cluster)
    asked[2].rename(partial)
    other = tiny_model.write(asked[0].parent / "other.gguf", n_ctx=256, seed=1)
    with pytest.raises(RequestError, match=r"of another model or version \(result 1\)"):
        run(other, asked, cluster)
    assert run(model, asked, cluster).n_kept == N + 3, "all were done"


def test_what_is_wrong_is_said(model, asked, cluster, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"missing\.gguf"):
        run(model.with_name("missing.gguf"), asked, cluster)
    with pytest.raises(RequestError, match="n_ctx"):
        run(model, asked, cluster, n_ctx=-1)
    monkeypatch.setattr(ray_run, "_key", lambda **asked: b"of another machine")
    with pytest.raises(ModelError, match=r"has another .*tiny\.gguf, or another version of nybble"):
        run(model, asked, cluster)
    with pytest.raises(NybbleError, match="the Ray cluster has failed; the same command goes on with"):
        raise_in_cluster(ray.exceptions.NodeDiedError("all are gone"))


def raise_in_cluster(error):
    with ray_run._cluster(None):
        raise error
