"""Grammars for answers: they call tools, they may call tools, or they follow a schema after reasoning."""

from __future__ import annotations

from ...tokenizer import Tokenizer
from ..grammar.grammar import Grammar
from ..grammar.lark import lark_literal, lark_text
from .answer_format import AnswerFormat, HarmonyFormat
from .formats.base import NO_CALLS, Schemas
from .formats.lark_writer import LarkWriter
from .free_grammar import TERMINALS, FreeGrammar, harmony_start

_SPACE = "\nSPACE: /[ \\n]{0,4}/"
_HARMONY_FINAL = "<|channel|>final<|message|>"
_HARMONY_THOUGHT = "<|channel|>analysis<|message|>", "<|end|>"


def calls_grammar(
    answer_format: AnswerFormat, tokenizer: Tokenizer, tools: Schemas, in_reasoning: bool, is_alone: bool
) -> Grammar:
    """The grammar of answers that call one or more of the tools, perhaps after reasoning; `in_reasoning`: the
    prompt has begun that; `is_alone`: there is one call. RequestError if the model has no format of calls, or
    a schema cannot be enforced."""
    lark = _writer(tokenizer, is_alone)
    calls = _calls(lark, answer_format, tools)
    return _grammar(lark, answer_format, in_reasoning, calls, "tools")


def free_grammar(
    answer_format: AnswerFormat, tokenizer: Tokenizer, tools: Schemas, in_reasoning: bool
) -> Grammar | None:
    """The grammar of answers that may say anything, but whose calls are of these tools and by their schemas:
    from the opener of a call on it must be well formed. None if calls cannot be told from words;
    RequestError if a schema cannot be enforced."""
    lark = _writer(tokenizer)
    if answer_format.shown_ids(tokenizer.control_names) & tokenizer.eog_ids:
        return None
    ids = tokenizer.control_ids - tokenizer.eog_ids | _free_fragments(answer_format, tokenizer)
    _check(tools)
    if isinstance(answer_format, HarmonyFormat):
        start = harmony_start(lark, tools, ids)
    else:
        start = FreeGrammar(lark, answer_format, tools, ids).start(in_reasoning)
    return Grammar.lark(lark.grammar(start) + TERMINALS, "tools") if start else None


def after_reasoning(
    answer_format: AnswerFormat,
    tokenizer: Tokenizer,
    constraint: Grammar,
    tools: Schemas,
    in_reasoning: bool,
) -> Grammar:
    """The grammar of answers that reason first, if they do, and then call tools or follow a JSON schema or a
    regular expression; other constraints are for the whole answer."""
    reasons = answer_format.reasoning is not None or isinstance(answer_format, HarmonyFormat)
    if constraint.kind not in ("json_schema", "regex") or not (reasons or tools):
        return constraint
    lark = _writer(tokenizer)
    is_schema = constraint.kind == "json_schema"
    body = lark.rule(f"%json {constraint.source}" if is_schema else f"/{_regex(constraint.source)}/")
    if isinstance(answer_format, HarmonyFormat):
        body = f"{lark.text(_HARMONY_FINAL)} {body}"
    knows_calls = isinstance(answer_format, HarmonyFormat) or answer_format.tools is not NO_CALLS
    can_call = bool(tools) and knows_calls
    rest = lark.any_of([body, _calls(lark, answer_format, tools)]) if can_call else body
    return _grammar(lark, answer_format, in_reasoning, rest, constraint.name)


def _grammar(
    lark: LarkWriter, answer_format: AnswerFormat, in_reasoning: bool, rest: str, name: str
) -> Grammar:
    thought = _thought(lark, answer_format, in_reasoning)
    return Grammar.lark(lark.grammar(f"{thought} {rest}") + _SPACE, name)


def _free_fragments(answer_format: AnswerFormat, tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that are bytes of characters, but none of those of which marks consist."""
    marks = "".join((*(answer_format.reasoning or ()), *answer_format.tools.openers)).encode()
    strange = {byte for byte in marks if byte >= 0x80}
    ids = tokenizer.fragment_ids
    return frozenset(id_ for id_ in ids if strange.isdisjoint(tokenizer.token_bytes(id_, False)))


def _check(tools: Schemas) -> None:
    """RequestError for schemas that are none, or have keywords that cannot be enforced."""
    for name, schema in tools.items():
        Grammar.json_schema(schema, f"the parameters of the tool {name!r}")


def _calls(lark: LarkWriter, answer_format: AnswerFormat, tools: Schemas) -> str:
    _check(tools)
    if isinstance(answer_format, HarmonyFormat):
        return _harmony_calls(lark, tools)
    return answer_format.tools.grammar(lark, tools)


def _writer(tokenizer: Tokenizer, is_alone: bool = False) -> LarkWriter:
    def quote(text: str) -> str:
        return lark_text(tokenizer, text)

    return LarkWriter(quote, lambda text: quote(text) == lark_literal(text), is_alone)


def _thought(lark: LarkWriter, answer_format: AnswerFormat, in_reasoning: bool) -> str:
    """Items for the reasoning before the rest of the answer."""
    if isinstance(answer_format, HarmonyFormat):
        begin, end = _HARMONY_THOUGHT
        return f"({lark.text(begin)} {lark.text_until(end)} {lark.text('<|start|>assistant')})?"
    if answer_format.reasoning is None:
        return ""
    begin, end = answer_format.reasoning
    if in_reasoning:
        return f"{lark.text_until(end)} SPACE"
    return f"({lark.text(begin)} {lark.text_until(end)} SPACE)?"


def _harmony_calls(lark: LarkWriter, tools: Schemas) -> str:
    header = "<|channel|>commentary to=functions."
    middle = " <|constrain|>json<|message|>"
    return lark.any_of(
        f"{lark.text(header + name + middle)} {lark.json(schema)}" for name, schema in tools.items()
    )


def _regex(pattern: str) -> str:
    """The pattern between slashes."""
    return pattern.replace("/", "\\/")
