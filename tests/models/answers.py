"""Answers of models in every format of calls, made up: what they mean, and how their parsers are made."""

import json
from dataclasses import dataclass, field

from nybble.engine.chat.answer_format import AnswerFormat, HarmonyFormat
from nybble.engine.chat.formats.functionary import FunctionaryCalls
from nybble.engine.chat.formats.gemma import GemmaCalls
from nybble.engine.chat.formats.json_calls import JsonCalls
from nybble.engine.chat.formats.llama import LlamaCalls
from nybble.engine.chat.formats.named_json import NamedJson
from nybble.engine.chat.formats.python_calls import PythonCalls
from nybble.engine.chat.formats.tagged import TaggedParameters
from nybble.engine.chat.message import MessageBuilder

THINK = ("<think>", "</think>")
HERMES = AnswerFormat(THINK, JsonCalls("<tool_call>", "</tool_call>"))
QWEN3_CODER = AnswerFormat(
    THINK,
    TaggedParameters(
        "<tool_call>\n<function=",
        "<parameter=",
        ">",
        "</parameter>",
        "</function>\n</tool_call>",
        name_end=">",
        has_lines=True,
    ),
)
LLAMA = AnswerFormat(None, LlamaCalls())
NEMO = AnswerFormat(None, JsonCalls("[TOOL_CALLS]", is_list=True, id_key="id"))
MISTRAL_SMALL = AnswerFormat(None, NamedJson("[TOOL_CALLS]", "[ARGS]", id_begin="[CALL_ID]"))
MINISTRAL = AnswerFormat(("[THINK]", "[/THINK]"), NamedJson("[TOOL_CALLS]", "[ARGS]"))
HARMONY = HarmonyFormat()
DEEPSEEK_V31 = AnswerFormat(
    THINK,
    NamedJson(
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
        "<｜tool▁call▁end｜>",
        ("<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
    ),
)
DEEPSEEK_V32 = AnswerFormat(
    THINK,
    TaggedParameters(
        '<｜DSML｜invoke name="',
        '<｜DSML｜parameter name="',
        '" string="true">',
        "</｜DSML｜parameter>",
        "</｜DSML｜invoke>",
        name_end='">',
        section=("<｜DSML｜function_calls>", "</｜DSML｜function_calls>"),
        other_key_end='" string="false">',
    ),
)
GLM = AnswerFormat(
    THINK,
    TaggedParameters("<tool_call>", "<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>", "</tool_call>"),
)
GRANITE_33 = AnswerFormat(THINK, JsonCalls("<|tool_call|>", is_list=True))
FUNCTIONARY_31 = AnswerFormat(None, NamedJson("<function=", ">", "</function>"))
FUNCTIONARY_32 = AnswerFormat(None, FunctionaryCalls())
GEMMA_4 = AnswerFormat(("<|channel>thought", "<channel|>"), GemmaCalls())
KIMI_K2 = AnswerFormat(
    THINK,
    NamedJson(
        "<|tool_call_begin|>",
        "<|tool_call_argument_begin|>",
        "<|tool_call_end|>",
        ("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
        name_is_id=True,
    ),
)
MINIMAX_M2 = AnswerFormat(
    THINK,
    TaggedParameters(
        '<invoke name="',
        '<parameter name="',
        '">',
        "</parameter>",
        "</invoke>",
        name_end='">',
        section=("<minimax:tool_call>", "</minimax:tool_call>"),
    ),
)
LFM2 = AnswerFormat(None, PythonCalls("<|tool_call_start|>", "<|tool_call_end|>"))

SCHEMAS = {
    "look_up": {
        "type": "object",
        "properties": {
            "word": {"type": "string"},
            "n": {"type": "integer"},
            "exact": {"type": "boolean"},
            "where": {"type": "array", "items": {"type": "string"}},
        },
    },
    "stop": {"type": "object", "properties": {}},
}


@dataclass(frozen=True)
class Answer:
    """An answer as a model writes it, and what it means."""

    format: AnswerFormat
    text: str
    content: str | None = None
    reasoning: str | None = None
    calls: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    ids: list[str] | None = None
    prompt: str = ""


LOOK_UP = ("look_up", {"word": 'a "b" </x> é', "n": 2})
STOP = ("stop", {})
J = json.dumps(LOOK_UP[1])


def _hermes(name: str, arguments: object) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


ANSWERS = {
    "words alone": Answer(HERMES, " Hello, <b>you</b>!\n", " Hello, <b>you</b>!\n"),
    "hermes": Answer(
        HERMES,
        f"<think>\nLook it up.\n</think>\n\nI look.\n\n{_hermes(*LOOK_UP)}\n{_hermes(*STOP)}",
        "I look.",
        "Look it up.",
        [LOOK_UP, STOP],
    ),
    "hermes, thought begun by the prompt": Answer(
        HERMES, "So.\n</think>\n\nYes.", "Yes.", "So.", prompt="<|im_start|>assistant\n<think>\n"
    ),
    "hermes, never ended": Answer(
        HERMES, '<tool_call>\n{"name": "stop", "arguments": {}}', None, None, [STOP]
    ),
    "hermes, end marker in a text": Answer(
        HERMES,
        _hermes("look_up", {"word": "</tool_call>"}),
        None,
        None,
        [("look_up", {"word": "</tool_call>"})],
    ),
    "hermes, malformed": Answer(
        HERMES,
        f'A <tool_call>\n{{"name": }}\n</tool_call> B\n{_hermes(*STOP)}',
        'A <tool_call>\n{"name": }\n</tool_call> B',
        None,
        [STOP],
    ),
    "hermes, cut short": Answer(HERMES, 'A\n<tool_call>\n{"name": "st', 'A\n<tool_call>\n{"name": "st'),
    "qwen3-coder": Answer(
        QWEN3_CODER,
        'Well.\n<tool_call>\n<function=look_up>\n<parameter=word>\nif a < b:\n  </parameter> "x"\n'
        "</parameter>\n"
        "<parameter=n>\n12\n</parameter>\n<parameter=exact>\nTrue\n</parameter>\n"
        '<parameter=where>\n["a", "b"]\n</parameter>\n</function>\n</tool_call>\n'
        "<tool_call>\n<function=stop>\n</function>\n</tool_call>",
        "Well.",
        None,
        [
            (
                "look_up",
                {"word": 'if a < b:\n  </parameter> "x"', "n": 12, "exact": True, "where": ["a", "b"]},
            ),
            STOP,
        ],
    ),
    "llama": Answer(LLAMA, json.dumps({"name": "look_up", "parameters": LOOK_UP[1]}), None, None, [LOOK_UP]),
    "llama, JSON that is no call": Answer(LLAMA, '{"name": "Ada", "age": 36}', '{"name": "Ada", "age": 36}'),
    "llama, built in": Answer(
        LLAMA,
        '<|python_tag|>brave_search.call(query="GGUF")',
        None,
        None,
        [("brave_search", {"query": "GGUF"})],
    ),
    "llama, a program": Answer(
        LLAMA,
        "<|python_tag|>print(1)\nx = 2",
        None,
        None,
        [("code_interpreter", {"code": "print(1)\nx = 2"})],
    ),
    "mistral nemo": Answer(
        NEMO,
        f'[TOOL_CALLS][{{"name": "look_up", "arguments": {J}, "id": "abcdefghi"}}, '
        '{"name": "stop", "arguments": {}, "id": "123456789"}]',
        None,
        None,
        [LOOK_UP, STOP],
        ["abcdefghi", "123456789"],
    ),
    "mistral small": Answer(
        MISTRAL_SMALL,
        f"[TOOL_CALLS]look_up[CALL_ID]abcdefghi[ARGS]{J}[TOOL_CALLS]stop[CALL_ID]123456789[ARGS]{{}}",
        None,
        None,
        [LOOK_UP, STOP],
        ["abcdefghi", "123456789"],
    ),
    "ministral": Answer(
        MINISTRAL,
        f"[THINK]Hm.[/THINK]I look.[TOOL_CALLS]look_up[ARGS]{J}[TOOL_CALLS]stop[ARGS]{{}}",
        "I look.",
        "Hm.",
        [LOOK_UP, STOP],
    ),
    "gpt-oss": Answer(
        HARMONY,
        "<|channel|>analysis<|message|>Hm. <|end|><|start|>assistant<|channel|>commentary<|message|>I look."
        f"<|end|><|start|>assistant<|channel|>commentary to=functions.look_up "
        f"<|constrain|>json<|message|>{J}",
        "I look.",
        "Hm. ",
        [LOOK_UP],
        prompt="<|start|>assistant",
    ),
    "gpt-oss, recipient in the role": Answer(
        HARMONY,
        " to=functions.stop<|channel|>commentary json<|message|>{}<|call|>",
        None,
        None,
        [STOP],
        prompt="<|start|>assistant",
    ),
    "gpt-oss, final": Answer(
        HARMONY,
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|> Yes.\n",
        " Yes.\n",
        "Hm.",
        prompt="<|start|>assistant",
    ),
    "gpt-oss, no header": Answer(HARMONY, "tomorrow <|message|>", "tomorrow <|message|>"),
    "gpt-oss, malformed": Answer(
        HARMONY, "<|channel|>commentary to=functions.stop<|message|>{no}<|call|>", "{no}"
    ),
    "deepseek v3.1": Answer(
        DEEPSEEK_V31,
        f"Hm.</think>I look.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>look_up<｜tool▁sep｜>{J}"
        "<｜tool▁call▁end｜><｜tool▁call▁begin｜>stop<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "I look.",
        "Hm.",
        [LOOK_UP, STOP],
        prompt="<｜Assistant｜><think>",
    ),
    "deepseek v3.2": Answer(
        DEEPSEEK_V32,
        'I look.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name="look_up">\n'
        '<｜DSML｜parameter name="word" string="true">12</｜DSML｜parameter>\n'
        '<｜DSML｜parameter name="n" string="false">12</｜DSML｜parameter>\n</｜DSML｜invoke>\n'
        '<｜DSML｜invoke name="stop">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
        "I look.",
        None,
        [("look_up", {"word": "12", "n": 12}), STOP],
    ),
    "glm": Answer(
        GLM,
        "<think>Hm.</think>\n<tool_call>look_up\n<arg_key>word</arg_key>\n<arg_value>12</arg_value>\n"
        "<arg_key>n</arg_key>\n<arg_value>12</arg_value>\n</tool_call>\n<tool_call>stop\n</tool_call>",
        None,
        "Hm.",
        [("look_up", {"word": "12", "n": 12}), STOP],
    ),
    "granite 3.3": Answer(
        GRANITE_33,
        f'<|tool_call|>[{{"name": "look_up", "arguments": {J}}}, {{"name": "stop", "arguments": {{}}}}]',
        None,
        None,
        [LOOK_UP, STOP],
    ),
    "functionary 3.1": Answer(
        FUNCTIONARY_31,
        f"I look.<function=look_up>{J}</function><function=stop>{{}}</function>",
        "I look.",
        None,
        [LOOK_UP, STOP],
    ),
    "functionary 3.2": Answer(
        FUNCTIONARY_32,
        f"all\nI look >>>here.\n>>>look_up\n{J}>>>stop\n{{}}",
        "I look >>>here.",
        None,
        [LOOK_UP, STOP],
        prompt=">>>",
    ),
    "gemma 4": Answer(
        GEMMA_4,
        '<|channel>thought\nHm.\n<channel|>I look.<|tool_call>call:look_up{word:<|"|>a, {b}<|"|>,n:2,'
        'exact:true,where:[<|"|>x<|"|>,<|"|>y<|"|>]}<tool_call|><|tool_call>call:stop{}<tool_call|>',
        "I look.",
        "Hm.",
        [("look_up", {"word": "a, {b}", "n": 2, "exact": True, "where": ["x", "y"]}), STOP],
    ),
    "kimi k2": Answer(
        KIMI_K2,
        "I look.<|tool_calls_section_begin|><|tool_call_begin|>functions.look_up:0"
        f"<|tool_call_argument_begin|>{J}<|tool_call_end|><|tool_call_begin|>functions.stop:1<|tool_call_argument_begin|>{{}}"
        "<|tool_call_end|><|tool_calls_section_end|>",
        "I look.",
        None,
        [LOOK_UP, STOP],
        ["functions.look_up:0", "functions.stop:1"],
    ),
    "minimax m2": Answer(
        MINIMAX_M2,
        'Hm.\n</think>\n\n<minimax:tool_call>\n<invoke name="look_up">\n<parameter name="word">a & b'
        "</parameter>\n"
        '<parameter name="n">2</parameter>\n</invoke>\n<invoke name="stop">\n</invoke>\n</minimax:tool_call>',
        None,
        "Hm.",
        [("look_up", {"word": "a & b", "n": 2}), STOP],
        prompt="]~b]ai\n<think>\n",
    ),
    "lfm2": Answer(
        LFM2,
        "<|tool_call_start|>[look_up(word='a \"b\" </x> é', n=2), stop()]<|tool_call_end|>I look.",
        "I look.",
        None,
        [LOOK_UP, STOP],
    ),
}


def counted_ids():
    """Makes the ids call_1, call_2, …"""
    n = 0

    def new_id():
        nonlocal n
        n += 1
        return f"call_{n}"

    return new_id


def parsed(answer, pieces, schemas=SCHEMAS):
    """The message of an answer that comes in pieces."""
    parser = answer.format.parser(answer.prompt, schemas, counted_ids())
    builder = MessageBuilder()
    for piece in pieces:
        for delta in parser.push(piece):
            builder.add(delta)
    for delta in parser.finish():
        builder.add(delta)
    return builder.message()
