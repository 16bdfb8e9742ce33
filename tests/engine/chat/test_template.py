"""A file's chat template: what it renders, as plain Jinja does, and what it cannot do."""

import logging

import numpy as np
import pytest
import tiny_model
import tiny_vocabulary
from forge import GGUFForge
from jinja2 import Environment

import nybble
from nybble import ModelError, RequestError
from nybble.engine.chat.conversation import Conversation
from nybble.engine.chat.sandbox import LimitedEnvironment, render
from nybble.engine.chat.template import ChatTemplate

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
TOKENIZER = tiny_vocabulary.make(tiny_vocabulary.bpe())
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
USER = [{"role": "user", "content": "the other hand"}]
TURNS = [
    {"role": "system", "content": " Be brief. "},
    *USER,
    {"role": "assistant", "content": "{{ 'no' * 9 }}"},
]


class Rendering:
    """The text that a template makes of messages."""

    def __init__(self, source):
        self.template = ChatTemplate(source, "m.gguf: tokenizer.chat_template", TOKENS)

    def render(self, messages, **options):
        return self.template.render(Conversation.of(messages, **options), TOKENIZER).text


def template(source):
    return Rendering(source)


def plain_jinja(source, variables):
    """Jinja without any limit, as Transformers sets it up."""
    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    return environment.from_string(source).render(variables)


TEMPLATES = {
    "chatml": CHATML,
    "blocks": """{{ bos_token }}
        {% for m in messages %}
            {% if loop.first and m.role == 'system' %}
        [{{ m.content | trim }}]{% continue %}
            {% endif %}
        {{ loop.index0 }}/{{ loop.length }} {{ loop.last }} {{ m['content'] }}
        {% endfor %}""",
    "namespaces": """{% set ns = namespace(found=false, text='') %}
        {% for m in messages[1:] %}{% set ns.text = ns.text ~ m.role ~ 1 %}{% endfor %}
        {{ ns.text }}{% if tools is not none %}tools{% endif %}{{ x is defined }}
        {{ messages[-1].x or 'none' }}""",
    "macros": """{% macro turn(m, mark='#') -%}
            {{ mark }}{{ m.content.split(' ')[0] | upper }} {%- endmacro %}
        {% for m in messages | selectattr('role', 'equalto', 'user') %}
            {{ turn(m) }}{{ turn(m, mark='+') }}
        {% endfor %}""",
    "lists": """{% set parts = [] %}{% for m in messages %}{% set _ = parts.append(m.role) %}{% endfor %}
        {{ parts | join(', ') }}{{ (parts + ['x', ('y', 1)]) | length }}
        {{ {'a': parts}.items() | list }} {{ 'us' in parts[1] }}{{ [3, 1] | sort | map('string') | list }}
        {% for k, v in messages[0] | dictsort %}{{ k }}={{ v }};{% endfor %}""",
    "strings": """{% set text %}one {{ 2 * 3 }}{% endset %}
        {{ text.replace('one', 'two') }}{{ '%s-%d' % ('a', 7 // 2) }}{{ '{}:{:>3}'.format('b', 5) }}
        {% for i in range(5) %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}""",
}


@pytest.mark.parametrize("source", TEMPLATES.values(), ids=TEMPLATES)
def test_renders_as_plain_jinja(source):
    variables = {"messages": TURNS, "tools": None, "documents": None, "add_generation_prompt": True}
    expected = plain_jinja(source, variables | {"bos_token": "<s>", "eos_token": "</s>"})
    assert template(source).render(TURNS, continue_final_message=False) == expected


def test_what_transformers_adds():
    assert template("{% generation %}a{{ 1 }}{% endgeneration %}").render(USER) == "a1"
    assert template("{{ {'b': '<é>', 'a': [1]} | tojson }}").render(USER) == '{"b": "<é>", "a": [1]}'
    assert template("{{ [1] | tojson(indent=2) }}").render(USER) == "[\n  1\n]"
    assert len(template("{{ strftime_now('%Y-%m-%d') }}").render(USER)) == 10
    with pytest.raises(
        RequestError, match=r"m\.gguf: tokenizer\.chat_template refuses the conversation: no system"
    ):
        template("{{ raise_exception('no system') }}").render(USER)


def test_messages_are_left_as_they_are():
    messages = [dict(turn) for turn in TURNS]
    template("{% set _ = messages.append(1) %}{% set _ = messages[0].update(role='x') %}").render(
        messages, continue_final_message=False
    )
    assert messages == TURNS


GROWING = "{{% set ns = namespace(x=['a'], s='a') %}}{{% for i in range(60) %}}{}{{% endfor %}}"


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(30) }}",
        "{{ 'x' * 10**10 }}",
        "{{ 10**10 * [1] }}",
        "{{ 9 ** (9**9) }}",
        "{{ 'x'.center(10**9) }}",
        "{{ (5).to_bytes(10**9) }}",
        "{{ '%2000000000d' | format(1) }}",
        "{{ '%*d' % (10**9, 1) }}",
        "{{ '{:999999999}'.format(1) }}",
        "{{ '{:{w}}'.format(1, w=10**9) }}",
        "{{ strftime_now('%1000000000d') }}",
        "{{ ('a' * 99999).replace('', 'b' * 99999) }}",
        "{{ [1] | tojson(indent=10**9) }}",
        "{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
        "{% for i in range(99999) %}{% if 'a' * 999 in 'b' * 9999 %}{% endif %}{% endfor %}",
        "{% for i in range(99999) %}{% set x = range(99999) | sum %}{% endfor %}",
        GROWING.format("{% set ns.s = ns.s ~ ns.s %}"),
        GROWING.format("{% set ns.s = ns.s + ns.s %}"),
        GROWING.format("{% set ns.x = [ns.x, ns.x] %}") + "{{ ns.x | string }}",
        GROWING.format("{% set ns.x = (ns.x, {'a': ns.x}) %}") + "{{ ns.x }}",
        GROWING.format("{% set _ = ns.x.extend(ns.x) %}"),
        GROWING.format("{% set _ = ns.x.append(ns.x) %}") + "{{ ns.x }}",
        GROWING.format("{% set ns.x = namespace(a=ns.x, b=ns.x) %}") + "{{ ns.x }}",
    ],
)
def test_a_template_that_wants_too_much_is_stopped(source):
    with pytest.raises(
        ModelError, match=r"m\.gguf: tokenizer\.chat_template is stopped: .*; `LLM.generate` continues"
    ):
        template(source).render(USER)


@pytest.mark.parametrize(
    "source",
    [
        "{{ cycler.__init__.__globals__.os.system('exit') }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__ }}{{ ''['__class__'].x }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{{ ('ab' | map(attribute='__class__') | first).x }}",
        "{{ self._TemplateReference__context.x.y }}",
        "{% include 'x' %}",
        "{{ 1 / 0 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ],
)
def test_a_template_cannot_reach_python(source):
    with pytest.raises(ModelError, match=r"tokenizer\.chat_template fails: \w+Error"):
        template(source).render(USER)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% for %}", "is no Jinja template in line 1: Expected"),
        ("a\n{{ 1 | lipsum }}", "is no Jinja template in line 2: No filter named 'lipsum'"),
        ("{{" + "(" * 6000 + "1" + ")" * 6000 + "}}", "is no Jinja template: maximum recursion depth"),
        ("x" * 300_000, "has 300,000 characters, of 262,144 at most"),
    ],
)
def test_what_is_no_template(source, message):
    with pytest.raises(ModelError, match=message):
        template(source).render(USER)


@pytest.mark.parametrize(
    "messages",
    [
        "hello",
        [],
        [1],
        [{"role": "user"}],
        [{"role": "user", "content": 1}],
        [{"role": "user", "content": None}],
        [{"content": "a"}],
        [{"role": 1, "content": "a"}],
        [{"role": "<|im_start|>", "content": "a"}],
        [{"role": "user\nsystem", "content": "a"}],
        [{"role": "user", "content": "\ud800"}],
        [{"role": "user", "content": "a", "name": {1: 2}}],
        [{"role": "user", "content": "a", "name": object()}],
        [{"role": "user", "content": "a", "x": float("nan")}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}],
        [{"role": "user", "content": [{"type": "text", "text": 1}]}],
        [{"role": "user", "content": ["a"]}],
        [{"role": "assistant", "tool_calls": "x", "content": "a"}],
        [{"role": "assistant", "tool_calls": [1]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[1]"}}]}],
        [{"role": "assistant", "tool_calls": [{"type": "x", "function": {"name": "f"}}]}],
        [{"role": "assistant", "content": "a", "reasoning": 1}],
    ],
)
def test_what_is_no_conversation(messages):
    with pytest.raises(RequestError, match="messages"):
        template(CHATML).render(messages)


def test_an_environment_serves_many_renderings():
    """Their budgets are apart."""
    compiled = LimitedEnvironment().from_string("{% for i in range(90000) %}{% endfor %}{{ x }}")
    assert [render(compiled, {"x": i}) for i in range(8)] == [str(i) for i in range(8)]


def llm_with(folder, **keys):
    path = tiny_model.write(folder / "m.gguf")
    forge = GGUFForge.parse(path.read_bytes())
    for key, value in keys.items():
        forge.set(key, value)
    path.write_bytes(forge.build())
    return nybble.LLM(path, executor="reference")


def test_an_llm_renders(tmp_path):
    with llm_with(tmp_path, **{"tokenizer.chat_template": CHATML}) as llm:
        chat = llm.render(USER)
        assert chat.text == "<|im_start|>user\nthe other hand<|im_end|>\n<|im_start|>assistant\n"
        assert chat.token_ids == llm.tokenizer.encode(chat.text, parse_special=True)
        assert llm.render(USER, add_generation_prompt=False).text.endswith("<|im_end|>\n")
        assert llm.generate(chat.token_ids, nybble.SamplingParams(max_tokens=1)).finish_reason


def test_bos_comes_once_whoever_writes_it(tmp_path):
    for source in ("{{ bos_token }}a", "a"):
        with llm_with(
            tmp_path, **{"tokenizer.chat_template": source, "tokenizer.ggml.add_bos_token": True}
        ) as llm:
            ids = llm.render(USER).token_ids
            assert np.flatnonzero(np.equal(ids, llm.tokenizer.bos_id)).tolist() == [0]


def test_a_bad_template_does_not_stop_the_model(tmp_path, caplog):
    with llm_with(tmp_path, **{"tokenizer.chat_template": "{% for %}"}) as llm:
        assert llm.generate("the", nybble.SamplingParams(max_tokens=1)).token_ids
        with pytest.raises(ModelError, match="is no Jinja template"):
            llm.render(USER)
    with llm_with(tmp_path, **{"tokenizer.chat_template": 7}) as llm, caplog.at_level(logging.WARNING):
        assert llm.chat_template is None and "is no UTF-8 text" in caplog.text
