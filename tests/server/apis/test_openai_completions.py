"""`/v1/completions`: `echo` and log-probabilities are what evaluation harnesses read."""

import math

import openai
import pytest
from served import client, served

import nybble
from nybble import SamplingParams
from nybble.testing import MockBackend, tiny_model

PROMPT = "the other is in"


@pytest.fixture(scope="module")
def llm():
    with nybble.LLM(tiny_model(), n_ctx=512, n_threads=2, n_seq_max=4) as llm:
        yield llm


@pytest.fixture(scope="module")
def post(llm):
    asker = client(llm)

    def asked(**fields):
        answer = asker.post("/v1/completions", json={"prompt": PROMPT, "temperature": 0, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return asked


def test_a_text_goes_on_as_in_python(post, llm):
    out = post(max_tokens=9)
    assert out["choices"][0]["text"] == llm.generate(PROMPT, SamplingParams(max_tokens=9)).text
    assert out["usage"]["completion_tokens"] == 9 and out["object"] == "text_completion"
    assert post()["usage"]["completion_tokens"] == 16, "the API's default"


def test_prompts_of_all_kinds(post, llm):
    ids = llm.prompt_ids(PROMPT).tolist()
    text = llm.generate(PROMPT, SamplingParams(max_tokens=4)).text
    assert post(prompt=ids, max_tokens=4)["choices"][0]["text"] == text
    several = post(prompt=[PROMPT, ids, "of"], max_tokens=4, n=2)
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2, 3, 4, 5]
    assert [choice["text"] for choice in several["choices"][:4]] == [text] * 4
    assert several["usage"]["prompt_tokens"] == 2 * len(ids) + len(llm.prompt_ids("of"))


def test_echo_and_logprobs_are_those_of_the_model(post, llm):
    """What lm-evaluation-harness reads: the log-probability of each token of the prompt."""
    out = llm.generate(PROMPT, SamplingParams(max_tokens=2, logprobs=1, prompt_logprobs=1))
    (choice,) = post(max_tokens=2, echo=True, logprobs=1)["choices"]
    found = choice["logprobs"]
    entries = [*out.prompt_logprobs, *out.logprobs]
    assert choice["text"] == PROMPT + out.text
    assert found["token_logprobs"][0] is None and found["top_logprobs"][0] is None
    assert found["token_logprobs"][1:] == [entry.logprob for entry in entries[1:]]
    assert "".join(found["tokens"]) == choice["text"]
    for offset, token in zip(found["text_offset"], found["tokens"], strict=True):
        assert choice["text"][offset:].startswith(token)
    for top, entry in zip(found["top_logprobs"][1:], entries[1:], strict=True):
        best = entry.top_logprobs[0]
        assert top[best.token] == best.logprob and top[entry.token] == entry.logprob


def test_the_prompt_alone_can_be_scored(post):
    both, alone = post(max_tokens=1, echo=True, logprobs=0), post(max_tokens=0, echo=True, logprobs=0)
    assert alone["choices"][0]["text"] == PROMPT
    n = len(alone["choices"][0]["logprobs"]["tokens"])
    for name, values in alone["choices"][0]["logprobs"].items():
        assert values == both["choices"][0]["logprobs"][name][:n]


@pytest.mark.parametrize(
    "fields", [{}, {"echo": True}, {"max_tokens": 0, "echo": True}, {"n": 2, "echo": True}]
)
def test_a_stream_gives_the_same(llm, post, fields):
    fields = {"max_tokens": 6, "logprobs": 1, "temperature": 0, "prompt": PROMPT, **fields}
    whole = post(**fields)["choices"]
    texts: dict[int, str] = {}
    tokens: dict[int, list[str]] = {}
    offsets: dict[int, list[int]] = {}
    with served(llm) as url:
        api = openai.OpenAI(base_url=f"{url}/v1", api_key="any")
        for chunk in api.completions.create(model="m", stream=True, **fields):
            (part,) = chunk.choices
            texts[part.index] = texts.get(part.index, "") + part.text
            if part.logprobs is not None:
                tokens.setdefault(part.index, []).extend(part.logprobs.tokens)
                offsets.setdefault(part.index, []).extend(part.logprobs.text_offset)
    assert [texts[i] for i in range(len(whole))] == [choice["text"] for choice in whole]
    assert [tokens[i] for i in range(len(whole))] == [choice["logprobs"]["tokens"] for choice in whole]
    assert [offsets[i] for i in range(len(whole))] == [choice["logprobs"]["text_offset"] for choice in whole]


def test_bytes_that_are_no_character_have_names_of_their_own(post):
    tokens = post(prompt="é", max_tokens=0, echo=True, logprobs=0)["choices"][0]["logprobs"]["tokens"]
    assert tokens[1:] == ["bytes:\\xa9"]


def test_impossible_tokens_have_a_finite_number(post):
    """JSON has no infinity."""
    choice = post(max_tokens=1, logprobs=20, logit_bias={"5": -100})["choices"][0]
    assert all(math.isfinite(value) for value in choice["logprobs"]["top_logprobs"][0].values())


def test_nothing_is_asked_for_nothing():
    answer = client(MockBackend()).post("/v1/completions", json={"prompt": "the", "max_tokens": 0})
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "max_tokens"


def test_what_stands_before_a_suffix(filling):
    """By a model with marks for it."""
    llm, asker = filling

    def asked(**fields):
        return asker.post("/v1/completions", json={"temperature": 0, "max_tokens": 7, **fields})

    texts = [
        llm.generate(llm.tokenizer.infill(prompt, " of you"), SamplingParams(max_tokens=7)).text
        for prompt in (PROMPT, "of")
    ]
    found = asked(prompt=[PROMPT, "of"], suffix=" of you").json()
    assert [choice["text"] for choice in found["choices"]] == texts
    plain = llm.generate(PROMPT, SamplingParams(max_tokens=7)).text
    assert asked(prompt=PROMPT, suffix="").json()["choices"][0]["text"] == plain != texts[0]
    for fields, problem in (
        ({"prompt": PROMPT, "echo": True}, "suffix cannot go with echo"),
        ({"prompt": [5, 6]}, "suffix needs a prompt that is a text"),
    ):
        error = asked(suffix="x", **fields).json()["error"]
        assert problem in error["message"] and error["param"] == "suffix"
    other = client(MockBackend()).post("/v1/completions", json={"prompt": "a", "suffix": "b"})
    assert other.status_code == 400 and other.json()["error"]["param"] == "suffix"
    assert "`suffix` needs a model that fills gaps" in other.json()["error"]["message"]
