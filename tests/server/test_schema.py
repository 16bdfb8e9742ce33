"""Random requests by the schema, and what is beside it: no answer is a failure of the server."""

import json
import string

import pytest
from hypothesis import given, settings, strategies as st
from served import client

import nybble
from nybble.server.app import ENDPOINTS
from nybble.server.schema import fields as kinds
from nybble.server.schema.fields import (
    Either,
    Field,
    Fixed,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Number,
    OneOf,
    Record,
    Text,
)
from nybble.server.schema.sampling import TokenIds
from nybble.server.wire.errors import APIError
from nybble.testing import tiny_model

POSTS = {endpoint.path: endpoint.schema for endpoint in ENDPOINTS if endpoint.schema is not None}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.text(string.ascii_lowercase + " <|>{}é\n", min_size=1, max_size=12)


def fitting(kind):
    """Values of a kind, small ones."""
    match kind:
        case Integer(low, high):
            return st.integers(low, min(high, low + 40)) | st.sampled_from((low, high))
        case Number(low, high, above):
            return st.floats(low, high, exclude_min=above) | st.sampled_from((high,))
        case Flag():
            return st.booleans()
        case Text():
            return WORDS.map(lambda text: text[: kind.n_max])
        case OneOf(values):
            return st.sampled_from(values)
        case ListOf(item, n_max, n_min):
            return st.lists(fitting(item), min_size=n_min, max_size=min(n_max, n_min + 2))
        case MapOf(value, _):
            return st.dictionaries(st.integers(0, 400).map(str), fitting(value), max_size=3)
        case Either(several):
            return st.one_of([fitting(each) for each in several])
        case TokenIds():
            return st.lists(st.integers(0, 400), min_size=1, max_size=6)
        case Record():
            return record(kind)
        case Fixed(harmless):
            return st.sampled_from(harmless) if harmless else st.none()
        case _:
            return JSON


def record(kind, model=False):
    """Objects with the required fields, and some of the others."""
    needed = {key: fitting(each.kind) for key, each in kind.fields.items() if each.is_required}
    if "role" in needed:
        needed["role"] = st.sampled_from(("user", "assistant", "system", "tool", "user"))
        needed["content"] = WORDS
    if model:  # without it the only one is asked
        needed["model"] = st.sampled_from(("m", "m", "m", "n"))
    others = {key: fitting(each.kind) for key, each in kind.fields.items() if key not in (*needed, "model")}
    if not others:
        return st.fixed_dictionaries(needed)
    names = st.lists(st.sampled_from(sorted(others)), max_size=4, unique=True)
    return names.flatmap(lambda some: st.fixed_dictionaries(needed | {name: others[name] for name in some}))


def few(body):
    """A request that does not generate for long."""
    given = [name for name in ("max_completion_tokens", "max_output_tokens") if name in body]
    options = {"options": {**(body.get("options") or {}), "num_predict": 2}}
    return {**body, "max_tokens": 2, **dict.fromkeys(given, 2), **options}


@pytest.fixture(scope="module")
def asker():
    with nybble.LLM(tiny_model(), n_ctx=128, n_threads=1, n_seq_max=4) as llm:
        yield client(llm, n_seq_max=4)


def check(asker, path, body):
    answer = asker.post(path, json=body)
    assert answer.status_code in (200, 400, 404), (answer.status_code, answer.text, body)
    if answer.status_code != 200:
        assert "error" in answer.json()
    elif body.get("stream") is not True and "ndjson" not in answer.headers["content-type"]:
        assert isinstance(answer.json(), dict)
    return answer.status_code


@pytest.mark.parametrize("path", POSTS)
def test_requests_by_the_schema(asker, path):
    statuses = []

    @settings(max_examples=40, derandomize=True)
    @given(record(POSTS[path], model=True))
    def ask(body):
        statuses.append(check(asker, path, few(body)))

    ask()
    assert asker.get("/health").status_code == 200
    assert 200 in statuses or path in ("/v1/embeddings", "/v1/rerank", "/api/embed")


@pytest.mark.parametrize("path", POSTS)
def test_requests_beside_the_schema(asker, path):
    """One field is something else."""

    @settings(max_examples=40, derandomize=True)
    @given(record(POSTS[path], model=True), st.sampled_from(sorted(POSTS[path].fields)), JSON)
    def ask(body, name, value):
        check(asker, path, {**few(body), name: value} if name != "max_tokens" else {**body, name: value})

    ask()


@settings(max_examples=200, derandomize=True)
@given(st.sampled_from(sorted(POSTS)), JSON)
def test_a_kind_takes_what_its_schema_takes(path, value):
    """What is described to clients is what is checked."""
    import jsonschema

    for field in POSTS[path].fields.values():
        if isinstance(field.kind, kinds.Fixed | kinds.Anything) or isinstance(value, float):
            continue  # 5.0 is an integer to a JSON schema, and not to us
        try:
            field.kind.check(value, "x")
            is_taken = True
        except APIError:
            is_taken = False
        if is_taken:
            jsonschema.validate(value, field.kind.json_schema())


def test_null_is_as_good_as_none_and_other_names_are_read():
    schema = Record(
        {"a": Field(Integer(0, 5), default=3), "b": Field(Integer(0, 5), reads_as="a")}, frozenset({"c"})
    )
    assert schema.read({"a": None, "c": [1]}) == ({"a": 3}, [])
    assert schema.read({"b": 4, "d": 1}) == ({"a": 4}, ["d"])
    with pytest.raises(APIError, match="b must be an integer from 0 to 5, not 6"):
        schema.read({"b": 6})
    with pytest.raises(APIError, match="the body must be an object"):
        schema.read(json.loads("[]"))
