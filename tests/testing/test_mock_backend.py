"""The mock: a backend as a model is one, that says what was written for it."""

import asyncio

import numpy as np
import pytest

import nybble
from nybble import SamplingParams
from nybble.engine.backend import Backend
from nybble.engine.chat.message import ChatMessage, FunctionCall, ToolCall
from nybble.testing import MockBackend, tiny_model

HELLO = [{"role": "user", "content": "Hello, you!"}]
CALL = ToolCall("call_1", FunctionCall("weather", '{"city": "Oslo"}'))
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def llm():
    with nybble.LLM(tiny_model(), executor="reference") as llm:
        yield llm


def test_both_are_backends(llm):
    assert isinstance(llm, Backend) and isinstance(MockBackend(), Backend)
    assert nybble.Backend is Backend and not isinstance(llm.tokenizer, Backend)


def test_facts_of_a_model(llm):
    info = llm.info
    assert info.name == "nybble's tiny model" and info.architecture == "llama" and info.format == "F32"
    assert info.path == str(llm.path) and info.n_bytes == 4 * info.n_params > 300_000
    assert (info.n_layers, info.n_embd, info.n_ctx, info.n_ctx_train) == (2, 64, 2048, 2048)
    assert (info.executor, info.cache_type) == ("reference", "f32")
    assert info.has_tokenizer and info.has_chat_template and info.can_generate
    assert MockBackend().info.n_vocab == info.n_vocab


def test_facts_of_a_quantized_model(tmp_path):
    path = tmp_path / "quantized.gguf"
    nybble.quantize_gguf(tiny_model(chat_template=""), path, "Q8_0")
    with nybble.LLM(path, executor="reference", n_ctx=64) as llm:
        assert llm.info.format == "Q8_0" and not llm.info.has_chat_template and llm.info.n_ctx == 64


def test_answers_come_in_turn_and_requests_are_kept():
    backend = MockBackend(["one", ChatMessage(content="two")])
    params = SamplingParams(max_tokens=5)
    assert [backend.generate("x").text, backend.chat(HELLO, params).message.content] == ["one", "two"]
    assert backend.generate([80, 81]).text == "one"
    assert [request.asked for request in backend.requests] == ["x", HELLO, [80, 81]]
    assert backend.requests[1].params is params


def test_without_answers_it_says_what_it_was_asked():
    backend = MockBackend()
    assert backend.generate("a text").text == "a text"
    assert backend.chat(HELLO).message.content == "Hello, you!"


def test_tokens_are_counted_as_by_the_model(llm):
    backend = MockBackend(["of the you"])
    out = backend.chat(HELLO)
    assert out.token_ids == llm.tokenizer.encode("of the you") and out.finish_reason == "stop"
    assert out.n_prompt_tokens == len(llm.render(HELLO).token_ids)
    assert backend.render(HELLO, tools=TOOLS).text == llm.render(HELLO, tools=TOOLS).text


def test_limits_and_stop_strings_cut_the_answer():
    backend = MockBackend(["of the you"])
    out = backend.generate("x", SamplingParams(max_tokens=2))
    assert (out.text, out.finish_reason, len(out.token_ids)) == ("of the", "length", 2)
    assert backend.generate("x", SamplingParams(stop=["the"])).text == "of "


def test_reasoning_and_calls():
    answer = ChatMessage(content="Wait.", reasoning="the weather", tool_calls=(CALL,))
    backend = MockBackend([answer])
    stream = backend.chat_stream(HELLO, tools=TOOLS)
    deltas = list(stream)
    assert "".join(delta.reasoning for delta in deltas) == "the weather"
    assert "".join(delta.content for delta in deltas) == "Wait."
    assert deltas[-1].tool_calls[0].function == CALL.function
    assert stream.finish_reason == "stop" and len(stream.token_ids) == len(deltas)
    out = stream.output()
    assert out.message == answer and out.finish_reason == "tool_calls"
    assert backend.requests[0].options == {"tools": TOOLS}


def test_a_stream_may_be_left_and_awaited():
    backend = MockBackend(["of the you"])
    stream = backend.stream("x")
    assert next(stream) == "of" and stream.token_ids == backend.tokenizer.encode("of")
    stream.cancel()
    assert list(stream) == [] and stream.result().text == "of" and stream.finish_reason == "cancelled"

    async def pieces():
        return [piece async for piece in backend.stream("x")]

    assert asyncio.run(pieces()) == ["of", " the", " you"]


def test_embeddings_are_of_length_one_and_the_same_for_the_same_text():
    vectors = MockBackend().embed(["a", "b", "a"])
    assert vectors.shape == (3, 64) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert (vectors[0] == vectors[2]).all() and abs(vectors[0] @ vectors[1]) < 0.9
    assert (MockBackend().embed("a") == vectors[:1]).all()


@pytest.mark.parametrize(
    "ask", [lambda b: b.generate(""), lambda b: b.generate("x" * 100), lambda b: b.chat([])]
)
def test_what_a_model_refuses_the_mock_refuses(ask):
    backend = MockBackend(n_ctx=64)
    with pytest.raises(nybble.RequestError):
        ask(backend)
    assert not backend.requests


def test_a_closed_one_answers_no_more():
    backend = MockBackend()
    backend.close()
    for ask in (backend.generate, backend.embed):
        with pytest.raises(nybble.NybbleError, match="closed"):
            ask("x")


def test_in_the_background_all_is_there_at_once():
    backend, news = MockBackend(["of the you"]), []
    stream = backend.chat_submit(HELLO, on_news=lambda: news.append("chat"))
    assert stream.is_done and [delta.content for delta in stream.take()] == ["of", " the", " you"]
    assert stream.take() == [] and stream.choices == (stream,) and stream.logprobs is None
    text = backend.submit("x", on_news=lambda: news.append("text"))
    assert "".join(text.take()) == "of the you" and news == ["chat", "text"]


def test_documents_are_ranked_by_their_vectors():
    scores = MockBackend().rerank("the", ["you", "the"])
    assert scores.shape == (2,) and scores.dtype == np.float32 and scores.argmax() == 1
