"""Chat templates for files that have none: the one whose control tokens their vocabulary has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class DefaultTemplate:
    """A template for vocabularies with the control tokens `needs`."""

    name: str
    needs: tuple[str, ...]
    source: str
    stop: tuple[str, ...] = ()
    """Texts that end an answer, where no control token does."""


def _turns(system: str, user: str, assistant: str, begin: str, end: str, first: str = "") -> str:
    """A template whose turns are `begin`, the role's name as given, the text and `end`."""
    names = f"{{'system': '{system}', 'user': '{user}', 'assistant': '{assistant}', 'tool': '{user}'}}"
    return (
        f"{first}{{% set names = {names} %}}{{% for m in messages %}}"
        f"{{{{ {begin % 'names.get(m.role, m.role)'} + (m.content | trim) + {end} }}}}{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{{{{ {begin % repr(assistant)} }}}}{{% endif %}}"
    )


_CHATML = _turns("system", "user", "assistant", "'<|im_start|>' + %s + '\\n'", "'<|im_end|>\\n'")
_LLAMA_3 = _turns(
    *("system", "user", "assistant"),
    "'<|start_header_id|>' + %s + '<|end_header_id|>\\n\\n'",
    "'<|eot_id|>'",
    "{{ bos_token }}",
)
_GEMMA = _turns(
    *("user", "user", "model"),
    "'<start_of_turn>' + %s + '\\n'",
    "'<end_of_turn>\\n'",
    "{{ bos_token }}",
)
_GRANITE = _turns(
    *("system", "user", "assistant"),
    "'<|start_of_role|>' + %s + '<|end_of_role|>'",
    "'<|end_of_text|>\\n'",
)
_PHI_3 = _turns("system", "user", "assistant", "'<|' + %s + '|>\\n'", "'<|end|>\\n'")
_ZEPHYR = _turns("system", "user", "assistant", "'<|' + %s + '|>\\n'", "eos_token + '\\n'")
_COMMAND_R = _turns(
    *("SYSTEM", "USER", "CHATBOT"),
    "'<|START_OF_TURN_TOKEN|><|' + %s + '_TOKEN|>'",
    "'<|END_OF_TURN_TOKEN|>'",
    "{{ bos_token }}",
)
_MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ ' ' + (m.content | trim) + eos_token }}"
    "{% else %}{{ '[INST] ' + (m.content | trim) + '[/INST]' }}{% endif %}{% endfor %}"
)
_DEEPSEEK = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' or m.role == 'tool' %}"
    "{{ '<｜User｜>' + m.content }}{% elif m.role == 'assistant' %}"
    "{{ '<｜Assistant｜>' + m.content + eos_token }}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)
_PLAIN = (
    "{{ bos_token }}{% set names = {'user': 'User: ', 'assistant': 'Assistant: '} %}"
    "{% for m in messages %}{{ names.get(m.role, '') + (m.content | trim) + '\\n\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

TEMPLATES = (
    DefaultTemplate("ChatML", ("<|im_start|>", "<|im_end|>"), _CHATML),
    DefaultTemplate("Llama 3", ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), _LLAMA_3),
    DefaultTemplate("Gemma", ("<start_of_turn>", "<end_of_turn>"), _GEMMA),
    DefaultTemplate("Granite", ("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"), _GRANITE),
    DefaultTemplate("Phi 3", ("<|user|>", "<|assistant|>", "<|end|>"), _PHI_3),
    DefaultTemplate("Zephyr", ("<|user|>", "<|assistant|>"), _ZEPHYR),
    DefaultTemplate("Command R", ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>"), _COMMAND_R),
    DefaultTemplate("Mistral", ("[INST]", "[/INST]"), _MISTRAL),
    DefaultTemplate("DeepSeek", ("<｜User｜>", "<｜Assistant｜>"), _DEEPSEEK),
)
PLAIN = DefaultTemplate('"User:" and "Assistant:"', (), _PLAIN, ("\nUser:", "\n\nUser"))
"""For any vocabulary."""


def default_template(control_names: Collection[str]) -> DefaultTemplate:
    """The first whose control tokens are all there, else `PLAIN`."""
    return next((t for t in TEMPLATES if all(name in control_names for name in t.needs)), PLAIN)
