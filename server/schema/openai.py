"""The fields of the OpenAI API, and of what others have added to it."""

from __future__ import annotations

from .fields import (
    Anything,
    Either,
    Field,
    Fixed,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Number,
    OneOf,
    Record,
    Text,
    fields,
    not_supported,
    required,
)
from .sampling import MANY, REASONING, SAMPLING, TokenIds

MAX_MESSAGES, MAX_TOOLS, MAX_PROMPTS, MAX_INPUTS = 4096, 512, 16, 2048
MODEL = Text(512)

INERT = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "verbosity", "logit_bias_type", "timings_per_token"),
    }
)
"""Fields that may be there and do nothing, since they change nothing of an answer."""

INSIDE = fields(
    control_vectors=ListOf(
        Record(
            {
                **required(name=Text(200, 1)),
                **fields(strength=Number(-1000, 1000), layers=ListOf(Integer(0, 65535), 2, 2)),
            }
        ),
        16,
    ),
    receipt=Flag(),
)
"""What only nybble has: changing what the model computes, and proof of what it did."""

_ACTIVATIONS = ListOf(Text(200, 1), 64, 1)

_MESSAGES = ListOf(Record(required(role=Text(32, 1)), is_open=True), MAX_MESSAGES, 1)
_TOOLS = ListOf(
    Record(required(type=Text(64), function=Anything("name, description, parameters"))), MAX_TOOLS
)
_STREAM = fields(
    model=MODEL,
    stream=Flag(),
    stream_options=Record(fields(include_usage=Flag()), frozenset({"include_obfuscation"})),
)
_FORMAT = Record(
    {
        **required(type=OneOf(("text", "json_object", "json_schema"))),
        **fields(
            json_schema=Record(
                {
                    **required(schema=Anything("a JSON schema")),
                    **fields(name=Text(64), strict=Flag(), description=Text()),
                }
            )
        ),
    }
)

CHAT = Record(
    {
        **required(messages=_MESSAGES),
        **_STREAM,
        **SAMPLING,
        **fields(
            max_tokens=Integer(1, MANY),
            max_completion_tokens=Integer(1, MANY),
            n=Integer(1, 1024),
            logprobs=Flag(),
            top_logprobs=Integer(0, 20),
            tools=_TOOLS,
            tool_choice=Either((Text(64), Anything("a function by its name"))),
            parallel_tool_calls=Flag(),
            response_format=_FORMAT,
            chat_template_kwargs=MapOf(Anything(), 64),
            continue_final_message=Flag(),
        ),
        "reasoning_effort": REASONING,
        "modalities": Field(Fixed((["text"],))),
        "add_generation_prompt": Field(Fixed((True,))),
        "chat_template": Field(Fixed((), "start the server with --chat-template")),
        **not_supported(("audio", "prediction", "web_search_options", "functions", "function_call")),
        **INSIDE,
        **fields(activations=_ACTIVATIONS),
        **not_supported(("documents", "lora")),
    },
    INERT,
)

COMPLETION = Record(
    {
        **required(
            prompt=Either(
                (Text(n_min=1), ListOf(Either((Text(n_min=1), TokenIds())), MAX_PROMPTS, 1), TokenIds())
            )
        ),
        **_STREAM,
        **SAMPLING,
        **fields(
            max_tokens=Integer(0, MANY),
            n=Integer(1, 1024),
            suffix=Text(),
            echo=Flag(),
            logprobs=Integer(0, 20),
            response_format=_FORMAT,
        ),
        "best_of": Field(Fixed((1,))),
        **INSIDE,
        **fields(activations=_ACTIVATIONS),
        **not_supported(("lora",)),
    },
    INERT,
)

_INPUTS = Either((Text(n_min=1), ListOf(Either((Text(n_min=1), TokenIds())), MAX_INPUTS, 1), TokenIds()))

EMBEDDINGS = Record(
    {
        **required(input=_INPUTS),
        **fields(model=MODEL, encoding_format=OneOf(("float", "base64")), dimensions=Integer(1, MANY)),
    },
    INERT,
)

RERANK = Record(
    {
        **required(
            query=Text(n_min=1),
            documents=ListOf(Either((Text(), Record(required(text=Text())))), MAX_INPUTS, 1),
        ),
        **fields(model=MODEL, top_n=Integer(1, MANY), return_documents=Flag()),
    },
    INERT,
)

TOKENIZE = Record(
    {
        **fields(
            model=MODEL,
            content=Text(),
            prompt=Text(),
            add_special=Flag(),
            add_special_tokens=Flag(),
            parse_special=Flag(),
            with_pieces=Flag(),
        ),
    },
)

DETOKENIZE = Record({**required(tokens=ListOf(Integer(0, MANY), MANY)), **fields(model=MODEL)})
