"""How a template marks the parts of an answer: found by rendering conversations that are made up, in
pairs."""

from __future__ import annotations

import json
import re
from typing import Any

from ...tokenizer.special_tokens import END_OF_GENERATION
from .answer_format import AnswerFormat, HarmonyFormat
from .derive_calls import common_start, derived_calls
from .formats.base import NO_CALLS, ToolFormat
from .formats.functionary import FunctionaryCalls
from .formats.gemma import GemmaCalls
from .formats.json_calls import JsonCalls
from .formats.llama import LlamaCalls
from .formats.named_json import NamedJson
from .formats.python_calls import PythonCalls
from .traits import NEEDLE, Probe, TemplateTraits, made_up_call

_USER = {"role": "user", "content": "Hello"}
_WORDS = "WordsOfTheAnswer"
_TAG = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")
_LAST_TAG = re.compile(r"(?:<[^<>\s]+>|\[/?[A-Z_]+\])(?:[a-z]+)?\Z")  # Gemma's is followed by a word

_DEEPSEEK_R1 = NamedJson(
    "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
    "```json",
    "```<｜tool▁call▁end｜>",
    ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
)
# Where rendering shows no calls, or not as the model writes them: a text that the template has -> the format.
_BEFORE_RENDERING: tuple[tuple[str, ToolFormat], ...] = (
    ("<|tool_call>call:", GemmaCalls()),
    ("<|tool_call_start|>", PythonCalls("<|tool_call_start|>", "<|tool_call_end|>")),
    (">>>all", FunctionaryCalls()),
)
_AFTER_RENDERING: tuple[tuple[str, ToolFormat], ...] = (
    ("<|tool_list_start|>", PythonCalls("<|tool_call_start|>", "<|tool_call_end|>")),  # LFM2
    ("List of tools: ", PythonCalls("<|tool_call_start|>", "<|tool_call_end|>")),
    ("<|python_tag|>", LlamaCalls()),
    ("<｜tool▁calls▁begin｜>", _DEEPSEEK_R1),
    ("<|tool_call|>", JsonCalls("<|tool_call|>", is_list=True)),  # Granite 3.3
    ('{"name": <function-name>', JsonCalls("<tool_call>", "</tool_call>")),
)
_KNOWN_REASONING = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<|channel>thought", "<channel|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
)


def derived_format(probe: Probe, source: str, traits: TemplateTraits) -> AnswerFormat:
    """The format of the answers of a model whose template, `source`, is what `probe` renders."""
    ended = _render(probe, {"role": "assistant", "content": _WORDS})
    after = ended.rpartition(_WORDS)[2].lstrip() if _WORDS in ended else ""
    found = _TAG.fullmatch(after.rstrip())
    end = found[0] if found else ""
    if "<|channel|>" in source and "<|message|>" in source and "analysis" in source:
        return HarmonyFormat(end="<|return|>")
    reasoning = _reasoning(probe, source, traits)
    return AnswerFormat(reasoning, _calls(probe, source, reasoning, end), end)


def _render(probe: Probe, answer: dict[str, Any], tools: Any = None) -> str:
    text = probe({"messages": [_USER, answer], "tools": tools, "add_generation_prompt": False})
    return text or ""


def _reasoning(probe: Probe, source: str, traits: TemplateTraits) -> tuple[str, str] | None:
    """The texts around the reasoning."""
    if traits.reasoning_key is not None:
        text = _render(probe, {"role": "assistant", "content": _WORDS, traits.reasoning_key: NEEDLE})
        before, _, after = text.partition(NEEDLE)
        begin, end = _LAST_TAG.search(before.rstrip()), _TAG.match(after.lstrip())
        asked = probe({"messages": [_USER], "add_generation_prompt": False}) or ""
        if begin and end and begin[0] not in asked:
            return begin[0], end[0]
    return next((known for known in _KNOWN_REASONING if known[1] in source), None)


def _calls(probe: Probe, source: str, reasoning: tuple[str, str] | None, end: str) -> ToolFormat:
    """How calls are written."""
    for mark, known in _BEFORE_RENDERING:
        if mark in source:
            return known
    for as_text in (False, True):
        regions = [_region(probe, n, as_text, reasoning, end) for n in (1, 2)]
        if regions[0] and (found := derived_calls(*regions)):
            return found
    return next((known for mark, known in _AFTER_RENDERING if mark in source), NO_CALLS)


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "Does something",
            "parameters": {
                "type": "object",
                "properties": {
                    "key_one": {"type": "string", "description": "A text"},
                    "key_two": {"type": "string", "description": "A text"},
                    "key_six": {"type": "integer", "description": "A number"},
                },
                "required": ["key_one"],
            },
        },
    }
    for name in ("tool_one", "tool_two")
]
ARGUMENTS = {"key_one": "value_one", "key_two": "value_two", "key_six": 678}


def _region(probe: Probe, n: int, as_text: bool, reasoning: tuple[str, str] | None, end: str) -> str:
    """What n calls look like in an answer; "" if they are not shown. `end`: what ends an answer."""
    arguments = json.dumps(ARGUMENTS) if as_text else ARGUMENTS
    calls = [made_up_call(f"tool_{name}", arguments, f"call0000{i}") for i, name in ((1, "one"), (2, "two"))]
    text = _render(probe, {"role": "assistant", "content": "", "tool_calls": calls[:n]}, TOOLS)
    asked = probe({"messages": [_USER], "tools": TOOLS, "add_generation_prompt": True}) or ""
    common = str(common_start(text, asked))
    if not common or "tool_one" not in text[len(common) :]:
        return ""
    is_in_tag = common.rfind("<") > common.rfind(">")
    region = text[common.rfind("<") if is_in_tag else len(common) :].strip()
    turn = [
        tag for tag in _TAG.findall(asked.rpartition(_USER["content"])[2]) if tag not in (reasoning or ())
    ]
    before = region[: region.find("tool_one")]
    for mark in (*turn, *(reasoning or ())):
        if mark in before:
            region = region[region.find(mark) + len(mark) :].lstrip()
            before = region[: region.find("tool_one")]
    last = max(region.rfind("678"), region.rfind("value_two"))
    marks = {*END_OF_GENERATION, *turn, end} - {""}
    ends = [place for mark in marks if (place := region.find(mark, last)) >= 0]
    return region[: min(ends, default=len(region))].strip()
