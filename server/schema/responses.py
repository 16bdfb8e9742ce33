"""The fields of OpenAI's Responses API, of which nothing is kept between requests."""

from __future__ import annotations

from .fields import (
    Anything,
    Either,
    Field,
    Fixed,
    Flag,
    Integer,
    ListOf,
    Number,
    OneOf,
    Record,
    Text,
    fields,
    not_supported,
    required,
)
from .openai import INSIDE, MAX_MESSAGES, MAX_TOOLS, MODEL
from .sampling import MANY, REASONING

_TOOL = Record(
    {
        **required(type=OneOf(("function",)), name=Text(64, 1)),
        **fields(description=Text(), parameters=Anything("a JSON schema"), strict=Flag()),
    }
)
_FORMAT = Record(
    {
        **required(type=OneOf(("text", "json_object", "json_schema"))),
        **fields(name=Text(64), schema=Anything("a JSON schema"), strict=Flag(), description=Text()),
    }
)

RESPONSES = Record(
    {
        **required(input=Either((Text(n_min=1), ListOf(Record(is_open=True), MAX_MESSAGES, 1)))),
        **fields(
            model=MODEL,
            instructions=Text(),
            max_output_tokens=Integer(1, MANY),
            temperature=Number(0, 100),
            top_p=Number(0, 1, above=True),
            stream=Flag(),
            tools=ListOf(_TOOL, MAX_TOOLS),
            tool_choice=Either((OneOf(("auto", "none", "required")), Anything("a function by its name"))),
            parallel_tool_calls=Flag(),
            text=Record(fields(format=_FORMAT), frozenset({"verbosity"})),
        ),
        **INSIDE,
        **not_supported(("activations",)),
        "reasoning": Field(Record({"effort": REASONING}, frozenset({"summary", "generate_summary"}))),
        "truncation": Field(Fixed(("disabled",))),
        "background": Field(Fixed((False,))),
        "previous_response_id": Field(Fixed((), "nothing is kept: send the whole conversation")),
        "conversation": Field(Fixed((), "nothing is kept: send the whole conversation")),
        "prompt": Field(Fixed()),
        "top_logprobs": Field(Fixed((0,))),
        "include": Field(Fixed(([], ["reasoning.encrypted_content"]))),
        "max_tool_calls": Field(Fixed((), "it is for tools of OpenAI's servers")),
    },
    frozenset(
        {
            *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
            *("prompt_cache_retention", "stream_options"),
        }
    ),
)
