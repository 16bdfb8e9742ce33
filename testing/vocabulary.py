"""The vocabulary of the tiny model, of the kind of SmolLM2's: control tokens, all bytes, and some merges."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..tokenizer.bpe import byte_letters

_NORMAL, _CONTROL = 1, 3
_CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

# Each merge makes a token of two others; "Ġ" is GPT-2's letter of the space.
_MERGES = (
    *("Ġ t", "h e", "i n", "Ġ a", "e r", "o n", "r e", "Ġ s", "a t", "e n", "o u", "i s", "o r", "l l"),
    *("Ġt he", "in g", "Ġ w", "Ġa n", "Ġan d", "Ġ is", "y ou", "Ġ b", "Ġ c", "Ġ m", "Ġ f", "Ġ p", "e d"),
    *("Ġ of", "o f", "Ġ to", "t o", "Ġ in", "l y", "l e", "u n", "v er", "a l", "i t", "Ġ it", "Ġ you"),
)

CHAT_TEMPLATE = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- 'You can call these functions:\\n<tools>' }}
    {%- for tool in tools %}
        {{- '\\n' + tool | tojson }}
    {%- endfor %}
    {{- '\\n</tools>\\nWrite a call as\\n<tool_call>\\n{"name": …, "arguments": {…}}\\n</tool_call>' }}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if not (tools and loop.first and message.role == 'system') %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- if message.content %}
            {{- message.content }}
        {%- endif %}
        {%- for call in message.tool_calls or [] %}
            {{- '\\n' if message.content or not loop.first }}
            {%- set given = call.function.arguments %}
            {{- '<tool_call>\\n{"name": ' + call.function.name | tojson + ', "arguments": ' }}
            {{- given if given is string else given | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
"""Conversations in ChatML, with tools and calls of them as JSON (the form of Hermes and Qwen 2.5)."""


def vocabulary() -> Mapping[str, Any]:
    """The metadata under `tokenizer.`, as a file has it."""
    letters = byte_letters()
    tokens = [*_CONTROL_TOKENS, *letters, *(merge.replace(" ", "") for merge in _MERGES)]
    kinds = [_CONTROL] * len(_CONTROL_TOKENS) + [_NORMAL] * (len(tokens) - len(_CONTROL_TOKENS))
    start, end = tokens.index("<|im_start|>"), tokens.index("<|im_end|>")
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array(kinds, np.int32),
        "tokenizer.ggml.merges": list(_MERGES),
        "tokenizer.ggml.bos_token_id": start,
        "tokenizer.ggml.eos_token_id": end,
        "tokenizer.ggml.padding_token_id": end,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": CHAT_TEMPLATE,
    }


def is_text(token: str) -> bool:
    """Is it a token that stands for printable ASCII, as it is written in the vocabulary?"""
    return token not in _CONTROL_TOKENS and all(letter == "Ġ" or "!" <= letter <= "~" for letter in token)
