"""Tiny models that chat, with templates of a few lines."""

import tiny_model
from forge import GGUFForge

import nybble
from nybble import SamplingParams

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
HERMES = (
    "{% for t in tools or [] %}{{ '<|im_start|>tool ' + t.function.name }}{% endfor %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content }}"
    "{% for c in m.tool_calls or [] %}"
    "{{ '<tool_call>\n' + c.function | tojson + '\n</tool_call>\n' }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
USER = [{"role": "user", "content": "the other hand"}]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": {"n": {"enum": [1, 2]}},
                "required": ["n"],
                "additionalProperties": False,
            },
        },
    }
    for name in ("look", "stop")
]
SHORT = SamplingParams(max_tokens=12)


def llm_with(folder, template=CHATML, n_ctx=256, **keys):
    path = tiny_model.write(folder / "m.gguf", n_ctx=n_ctx)
    forge = GGUFForge.parse(path.read_bytes())
    if template is not None:
        forge.set("tokenizer.chat_template", template)
    for key, value in keys.items():
        forge.set(f"tokenizer.chat_template.{key}", value)
    path.write_bytes(forge.build())
    return nybble.LLM(path, executor="reference", n_ctx=n_ctx)
