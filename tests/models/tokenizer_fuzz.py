"""Texts to try tokenizers with: drawn from a seed, so that a record holds no more than the ids' sums.

Imports nothing from nybble: `record_tokenizer_fuzz.py` draws the same texts beside llama.cpp.
"""

import random
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

RECORD = Path(__file__).parents[1] / "data" / "golden" / "tokenizer_fuzz.npz"

SCRIPTS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "äöüßéèêñçøåœÄÖÜÉÇØİıſ",
    "абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗПМ",
    "αβγδεζηθικλμνξοπρστυφχψωΑΒΓΔάέήίόύώ",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "अआइईउऊकखगघचछजझटठडढणतथदधनपफबभमयरलवशषसह\u093e\u093f\u0940\u0941\u0942\u0947\u094d\u0902",
    "กขคงจฉชซญดตถทนบปผฝพฟมยรลวสหอ\u0e31\u0e34\u0e35\u0e48\u0e49",
    "北京中文字漢語学习日本東京人大小上下",
    "あいうえおかきくけこアイウエオカキクケコーｱｲｳ",
    "한국어서울사람가나다라마",
    "Հայերենქართულიአማርኛதமிழ်తెలుగుខ្មែរမြန်မာລາວ",
)
DIGITS = ("0123456789", "٠١٢٣٤٥", "०१२३४", "０１２３", "½²³Ⅷ①")
MARKS = "\u0301\u0300\u0308\u0303\u0327\u0323\u20dd"
EMOJI = ("👨‍👩‍👧", "🇩🇪", "👍🏽", "❤️", "🦙", "🏳️‍🌈", "😀", "1️⃣", "\u200d", "\ufe0f")
PUNCTUATION = (
    *"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    *"…“”‘’—–«»¿¡、。！？（）€£¥©™→∑≠°·",
    "...",
    "--",
    "://",
    "```",
)
SPACES = (" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2003", "\u2028", "\u200b", "\v", "\f", "\x85")
CONTROLS = (
    "\x01",
    "\x07",
    "\x1b",
    "\x7f",
    "\x80",
    "\x9f",
    "\ufeff",
    "\ufffd",
    "\u202e",
    "\ue000",
    "\U000f0000",
    "\u00ad",
)
SPECIAL = """
    <s> </s> <unk> <pad> <mask> <bos> <eos> [CLS] [SEP] [MASK] [PAD] [UNK] <|endoftext|> <|im_start|>
    <|im_end|> <|eot_id|> <|begin_of_text|> <|end|> <|user|> <|assistant|> <start_of_turn> <end_of_turn>
    <|turn> <turn|> <table> <b> <code> <fim_prefix> <fim-middle> <|fim_suffix|> <｜end▁of▁sentence｜>
    <BOS_TOKEN> <0x0A> <unused7> <|channel> <tool_call> <think> <| |> <s <|im_ [CLS ▁ ▁▁ Ġ
""".split()  # noqa: SIM905
WORDS = """
    the of and Hello world it's I'LL we'd don't 'Re naïve café int main(void) x += 1; https://a.b/c?d=e#f
""".split()  # noqa: SIM905


def texts(seed: int, n: int) -> Iterator[str]:
    """`n` texts of up to some 20 parts."""
    draw = random.Random(seed)
    for _ in range(n):
        yield "".join(_part(draw) for _ in range(draw.randrange(1, 20)))


def _part(draw: random.Random) -> str:
    kind = draw.randrange(16)
    if kind < 5:
        return _run(draw, draw.choice(SCRIPTS), 10)
    if kind == 5:
        letters = (draw.choice(draw.choice(SCRIPTS)) for _ in range(draw.randrange(2, 8)))
        return "".join(letter + draw.choice(["", "", draw.choice(MARKS)]) for letter in letters)
    if kind == 6:
        return _run(draw, draw.choice(DIGITS), 12)
    if kind == 7:
        return draw.choice(DIGITS[0]) * draw.randrange(1, 40)
    if kind == 8:
        return draw.choice(SPACES) * draw.randrange(1, 36)
    if kind == 9:
        return _run(draw, SPACES, 6)
    if kind == 10:
        return _run(draw, EMOJI, 3)
    if kind == 11:
        return _run(draw, PUNCTUATION, 5)
    if kind == 12:
        return draw.choice(CONTROLS)
    if kind == 13:
        return draw.choice(["", " ", "\n"]) + draw.choice(SPECIAL) + draw.choice(["", " ", " \n\t"])
    return draw.choice(["", " "]) + draw.choice(WORDS) + draw.choice(["", " ", "\n"])


def _run(draw: random.Random, parts: Sequence[str], longest: int) -> str:
    return "".join(draw.choice(parts) for _ in range(draw.randrange(1, longest)))


def cases() -> Iterator[tuple[str, bool, bool]]:
    """What is recorded: text, add_special, parse_special."""
    for index, text in enumerate(texts(seed=2026, n=600)):
        yield text, index % 2 == 1, index // 2 % 2 == 1


def name_of(vocabulary: Path) -> str:
    """The name under which the results of a vocabulary are recorded."""
    return vocabulary.name.removeprefix("ggml-vocab-").removesuffix(".gguf").lower()


def checksum(ids: Sequence[int]) -> int:
    """Of a sequence of ids, 32 bits."""
    return zlib.crc32(b"".join(id_.to_bytes(4, "little") for id_ in ids))
