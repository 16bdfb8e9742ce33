"""Receipts from strangers: whatever is in them, they are verified or refused, and nothing else happens."""

import copy
import hashlib
import json

import pytest
from hypothesis import given, settings, strategies as st

import nybble
from nybble import Receipt, RequestError
from nybble.testing import tiny_model

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def llm():
    with nybble.LLM(tiny_model(), n_ctx=64, n_threads=1) as llm:
        yield llm


@pytest.fixture(scope="module")
def facts(llm):
    params = nybble.SamplingParams(max_tokens=4, temperature=1.0, top_k=9, regex="[a-c]{2,5}")
    return llm.generate("the", params).receipt.as_dict()


@settings(max_examples=300)
@given(data=st.data())
def test_any_field_may_hold_anything(llm, facts, data):
    changed = copy.deepcopy(facts)
    for _ in range(data.draw(st.integers(1, 2))):
        place = changed
        if data.draw(st.booleans()):
            place = changed["params"] if isinstance(changed["params"], dict) else changed
        place[data.draw(st.sampled_from(sorted(place)) | st.text(max_size=6))] = data.draw(JSON)
    changed.pop("checksum", None)
    text = json.dumps(changed, sort_keys=True, separators=(",", ":"))
    sealed = {**changed, "checksum": hashlib.sha256(text.encode()).hexdigest()}
    try:
        found = llm.verify(Receipt.from_json(json.dumps(sealed)))
    except RequestError as error:
        assert len(str(error)) < 2000
    else:
        assert found.is_same == (not found.difference)


@settings(max_examples=200)
@given(st.binary(max_size=40), st.integers(0, 400))
def test_any_bytes_may_stand_in_the_file(facts, tmp_path_factory, junk, at):
    path = tmp_path_factory.mktemp("receipts") / "r.json"
    whole = json.dumps(facts).encode()
    path.write_bytes(whole[:at] + junk + whole[at + len(junk) :])
    try:
        receipt = Receipt.load(path)
    except RequestError:
        return
    assert receipt.as_dict() == json.loads(whole) == facts
