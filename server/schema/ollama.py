"""The fields of Ollama's API."""

from __future__ import annotations

from .fields import (
    Anything,
    Either,
    Field,
    Fixed,
    Flag,
    Integer,
    ListOf,
    OneOf,
    Record,
    Text,
    fields,
    not_supported,
    required,
)
from .keep_alive import KeepAlive
from .openai import INSIDE, MAX_INPUTS, MAX_MESSAGES, MAX_TOOLS, MODEL
from .sampling import CHAINS, MANY, MAX_STOPS

_STOP = Text(256, 1)
_OPTIONS = Record(
    {
        **CHAINS,
        **fields(
            num_predict=Integer(-2, MANY),
            num_ctx=Integer(1, MANY),
            repeat_last_n=Integer(-1, MANY),
            stop=Either((_STOP, ListOf(_STOP, MAX_STOPS))),
        ),
    },
    frozenset(
        {
            *("num_keep", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "use_mlock", "numa"),
            *("low_vram", "vocab_only", "f16_kv", "penalize_newline", "tfs_z"),
        }
    ),
)
_KEEP_ALIVE = KeepAlive()
_FORMAT = Either((OneOf(("json", "")), Record(is_open=True)))
_THINK = Either((Flag(), OneOf(("low", "medium", "high", "max"))))
_RUN = fields(
    stream=Flag(),
    options=_OPTIONS,
    keep_alive=_KEEP_ALIVE,
    think=_THINK,
    format=_FORMAT,
    logprobs=Flag(),
    top_logprobs=Integer(0, 20),
) | {**INSIDE, **not_supported(("activations",))}
_CALL = Record(required(function=Record(required(name=Text(64, 1)), is_open=True)), is_open=True)
_MESSAGE = Record(
    {
        **required(role=Text(32, 1)),
        **fields(content=Text(), thinking=Text(), tool_calls=ListOf(_CALL, MAX_TOOLS)),
        "images": Field(Fixed(([],))),
    },
    is_open=True,
)

CHAT = Record(
    {
        **required(model=MODEL),
        **fields(messages=ListOf(_MESSAGE, MAX_MESSAGES), tools=ListOf(Anything("a function"), MAX_TOOLS)),
        **_RUN,
    }
)

GENERATE = Record(
    {
        **required(model=MODEL),
        **fields(prompt=Text(), suffix=Text(), system=Text(), raw=Flag()),
        **_RUN,
        "template": Field(Fixed(("",), "start the server with --chat-template")),
        "images": Field(Fixed(([],))),
        "context": Field(Fixed(([],), "send the conversation to /api/chat")),
    }
)

EMBED = Record(
    {
        **required(model=MODEL, input=Either((Text(n_min=1), ListOf(Text(n_min=1), MAX_INPUTS)))),
        **fields(truncate=Flag(), dimensions=Integer(1, MANY), options=_OPTIONS, keep_alive=_KEEP_ALIVE),
    }
)

SHOW = Record(
    fields(model=MODEL, name=MODEL, verbose=Flag(), system=Text(), template=Text(), options=_OPTIONS)
)
