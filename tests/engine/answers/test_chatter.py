"""`LLM.chat`, `chat_stream` and `render`, on tiny models."""

import asyncio
import threading

import pytest
import tiny_model
from chat_models import CHATML, HERMES, SHORT, TOOLS, USER, llm_with

import nybble
from nybble import ChatMessage, ModelError, RequestError, SamplingParams
from nybble.engine.chat.default_templates import PLAIN, TEMPLATES


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    with llm_with(tmp_path_factory.mktemp("chat"), HERMES) as made:
        yield made


def test_an_answer_is_what_the_prompt_generates(llm):
    out = llm.chat(USER, SHORT)
    text = llm.generate(llm.render(USER).token_ids, SHORT)
    assert out.message == ChatMessage(content=text.text) and out.token_ids == text.token_ids
    assert out.finish_reason == text.finish_reason == "length" and out.choices == (out,)
    assert out.n_prompt_tokens == len(llm.render(USER).token_ids) and out.n_dropped_messages == 0
    assert out.output.text == text.text and "content=" in repr(out)


def test_a_list_of_conversations_gives_a_list(llm):
    others = [USER, [{"role": "system", "content": "a"}, *USER]]
    params = [SHORT, SamplingParams(max_tokens=3, temperature=1.0, seed=1, n=2)]
    first, second = llm.chat(others, params)
    assert first.message == llm.chat(USER, SHORT).message
    assert [len(each.token_ids) for each in second.choices] == [3, 3]
    assert [each.message for each in second.choices] == [
        each.message for each in llm.chat(others[1], params[1]).choices
    ]


def test_one_bad_conversation_is_named(llm):
    with pytest.raises(RequestError, match=r'messages\[1\]: messages\[0\]\["role"\] must be'):
        llm.chat([USER, [{"role": 1, "content": "a"}]], SHORT)
    with pytest.raises(RequestError, match="there are 2 prompts, but 1 params"):
        llm.chat([USER, USER], [SHORT])


def test_a_stream_gives_the_pieces(llm):
    whole = llm.chat(USER, SHORT)
    request = llm.chat_stream(USER, SHORT)
    first = next(request)
    assert request.output().message.content == first.content and request.finish_reason is None
    deltas = [first, *request]
    assert "".join(delta.content for delta in deltas) == whole.message.content
    assert request.result().message == request.message == whole.message
    assert request.finish_reason == "length" and request.token_ids == whole.token_ids
    assert llm.chat_stream(USER, SHORT).result().message == whole.message


def test_an_asynchronous_stream(llm):
    async def read():
        return "".join([delta.content async for delta in llm.chat_stream(USER, SHORT)])

    assert asyncio.run(read()) == llm.chat(USER, SHORT).message.content


def test_a_stream_can_be_cancelled(llm):
    request = llm.chat_stream(USER, SamplingParams(max_tokens=100))
    next(request)
    request.cancel()
    assert list(request) == [] or request.finish_reason is None
    assert request.output().finish_reason == "cancelled"


def test_an_answer_ends_with_its_turn(tmp_path):
    """Although the file says that texts end with another token."""
    with llm_with(tmp_path, CHATML) as llm:
        end = llm.tokenizer.control_names["<|im_end|>"]
        assert llm.chat_template.answer_format.end == "<|im_end|>"
        forced = SamplingParams(max_tokens=5, logit_bias={end: 100.0})
        out = llm.chat(USER, forced)
        assert out.token_ids == [] and out.finish_reason == "stop" and out.message.content == ""


def test_a_message_is_continued(llm):
    begun = [*USER, {"role": "assistant", "content": "and then "}]
    assert llm.render(begun).text.endswith("assistant\nand then ")
    out = llm.chat(begun, SHORT)
    assert out.message.content == llm.generate(llm.render(begun).token_ids, SHORT).text
    closed = llm.render(begun, continue_final_message=False).text
    assert closed.endswith("and then <|im_end|>\n<|im_start|>assistant\n")


def test_a_conversation_that_is_too_long(tmp_path):
    conversation = [{"role": "system", "content": "s"}]
    for i in range(6):
        conversation += [
            {"role": "user", "content": f"question {i}"},
            {"role": "assistant", "content": f"answer {i}"},
        ]
    conversation.append({"role": "user", "content": "last"})
    with llm_with(tmp_path, n_ctx=128) as llm:
        n = len(llm.render(conversation).token_ids)
        assert n > 128
        with pytest.raises(
            RequestError, match=rf"the conversation has {n} tokens, .* n_ctx=128.*drop_middle"
        ):
            llm.chat(conversation, SHORT)
        out = llm.chat(conversation, SHORT, overflow="drop_middle")
        assert out.n_dropped_messages % 2 == 0 and 0 < out.n_dropped_messages < 12
        kept = [conversation[0], *conversation[1 + out.n_dropped_messages :]]
        assert out.message == llm.chat(kept, SHORT).message
        fuller = [conversation[0], *conversation[out.n_dropped_messages - 1 :]]
        assert len(llm.render(fuller).token_ids) > 128 - 12 >= out.n_prompt_tokens
        request = llm.chat_stream(conversation, SHORT, overflow="drop_middle")
        assert request.n_dropped_messages == out.n_dropped_messages
        assert llm.chat(USER, SHORT, overflow="drop_middle").n_dropped_messages == 0
        long = [conversation[0], *conversation[1:3], {"role": "user", "content": "x" * 300}]
        with pytest.raises(RequestError, match=r"the last turn .* has 3.. tokens, .* n_ctx=128"):
            llm.chat(long, SHORT, overflow="drop_middle")
        with pytest.raises(RequestError, match='overflow must be "error" or "drop_middle"'):
            llm.chat(USER, overflow="cut")


def test_variables_of_the_template(tmp_path):
    source = "{{ messages[0].content }}{{ ' ' ~ mood if mood else '' }}"
    with llm_with(tmp_path, source) as llm:
        assert llm.render(USER, chat_template_kwargs={"mood": "gay"}).text == "the other hand gay"
        with pytest.raises(RequestError, match=r"'moood', which .* does not read; did you mean mood"):
            llm.chat(USER, chat_template_kwargs={"moood": 1})
        for name in ("messages", "tokenize", "chat_template", "add_generation_prompt"):
            with pytest.raises(RequestError, match=f"chat_template_kwargs must not have '{name}'"):
                llm.chat(USER, chat_template_kwargs={name: True})


def test_named_templates(tmp_path):
    named = {"rag": "rag {{ documents[0].text }}", "tool_use": "use {{ messages[0].content }}", "rerank": "x"}
    with llm_with(tmp_path, "plain", **named) as llm:
        assert llm.render(USER).text == "plain"
        assert llm.render(USER, tools=TOOLS).text == "use the other hand"
        assert llm.render(USER, template="rag", documents=[{"text": "a"}]).text == "rag a"
        with pytest.raises(RequestError, match="no chat template named 'rerank'; it has rag, tool_use"):
            llm.render(USER, template="rerank")


def test_another_template_in_the_place_of_the_files(tmp_path):
    path = tiny_model.write(tmp_path / "m.gguf")
    file = tmp_path / "t.jinja"
    file.write_text("from a file", "utf-8")
    for given, text in (("{{ 'given' }}", "given"), (file, "from a file"), (str(file), "from a file")):
        with nybble.LLM(path, executor="reference", chat_template=given) as llm:
            assert llm.render(USER).text == text and llm.chat_template is not None
    for wrong in ("no such file", 7, tmp_path / "no\0path", b"x"):
        with pytest.raises(RequestError, match="chat_template must be"):
            nybble.LLM(path, executor="reference", chat_template=wrong)
    file.write_bytes(b"\xff{{")
    with pytest.raises(RequestError, match="must be a UTF-8 text"):
        nybble.LLM(path, executor="reference", chat_template=file)


def test_a_file_without_a_template(tmp_path, capsys):
    """What fits its vocabulary is used, and that is said once."""
    with llm_with(tmp_path, None) as llm:
        assert llm.chat_template is None
        assert llm.render(USER).text == "<|im_start|>user\nthe other hand<|im_end|>\n<|im_start|>assistant\n"
        assert llm.chat(USER, SHORT).finish_reason
        assert capsys.readouterr().err.count("m.gguf has no chat template") == 1


def test_default_templates_have_no_faults(tmp_path):
    conversation = [{"role": "system", "content": " s "}, *USER, {"role": "assistant", "content": "a"}, *USER]
    for default in (*TEMPLATES, PLAIN):
        with llm_with(tmp_path, default.source) as llm:
            text = llm.render(conversation).text
            assert (
                text.count("the other hand") == 2
                and "s" in text
                and all(need in text for need in default.needs)
            )


def test_a_broken_template_stops_nothing_else(tmp_path):
    with llm_with(tmp_path, "{% for %}") as llm:
        with pytest.raises(ModelError, match="is no Jinja template"):
            llm.chat(USER)
        with pytest.raises(ModelError, match="is no Jinja template"):
            llm.chat([USER, USER])
        assert llm.generate("the", SHORT).token_ids


@pytest.mark.model
def test_gemma_is_a_base_model(gemma3_path, capsys):
    with nybble.LLM(gemma3_path, n_ctx=256) as llm:
        out = llm.chat([{"role": "user", "content": "Hello!"}], SamplingParams(max_tokens=16))
        assert out.finish_reason in ("stop", "length")
        llm.chat([{"role": "user", "content": "Hello!"}], SamplingParams(max_tokens=1))
        assert capsys.readouterr().err.count("has no chat template") == 1


@pytest.mark.model
def test_smollm2_answers(smollm2_path):
    with nybble.LLM(smollm2_path, n_ctx=256) as llm:
        out = llm.chat([{"role": "user", "content": "What is 2 + 2?"}], SamplingParams(max_tokens=32))
        assert "4" in out.message.content and out.finish_reason == "stop"


def test_in_the_background_it_answers_as_in_the_foreground(llm):
    """Pieces are taken as they come; with the last ones it has ended."""
    news = threading.Event()
    params = SamplingParams(max_tokens=12, logprobs=0)
    request = llm.chat_submit(USER, params, on_news=news.set)
    deltas, is_done = [], False
    while not is_done:
        assert news.wait(60)
        news.clear()
        is_done = request.is_done
        deltas += request.take()
    whole = llm.chat(USER, params)
    assert "".join(delta.content for delta in deltas) == whole.message.content
    assert request.finish_reason == whole.finish_reason and request.logprobs == whole.logprobs
    assert request.choices[0].output().output.token_ids == whole.token_ids
