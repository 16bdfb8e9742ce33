"""What a file recommends for sampling: `general.sampling.*`."""

import pytest
import tiny_model
from forge import GGUFForge

import nybble
from nybble import GGUFFormatError, SamplingParams


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return GGUFForge.parse(tiny_model.write(tmp_path_factory.mktemp("r") / "m.gguf").read_bytes())


def params_of(model, tmp_path, found):
    for name, value in found.items():
        model.set(f"general.sampling.{name}", value)
    (tmp_path / "m.gguf").write_bytes(model.build())
    for name in found:
        model.remove(f"general.sampling.{name}")
    with nybble.LLM(tmp_path / "m.gguf", executor="reference") as llm:
        return llm.default_sampling_params()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, {}),
        ({"temp": 0.7, "top_k": 20, "top_p": 0.8}, {"temperature": 0.7, "top_k": 20, "top_p": 0.8}),
        ({"top_k": 64}, {"temperature": 1.0, "top_k": 64}),
        ({"penalty_repeat": 1.05, "penalty_last_n": 32}, {"repeat_penalty": 1.05, "repeat_last_n": 32}),
        ({"mirostat": 2, "mirostat_tau": 4.0, "mirostat_eta": 0.2}, {"mirostat": 2, "mirostat_tau": 4.0}),
        ({"xtc_probability": 0.5, "xtc_threshold": 0.2}, {"xtc_probability": 0.5, "xtc_threshold": 0.2}),
        ({"sequence": "top-k;temp", "top_k": 5}, {"samplers": ["top_k", "temperature"], "top_k": 5}),
    ],
)
def test_its_keys_become_parameters(model, tmp_path, found, expected):
    expected = {"temperature": 1.0, **expected} if expected else {}
    if "mirostat" in found:
        expected["mirostat_eta"] = 0.2
    assert params_of(model, tmp_path, found) == SamplingParams(**expected)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"temp": -1.0}, "temperature must be a number from 0 to 100"),
        ({"temp": "hot"}, "temperature must be a number"),
        ({"top_k": 1.5}, "top_k must be an integer"),
        ({"sequence": 5}, "sequence must be a text"),
        ({"sequence": "top_k;best", "top_k": 5}, r"samplers\[1\] must be the name of a sampler, not 'best'"),
    ],
)
def test_bad_values_stop_no_model_from_loading(model, tmp_path, found, message):
    with pytest.raises(GGUFFormatError, match=rf"m\.gguf: general\.sampling\.\*: {message}"):
        params_of(model, tmp_path, found)
