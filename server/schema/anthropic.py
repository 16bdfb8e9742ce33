"""The fields of the Anthropic API."""

from __future__ import annotations

from .fields import (
    Anything,
    Either,
    Field,
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
from .sampling import MANY, MAX_STOPS

_BLOCKS = Either((Text(), ListOf(Record(required(type=Text(64, 1)), is_open=True), MAX_MESSAGES)))
_MESSAGE = Record(required(role=OneOf(("user", "assistant", "system")), content=_BLOCKS))
_TOOL = Record(
    {
        **required(name=Text(64, 1)),
        **fields(type=OneOf(("custom",)), description=Text(), input_schema=Anything("a JSON schema")),
    },
    frozenset({"cache_control", "strict", "eager_input_streaming", "defer_loading", "input_examples"}),
)
_CHOICE = Record(
    {
        **required(type=OneOf(("auto", "any", "tool", "none"))),
        **fields(name=Text(64), disable_parallel_tool_use=Flag()),
    }
)
_CONVERSATION = {
    **required(model=MODEL, messages=ListOf(_MESSAGE, MAX_MESSAGES, 1)),
    **fields(
        system=_BLOCKS,
        tools=ListOf(_TOOL, MAX_TOOLS),
        tool_choice=_CHOICE,
        thinking=Record(
            {
                **required(type=OneOf(("enabled", "adaptive", "disabled"))),
                **fields(budget_tokens=Integer(1, MANY)),
            },
            frozenset({"display"}),
        ),
    ),
}
_INERT = frozenset(
    {"metadata", "service_tier", "inference_geo", "cache_control", "betas", "context_management"}
)
_REFUSED = not_supported(("container", "mcp_servers"))

MESSAGES = Record(
    {
        **_CONVERSATION,
        **required(max_tokens=Integer(1, MANY)),
        **fields(
            stream=Flag(),
            stop_sequences=ListOf(Text(256, 1), MAX_STOPS),
            temperature=Number(0, 100),
            top_p=Number(0, 1, above=True),
            top_k=Integer(0, MANY),
            output_config=Record(
                {
                    **fields(
                        format=Record(
                            required(type=OneOf(("json_schema",)), schema=Anything("a JSON schema")),
                        )
                    ),
                },
                frozenset({"effort"}),
            ),
        ),
        **INSIDE,
        **_REFUSED,
        **not_supported(("activations",)),
    },
    _INERT,
)

COUNT_TOKENS = Record({**_CONVERSATION, "max_tokens": Field(Integer(1, MANY)), **_REFUSED}, _INERT)
