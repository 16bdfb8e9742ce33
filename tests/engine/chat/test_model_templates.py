"""The chat templates of 70 models: what they render, and the formats that are derived from them.

Those whose licence is not known to be free are not in the repository: they are tested if
NYBBLE_CHAT_TEMPLATES names the folder models/templates of llama.cpp.
"""

import gzip
import json
import os
from hashlib import sha256
from pathlib import Path

import pytest
import record_chat_templates as recorder
import tiny_vocabulary

from nybble.engine.chat.conversation import Conversation
from nybble.engine.chat.derive_calls import common_start
from nybble.engine.chat.message import MessageBuilder
from nybble.engine.chat.render_process import reply_to
from nybble.engine.chat.template import ChatTemplate
from nybble.tokenizer.special_tokens import END_OF_GENERATION

RECORD = json.loads(gzip.decompress(recorder.TARGET.read_bytes()))
FOLDER = os.environ.get("NYBBLE_CHAT_TEMPLATES")
TOKENIZER = tiny_vocabulary.make(tiny_vocabulary.bpe())
TOOLS = [recorder.WEATHER, recorder.ADD]

# Templates that show no calls, and why.
WITHOUT_CALLS = {
    "HuggingFaceTB-SmolLM3-3B": "reads its tools from other variables, and shows no calls",
    "GigaChat3-10B-A1.8B": "a call is a message of another role",
    "Kimi-K3": "a call's number is part of it",
    "MiniMax-M3": "names of arguments are tags",
    "fireworks-ai-llama-3-firefunction-v2": "reads its tools from other variables",
    "google-gemma-2-2b-it": "knows no tools",
    "llama-cpp-rwkv-world": "knows no tools",
    "microsoft-Phi-3.5-mini-instruct": "knows no tools",
    "muse-glimmer": "the recipient of a message is in its header",
}


def source_of(name):
    if RECORD[name]["source"] is not None:
        return RECORD[name]["source"]
    if FOLDER is None:
        pytest.skip("its licence is not known to be free; NYBBLE_CHAT_TEMPLATES has no folder")
    return Path(FOLDER, f"{name}.jinja").read_text("utf-8")


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch):
    class Clock:
        @staticmethod
        def now():
            return recorder.NOW

    monkeypatch.setattr("nybble.engine.chat.sandbox.datetime", Clock)
    # in this process, where the clock stands still
    monkeypatch.setattr("nybble.engine.chat.renderer.RENDERER.ask", reply_to)


@pytest.mark.parametrize("name", RECORD)
def test_a_template_renders_as_in_transformers(name):
    """To the byte; and what it refuses there it refuses here."""
    source = source_of(name)
    defaults = {"tools": None, "documents": None, "add_generation_prompt": True, **recorder.TOKENS}
    for kind, expected in RECORD[name]["outputs"].items():
        conversation = json.loads(json.dumps(recorder.CONVERSATIONS[kind]))
        reply = reply_to({"source": source, "variables": {**defaults, **conversation}})
        if "error" in expected:
            assert reply["error"] in ("refused", "failure"), kind
            assert reply["message"][:60] in expected["error"], kind
        else:
            assert sha256(reply["text"].encode()).hexdigest() == expected["sha256"], kind


@pytest.mark.parametrize("name", RECORD)
def test_every_template_renders_tools_calls_and_results(name):
    """Through the public way, which gives arguments as objects or texts as the template wants them."""
    template = ChatTemplate(source_of(name), name, recorder.TOKENS)
    outputs = RECORD[name]["outputs"]
    recorded = [outputs[kind]["sha256"] for kind in ("tools", "tools_text") if "sha256" in outputs[kind]]
    given = recorder.CONVERSATIONS["tools"]
    if recorded:
        chat = template.render(Conversation.of(given["messages"], given["tools"]), TOKENIZER)
        assert sha256(chat.text.encode()).hexdigest() in recorded


@pytest.mark.parametrize("name", RECORD)
@pytest.mark.parametrize("n", [1, 2])
def test_derived_formats_read_what_the_template_writes(name, n):
    """A call, or two, as the template renders them in a conversation's history."""
    template = ChatTemplate(source_of(name), name, recorder.TOKENS)
    answer_format = template.answer_format
    if name in WITHOUT_CALLS or "error" in RECORD[name]["outputs"]["tools"]:
        return
    user = [recorder.ASK]
    turn = {
        "role": "assistant",
        "content": "",
        "tool_calls": recorder.with_calls(False, 2)[0]["tool_calls"][:n],
    }
    asked = template.render(Conversation.of(user, TOOLS), TOKENIZER).text
    probe = template.probe(
        {"messages": template.traits.adapted([*user, turn]), "tools": TOOLS, "add_generation_prompt": False}
    )
    if probe is None or "get_weather" not in probe[len(common_start(probe, asked)) :]:
        return  # this one refuses two calls, or leaves them out of what is past
    common = common_start(probe, asked)
    at = common.rfind("<") if common.rfind("<") > common.rfind(">") else len(common)
    text = probe[at:]
    if answer_format.begins_in_reasoning(asked) and answer_format.reasoning[1] not in text:
        text = answer_format.reasoning[1] + text  # what is past has no reasoning
    for end in filter(None, (*END_OF_GENERATION, answer_format.end)):
        text = text.rstrip().removesuffix(end)
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    parser = answer_format.parser(asked, schemas, iter("abc").__next__)
    builder = MessageBuilder()
    for delta in (*parser.push(text), *parser.finish()):
        builder.add(delta)
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in builder.tool_calls]
    expected = [("get_weather", {"city": "Zürich", "days": 2}), ("add", {"a": 1, "b": 2.5})][:n]
    assert calls == expected or (n == 2 and calls == expected[:1])
