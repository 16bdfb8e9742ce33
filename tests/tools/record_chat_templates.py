"""Records what Transformers makes of the chat templates that llama.cpp ships.

    python tests/tools/record_chat_templates.py llama.cpp/models/templates

writes tests/data/chat_templates.json.gz: for each template what it makes of each conversation of
`CONVERSATIONS`, the SHA-256 of the output or the words with which it refuses; and the template itself, where
the licence of its model is known to allow that (`LICENCES`). Imports nothing of nybble: the environment is
that of `transformers.utils.chat_template_utils._compile_jinja_template`, with a fixed clock.
"""

import gzip
import json
import sys
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment

TARGET = Path(__file__).parent.parent / "data" / "chat_templates.json.gz"
LICENCES = {
    "Apache-2.0": (
        *(
            "Apertus-8B-Instruct",
            "Bielik-11B-v3.0-Instruct",
            "ByteDance-Seed-OSS",
            "HuggingFaceTB-SmolLM3-3B",
        ),
        *("MiniMax-M1", "Mistral-Small-3.2-24B-Instruct-2506", "mistralai-Ministral-3-14B-Reasoning-2512"),
        *("mistralai-Mistral-Nemo-Instruct-2407", "unsloth-mistral-Devstral-Small-2507", "Qwen-QwQ-32B"),
        *("Qwen-Qwen2.5-7B-Instruct", "Qwen-Qwen3-0.6B", "Qwen3-Coder", "Qwen3.5-4B", "StepFun3.5-Flash"),
        *("ibm-granite-granite-3.3-2B-Instruct", "ibm-granite-granite-4.0", "ibm-granite-granite-4.1"),
        *("openai-gpt-oss-120b", "google-gemma-4-31B-it", "google-gemma-4-31B-it-interleaved"),
    ),
    "MIT": (
        *("Apriel-1.6-15b-Thinker-fixed", "unsloth-Apriel-1.5", "GLM-4.6", "GLM-4.7-Flash", "MiMo-VL"),
        *("GigaChat3-10B-A1.8B", "GigaChat3.1-10B-A1.8B", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B"),
        *(
            "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
            "deepseek-ai-DeepSeek-V3.1",
            "inclusionai-ling-3.0-flash",
        ),
        *("deepseek-ai-DeepSeek-V3.2", "deepseek-ai-DeepSeek-V4", "deepseek-ai-DeepSeek-V4-Flash-0731"),
        *("llama-cpp-deepseek-r1", "llama-cpp-rwkv-world", "microsoft-Phi-3.5-mini-instruct"),
        *("meetkai-functionary-medium-v3.1", "meetkai-functionary-medium-v3.2"),
    ),
}
"""Licence -> the templates of models that have it; those of llama.cpp itself are MIT."""
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
    shown = [json.dumps(value, ensure_ascii=False) if text_arguments else value for value in arguments]
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
    """The output's SHA-256, or the error. Transformers' sandbox is immutable, but two templates append."""
    defaults = {"tools": None, "documents": None, "add_generation_prompt": True, **TOKENS}
    error = ""
    for base in (ImmutableSandboxedEnvironment, SandboxedEnvironment):
        copy = json.loads(json.dumps(conversation))
        try:
            text = environment(base).from_string(source).render(**{**defaults, **copy})
            return {"sha256": sha256(text.encode()).hexdigest()}
        except Exception as caught:  # whatever a template does
            error = error or f"{type(caught).__name__}: {caught}"
    return {"error": error}


def main(folder: Path) -> None:
    """Writes the record of the templates in `folder`."""
    free = {name: licence for licence, names in LICENCES.items() for name in names}
    record = {}
    for path in sorted(folder.glob("*.jinja")):
        source = path.read_text("utf-8")
        record[path.stem] = {
            "licence": free.get(path.stem),
            "source": source if path.stem in free else None,
            "outputs": {name: rendered(source, each) for name, each in CONVERSATIONS.items()},
        }
    text = json.dumps(record, ensure_ascii=False, indent=0).encode()
    TARGET.write_bytes(gzip.compress(text, 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
