"""Formats of answers, derived from templates of our own that resemble those of models."""

import json

import pytest
import tiny_vocabulary
from answers import FUNCTIONARY_32, GEMMA_4, GRANITE_33, HERMES, KIMI_K2, LFM2, LLAMA, MINIMAX_M2, NEMO, THINK

from nybble.engine.chat.answer_format import AnswerFormat, HarmonyFormat
from nybble.engine.chat.conversation import Conversation
from nybble.engine.chat.formats.base import NO_CALLS
from nybble.engine.chat.template import ChatTemplate

BEGIN = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
THOUGHT = "{% if m.reasoning_content %}{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}"
END = "{{ m.content }}{% if m.tool_calls %}CALLS{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
EACH = "{% for c in m.tool_calls %}EACH{% endfor %}"


def template(each="", around=("", ""), thought=THOUGHT, comment=""):
    calls = around[0] + EACH.replace("EACH", each) + around[1] if each else ""
    return ChatTemplate(comment + BEGIN + thought + END.replace("CALLS", calls) + PROMPT, "template", {})


HERMES_CALL = (
    "{{ '<tool_call>\n' }}{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}"
)
KIMI_CALL = (
    "{{ '<|tool_call_begin|>functions.' ~ c.function.name ~ ':' ~ loop.index0 }}"
    "{{ '<|tool_call_argument_begin|>' }}{{ c.function.arguments | tojson }}{{ '<|tool_call_end|>' }}"
)
MINIMAX_CALL = (
    "{{ '<invoke name=\"' + c.function.name + '\">\n' }}{% for k, v in c.function.arguments.items() %}"
    "{{ '<parameter name=\"' ~ k ~ '\">' ~ v ~ '</parameter>\n' }}{% endfor %}{{ '</invoke>\n' }}"
)
NEMO_CALL = (
    "{{ {'name': c.function.name, 'arguments': c.function.arguments, 'id': c.id} | tojson }}"
    "{{ ', ' if not loop.last }}"
)

DERIVED = {
    "hermes": (template(HERMES_CALL + "{{ '\n</tool_call>\n' }}"), HERMES),
    "kimi": (
        template(KIMI_CALL, ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>")),
        KIMI_K2,
    ),
    "minimax": (
        template(MINIMAX_CALL, ("{{ '<minimax:tool_call>\n' }}", "</minimax:tool_call>")),
        MINIMAX_M2,
    ),
    "llama": (
        template("{{ {'name': c.function.name, 'parameters': c.function.arguments} | tojson }}", thought=""),
        LLAMA,
    ),
    "nemo": (template(NEMO_CALL, ("[TOOL_CALLS][", "]"), thought=""), NEMO),
    "granite": (template(comment="{# <|tool_call|> #}"), GRANITE_33),
    "lfm2": (template(thought="", comment="{# <|tool_list_start|> #}"), LFM2),
    "functionary": (template(thought="", comment="{# >>>all #}"), FUNCTIONARY_32),
    "gemma": (template(thought="", comment="{# <|tool_call>call: <channel|> #}"), GEMMA_4),
    "no tools": (template(), AnswerFormat(THINK, NO_CALLS)),
    "nothing": (template(thought=""), AnswerFormat()),
}


@pytest.mark.parametrize(("template_", "expected"), DERIVED.values(), ids=DERIVED)
def test_a_format_is_derived(template_, expected):
    found = template_.answer_format
    assert (found.reasoning, found.tools) == (expected.reasoning, expected.tools)
    assert found.end == "<|im_end|>"


def test_channels():
    made = template(comment="{# <|channel|>analysis<|message|> #}")
    assert isinstance(made.answer_format, HarmonyFormat)


def test_broken_templates_have_the_plainest_format():
    for source in ("{% for %}", "{{ 1 / 0 }}", "{{ raise_exception('no') }}"):
        made = ChatTemplate(source, "template", {})
        assert made.answer_format == AnswerFormat()
        assert not made.traits.wants_parts and made.traits.reasoning_key is None


def test_traits():
    parts = ChatTemplate("{% for m in messages %}{{ m.content[0].text }}{% endfor %}", "template", {})
    assert parts.traits.wants_parts
    text = ChatTemplate(
        "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ '' + c.function.arguments }}{% endfor %}"
        "{% endfor %}",
        "template",
        {},
    )
    assert text.traits.wants_text_arguments and not template(HERMES_CALL).traits.wants_text_arguments
    for key in ("reasoning_content", "reasoning", "thinking"):
        made = template(thought=f"{{{{ m.{key} }}}}")
        assert made.traits.reasoning_key == key
        message = {"role": "assistant", "content": "a", "reasoning": "b"}
        assert made.traits.adapted([message])[0][key] == "b"


def test_messages_are_adapted(tokenizer):
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {"x": "é"}}}
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    text = ChatTemplate(
        "{% for m in messages %}{% for c in m.tool_calls or [] %}{{ '' + c.function.arguments }}{% endfor %}"
        "{{ m.content }}{% endfor %}",
        "template",
        {},
    )
    assert text.render(Conversation.of(messages), tokenizer).text == "a" + json.dumps(
        {"x": "é"}, ensure_ascii=False
    )
    parts = ChatTemplate("{% for m in messages %}{{ m.content[0].text }}.{% endfor %}", "template", {})
    begun = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert parts.render(Conversation.of(begun), tokenizer).text == "a.b"


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_vocabulary.make(tiny_vocabulary.bpe())
