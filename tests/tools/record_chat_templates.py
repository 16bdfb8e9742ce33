"""Records what Transformers' way of rendering makes of the chat templates that llama.cpp ships.

    python tests/tools/record_chat_templates.py llama.cpp/models/templates

writes tests/data/chat_templates.json.gz: for each template its text, and what it makes of each conversation of
`CONVERSATIONS`: the output, or the words with which it refuses. Imports nothing of nybble: the environment is
that of `transformers.utils.chat_template_utils._compile_jinja_template`, with a fixed clock.
"""

import gzip
import json
import sys
from datetime import datetime
from pathlib import Path

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

TARGET = Path(__file__).parent.parent / "data" / "chat_templates.json.gz"
NOW = datetime(2026, 1, 2, 3, 4, 5)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city, <now> & here",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Name of the city"},
                "days": {"type": "integer", "enum": [1, 2]},
            },
            "required": ["city"],
        },
    },
}
ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds two numbers",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
        },
    },
}


def call(name: str, arguments: object, id_: str) -> dict[str, object]:
    """A call of a tool, as the openai package has it, with arguments as an object or as text."""
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


SYSTEM = {"role": "system", "content": "Be brief."}
ASK = {"role": "user", "content": "How is the weather in Zürich?\n'Quotes' & \"more\"."}
RESULT = {
    "role": "tool",
    "name": "get_weather",
    "tool_call_id": "call00001",
    "content": '{"sky": "blue", "degrees": 21}',
}
ANSWER = {"role": "assistant", "content": "Blue, and 21 °C."}
THANKS = {"role": "user", "content": " Thanks! "}


def with_calls(text_arguments: bool, n: int) -> list[dict[str, object]]:
    """The turn of an assistant with n calls, and their results."""
    arguments = {"city": "Zürich", "days": 2}, {"a": 1, "b": 2.5}
    shown = [json.dumps(value) if text_arguments else value for value in arguments]
    calls = [call("get_weather", shown[0], "call00001"), call("add", shown[1], "call00002")][:n]
    results = [RESULT, {"role": "tool", "name": "add", "tool_call_id": "call00002", "content": "3.5"}][:n]
    return [{"role": "assistant", "content": "", "tool_calls": calls}, *results]


CONVERSATIONS = {
    "plain": {"messages": [ASK, ANSWER, THANKS]},
    "system": {"messages": [SYSTEM, ASK, ANSWER, THANKS]},
    "tools": {"messages": [SYSTEM, ASK, *with_calls(False, 1), ANSWER, THANKS], "tools": [WEATHER, ADD]},
    "tools_text": {"messages": [SYSTEM, ASK, *with_calls(True, 1), ANSWER, THANKS], "tools": [WEATHER, ADD]},
    "two_calls": {"messages": [SYSTEM, ASK, *with_calls(False, 2)], "tools": [WEATHER, ADD]},
    "ended": {"messages": [ASK, ANSWER], "add_generation_prompt": False},
}


class GenerationTag(Extension):
    """Transformers' tag, which marks the assistant's words for training."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def environment(base: type[SandboxedEnvironment]) -> SandboxedEnvironment:
    """The environment of Transformers, on the sandbox `base`."""

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    made = base(trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols])
    made.filters["tojson"] = tojson
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda form: NOW.strftime(form)
    return made


def rendered(source: str, conversation: dict[str, object]) -> dict[str, str]:
    """The output, or the error; Transformers' sandbox is immutable, two templates append."""
    copy = json.loads(json.dumps(conversation))
    variables = {"tools": None, "documents": None, "add_generation_prompt": True, **copy, **TOKENS}
    found = {}
    for base in (ImmutableSandboxedEnvironment, SandboxedEnvironment):
        try:
            return {"text": environment(base).from_string(source).render(**variables)} | found
        except Exception as error:
            found = {"immutable": f"{type(error).__name__}: {error}"}
    return {"error": found["immutable"]}


def main(folder: Path) -> None:
    """Writes the record of the templates in `folder`."""
    record = {}
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_text("utf-8")
        record[path.stem] = {
            "source": source,
            "outputs": {name: rendered(source, each) for name, each in CONVERSATIONS.items()},
        }
    text = json.dumps(record, ensure_ascii=False, indent=0).encode()
    TARGET.write_bytes(gzip.compress(text, 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
