"""The plugin of `llm`, with the real package: its Python API, and its commands."""

import asyncio
import json
import logging
import shlex
import tomllib
from pathlib import Path

import llm
import llm.cli
import llm.plugins
import markdown_page
import numpy as np
import pytest
import sqlite_utils
from click.testing import CliRunner

import nybble
from nybble import SamplingParams
from nybble.adapters import llm as plug
from nybble.engine.chat.message import ChatMessage, FunctionCall, ToolCall
from nybble.errors import ModelError, RequestError
from nybble.hub import local_names
from nybble.testing import MockBackend, tiny_model

ROOT = Path(__file__).parents[2]
MAX, SHORT = "max_tokens", 12


class Mock(MockBackend):
    """What the plugin asks of a model beside a backend."""

    def default_sampling_params(self):
        return SamplingParams()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The user's folder of models: one that chats, and a base model with a name of the user's."""
    folder = tmp_path_factory.mktemp("models")
    tiny_model(folder / "tiny.gguf")
    tiny_model(folder.parent / "base.gguf", chat_template="")
    (folder / "my-base").symlink_to(folder.parent / "base.gguf")
    yield folder
    plug.kept.close()


@pytest.fixture(autouse=True)
def plugged(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(local_names, "folder", lambda: folder)
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    if not llm.plugins.pm.is_registered(plug):
        llm.plugins.load_plugins()
    if not llm.plugins.pm.is_registered(plug):  # where the package is not installed, but on the path
        llm.plugins.pm.register(plug, "nybble")


@pytest.fixture
def mocked(monkeypatch):
    """What a model is asked, and what it says."""

    def give(*answers):
        mock = Mock(answers)
        monkeypatch.setattr(plug.kept, "get", lambda *asked: mock)
        return mock

    return give


def run(*words, code=0, stdin=None):
    done = CliRunner().invoke(llm.cli.cli, list(map(str, words)), input=stdin, catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else done.output


def own(name="tiny.gguf"):
    """The same model without `llm`."""
    return nybble.LLM(local_names.folder() / name, n_ctx=None)


def test_llm_finds_it_by_its_entry_point():
    points = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["entry-points"]
    assert points == {"llm": {"nybble": plug.__name__}}


def test_models_are_listed_without_being_opened(monkeypatch):
    monkeypatch.setattr("nybble.gguf_io.file.load_gguf", None)
    listed = run("models")
    for name in ("smollm2", "gemma3", "tiny", "my-base"):
        assert f": nybble/{name}\n" in listed, listed
    assert "nybble/tiny" in run("embed-models")
    options = run("models", "--options", "-q", "nybble/tiny")
    assert (
        "temperature: float" in options and "seed: int" in options and "0 takes the most probable" in options
    )


def test_what_cannot_be_listed_leaves_the_others(monkeypatch, caplog):
    def fail():
        raise ModelError("no folder")

    monkeypatch.setattr(plug, "local_models", fail)
    with caplog.at_level(logging.WARNING):
        assert "nybble/smollm2" in run("models")
    assert "nybble cannot list the models on this machine: no folder" in caplog.text


def test_an_answer_and_the_next_turn_are_those_of_the_model():
    talk = llm.get_model("nybble/tiny").conversation()
    first = talk.prompt("the other hand", system="be brief", max_tokens=SHORT)
    pieces = list(first)
    second = talk.prompt("and then", system="be brief", max_tokens=SHORT)
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "the other hand"}]
    params = SamplingParams(max_tokens=SHORT)
    with own() as model:
        expected = model.chat(messages, params)
        assert "".join(pieces) == first.text() == expected.message.content and len(pieces) > 2
        assert first.usage().input == expected.n_prompt_tokens and first.usage().output == SHORT
        assert first.response_json["finish_reason"] == "length"
        messages += [expected.message, {"role": "user", "content": "and then"}]
        assert second.text() == model.chat(messages, params).message.content
    assert second.usage().details["cached_tokens"] > 0.8 * first.usage().input, "the turn before"


def test_options_are_those_of_the_model():
    model = llm.get_model("nybble/tiny")
    given = {"temperature": 1.5, "top_p": 0.9, "top_k": 40, "min_p": 0.01, "seed": 7, "max_tokens": SHORT}
    given |= {"repeat_penalty": 1.1, "presence_penalty": 0.1, "frequency_penalty": 0.2}
    with own() as same:
        expected = same.chat([{"role": "user", "content": "a"}], SamplingParams(**given)).message.content
    assert model.prompt("a", **given).text() == model.prompt("a", stream=False, **given).text() == expected
    assert model.prompt("a", **{**given, "seed": 8}).text() != expected
    stop = expected[4:6]
    assert model.prompt("a", stop=stop, **given).text() == expected[: expected.index(stop)]


def test_options_that_cannot_be():
    model = llm.get_model("nybble/tiny")
    for wrong in ({"temperature": "hot"}, {"top_p": 0}, {"seed": -1}, {"temprature": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            model.prompt("a", **wrong)
    assert "temperature" in run("-m", "nybble/tiny", "-o", "temperature", "hot", "a", code=1)
    assert "the context holds only n_ctx=8" in run("-m", "nybble/tiny", "-o", "n_ctx", "8", "a " * 99, code=1)


def test_n_ctx_loads_anew_and_one_model_is_kept():
    first = plug.kept.get("tiny")
    assert plug.kept.get("tiny") is first
    second = plug.kept.get("tiny", 64)
    assert second.n_ctx == 64 and repr(first).endswith("closed)")
    assert llm.get_model("nybble/tiny").prompt("a", n_ctx=64, max_tokens=1).text()
    assert plug.kept.get("tiny", 64) is second


def test_a_schema_is_followed():
    schema = {
        "type": "object",
        "properties": {"n": {"enum": [1, 2]}, "is": {"type": "boolean"}},
        "required": ["n", "is"],
        "additionalProperties": False,
    }
    answer = json.loads(llm.get_model("nybble/tiny").prompt("a", schema=schema, max_tokens=200).text())
    assert answer["n"] in (1, 2) and isinstance(answer["is"], bool) and len(answer) == 2
    base = llm.get_model("nybble/my-base").prompt("a", schema=schema, max_tokens=200)
    assert json.loads(base.text())["n"] in (1, 2)


def test_a_tool_is_called_and_its_result_is_told(mocked):
    asked = []

    def weather(city: str) -> str:
        """How it is there."""
        asked.append(city)
        return "rain"

    call = ToolCall("call_1", FunctionCall("weather", '{"city": "Oslo"}'))
    mock = mocked(ChatMessage(reasoning="hm", tool_calls=[call]), "It rains.")
    chain = llm.get_model("nybble/tiny").chain("Oslo?", system="be brief", tools=[weather])
    assert chain.text() == "It rains." and asked == ["Oslo"]
    first, second = mock.requests
    (tool,) = first.options["tools"]
    assert tool["function"]["name"] == "weather" and tool["function"]["description"] == "How it is there."
    assert tool["function"]["parameters"]["properties"] == {"city": {"type": "string"}}
    assert [message["role"] for message in second.asked] == ["system", "user", "assistant", "tool"]
    told, result = second.asked[2:]
    assert told["reasoning"] == "hm" and told["tool_calls"][0]["function"]["arguments"] == {"city": "Oslo"}
    assert result == {"role": "tool", "name": "weather", "content": "rain", "tool_call_id": "call_1"}


def test_the_template_of_a_real_model_shows_calls_and_results():
    """A conversation with a call and its result in it, as `llm` has kept it, is one that the model reads."""
    parts = [llm.parts.ToolCallPart(name="look", arguments={"n": 1}, tool_call_id="c1")]
    results = [llm.parts.ToolResultPart(name="look", output="a door", tool_call_id="c1")]
    history = [
        llm.parts.Message("user", [llm.parts.TextPart("look")]),
        llm.parts.Message("assistant", parts),
        llm.parts.Message("tool", results),
    ]

    def look(n: int) -> str:
        """Looks."""
        return "a door"

    found = llm.get_model("nybble/tiny").prompt(messages=history, tools=[look], max_tokens=SHORT)
    call = ToolCall("c1", FunctionCall("look", '{"n": 1}'))
    tool = llm.Tool.function(look)
    function = {"name": "look", "description": "Looks.", "parameters": tool.input_schema}
    messages = [
        {"role": "user", "content": "look"},
        ChatMessage(content="", tool_calls=[call]),
        {"role": "tool", "name": "look", "content": "a door", "tool_call_id": "c1"},
    ]
    with own() as model:
        expected = model.chat(
            messages, SamplingParams(max_tokens=SHORT), tools=[{"type": "function", "function": function}]
        )
    assert (
        found.text() == (expected.message.content or "") and found.usage().input == expected.n_prompt_tokens
    )


def test_reasoning_is_told_apart_and_can_be_turned_off(mocked):
    mock = mocked(ChatMessage(content="four", reasoning="2 + 2"))
    found = llm.get_model("nybble/tiny").prompt("a", enable_thinking=False)
    kinds = {(event.type, event.chunk) for event in found.stream_events()}
    assert found.text() == "four" and {kind for kind, _ in kinds} == {"text", "reasoning"}
    assert mock.requests[0].options["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_base_model_continues_a_text():
    found = llm.get_model("nybble/my-base").prompt("Once upon", max_tokens=SHORT)
    with own("my-base") as model:
        assert found.text() == model.generate("Once upon", SamplingParams(max_tokens=SHORT)).text
    assert found.usage().output == SHORT


def test_what_is_no_text_is_refused(tmp_path):
    model = llm.get_model("nybble/tiny")
    image = llm.Attachment(type="image/png", content=b"\x89PNG")
    with pytest.raises(ValueError, match="does not support attachments"):
        model.prompt("a", attachments=[image])
    history = [llm.parts.Message("user", [llm.parts.AttachmentPart(image)])]
    with pytest.raises(RequestError, match="nybble reads text, and no images"):
        model.prompt(messages=history).text()

    class Search(llm.ServerSideTool):
        name = "search"

    with pytest.raises(ValueError, match="does not support server-side tool 'search'"):
        model.prompt("a", tools=[Search()]).text()


def test_without_waiting():
    async def ask():
        model = llm.get_async_model("nybble/tiny")
        return await asyncio.gather(*(read(model.prompt(text, max_tokens=SHORT)) for text in ("a", "the")))

    async def read(response):
        text = "".join([piece async for piece in response])
        assert (await response.usage()).output == SHORT
        return text

    model = llm.get_model("nybble/tiny")
    assert asyncio.run(ask()) == [model.prompt(text, max_tokens=SHORT).text() for text in ("a", "the")]


def test_embeddings(tmp_path, monkeypatch):
    texts = ["one", "another", "one"]
    mock = Mock()
    monkeypatch.setattr(plug.kept, "get", lambda name: mock)
    model = llm.get_embedding_model("nybble/tiny")
    rows = np.array(list(model.embed_multi(texts)))
    assert np.array_equal(rows.astype(np.float32), mock.embed(texts)) and list(model.embed_multi([])) == []
    for text in texts[:2]:
        run("embed", "words", text, "-m", "nybble/tiny", "-c", text, "-d", tmp_path / "e.db", "--store")
    found = json.loads(run("similar", "words", "-d", tmp_path / "e.db", "-c", "another").splitlines()[0])
    assert found["id"] == "another" and found["score"] == pytest.approx(1)


def test_a_model_whose_file_does_not_say_how_to_pool():
    found = run("embed", "-m", "nybble/tiny", "-c", "a", code=1)
    assert (
        "Error: nybble/tiny cannot embed this: " in found
        and "does not say how embeddings are pooled" in found
    )


def test_the_command_and_its_log(tmp_path):
    first = run("-m", "nybble/tiny", "the other hand", "-s", "be brief", "-o", MAX, SHORT)
    second = run("-c", "and then", "-o", MAX, SHORT)
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "the other hand"}]
    with own() as model:
        expected = model.chat(messages, SamplingParams(max_tokens=SHORT))
        assert first == f"{expected.message.content}\n"
        messages += [expected.message, {"role": "user", "content": "and then"}]
        assert second == f"{model.chat(messages, SamplingParams(max_tokens=SHORT)).message.content}\n"
    assert sqlite_utils.Database(tmp_path / "logs.db").table_names()
    assert "nybble/tiny" in run("logs", "-n", 1)


def test_the_commands_of_the_page_work(smollm2_path, monkeypatch):
    monkeypatch.setattr(local_names, "folder", lambda: smollm2_path.parent)
    text = "\n".join(block.text for block in markdown_page.blocks(markdown_page.ROOT / "docs" / "plugs.md"))
    commands = [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("llm ")]
    assert len(commands) == 4
    listed, _, _, dog = [run(*words) for words in commands]
    assert "nybble/smollm2" in listed and dog.startswith("{")
    assert run("logs", "-n", "3", "-r").count("\n") >= 1
