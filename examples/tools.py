"""A loop of tools: the model calls them, gets their results, and answers.

    python examples/tools.py ["What is 17 times 23?"]

SmolLM2 was not trained on tools, and chooses them badly; that its calls are well formed is enforced by a
grammar (`pip install "nybble[grammar]"`). A larger model, as Qwen3, chooses by itself with
`tool_choice="auto"`: put its file in the place of "smollm2", and leave `chat_template` out.
"""

import json
import sys

import nybble

# SmolLM2's own template knows no tools.
TEMPLATE = """\
<|im_start|>system
You call tools. They are:
{%- for tool in tools or [] %}
{{ tool.function | tojson }}
{%- endfor %}<|im_end|>
{% for m in messages %}<|im_start|>{{ m.role }}
{% for call in m.tool_calls or [] %}<tool_call>
{{ call.function | tojson }}
</tool_call>{% endfor %}{{ m.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def multiply(a: int, b: int) -> int:
    return a * b


TOOLS = {"multiply": multiply}
SCHEMAS = [
    {
        "type": "function",
        "function": {
            "name": "multiply",
            "description": "Multiplies two integers",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
                "additionalProperties": False,
            },
        },
    }
]

question = sys.argv[1] if len(sys.argv) > 1 else "What is 17 times 23?"
messages: list[dict[str, str] | nybble.ChatMessage] = [{"role": "user", "content": question}]
params = nybble.SamplingParams(max_tokens=64)

with nybble.LLM("smollm2", n_ctx=1024, chat_template=TEMPLATE) as llm:
    out = llm.chat(messages, params, tools=SCHEMAS, tool_choice="multiply")
    messages.append(out.message)
    for call in out.message.tool_calls:
        result = TOOLS[call.function.name](**json.loads(call.function.arguments))
        print(f"{call.function.name}({call.function.arguments}) = {result}")
        messages.append({"role": "tool", "tool_call_id": call.id, "content": json.dumps(result)})
    for delta in llm.chat_stream(messages, params, tools=SCHEMAS, tool_choice="none"):
        print(delta.content, end="", flush=True)
    print()
