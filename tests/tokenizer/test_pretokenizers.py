"""The pre-tokenizer table: it compiles, and cuts text as the models' own expressions do."""

import random

import pytest
import tokenizer_fuzz
from stopwatch import growth
from tokenizers import Regex
from tokenizers.pre_tokenizers import Sequence, Split

from nybble.errors import GGUFUnsupportedError
from nybble.tokenizer.pretokenizers import PRETOKENIZERS, find_pretokenizer

SAMPLES = [
    "Hello, world! It's 12345.67\r\n\n\tTabs   and   spaces  ",
    "ПриветМир straßeÜBER हिन्दी สวัสดี e\u0301te\u0301 北京ひらがな 한국어",
    "👨‍👩‍👧 🇩🇪 \u2028\u3000\x00\x1b IMGIMGABZ <sentinel:7> ١٢٣",
]


# Those that nybble writes otherwise, as the models' tokenizer.json has them.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ORIGINALS = {
    "smollm": (r"\p{N}", _GPT2),
    "tiny_aya": (r"\d{1,3}(?=(?:\d{3})*\b)", _GPT4O),
    "superbpe": (r"\p{N}+", r"(?=(\d{3})+(?!\d))"),
}


def cut(patterns: tuple[str, ...], text: str) -> list[str]:
    splits = [Split(Regex(pattern), "isolated") for pattern in patterns]
    return [word for word, _ in Sequence(splits).pre_tokenize_str(text)]


def words(pre: str, text: str) -> list[str]:
    return cut(PRETOKENIZERS[pre].patterns, text)


def test_the_table_is_complete() -> None:
    """All names that llama.cpp knows."""
    assert len(PRETOKENIZERS) == 91


def test_an_unknown_name_is_refused_with_those_like_it() -> None:
    with pytest.raises(
        GGUFUnsupportedError, match=r"^f: tokenizer\.ggml\.pre is 'qwen4': nybble does not know it, but qwen"
    ):
        find_pretokenizer("qwen4", "f")
    with pytest.raises(GGUFUnsupportedError, match=r"llama3, .*gpt-4o, .*gpt-2"):
        find_pretokenizer("?", "f")


@pytest.mark.parametrize("pre", ORIGINALS)
def test_what_is_written_otherwise_cuts_as_the_original(pre: str) -> None:
    draw = random.Random(7)
    texts = ["".join(draw.choices("12345½٣ a_\u0301 \n.\t", k=draw.randrange(1, 14))) for _ in range(1000)]
    for text in [*texts, *tokenizer_fuzz.texts(7, 300)]:
        assert words(pre, text) == cut(ORIGINALS[pre], text)


@pytest.mark.parametrize("pre", ["tiny_aya", "superbpe", "afmoe"])
def test_digits_are_grouped_in_linear_time(pre: str) -> None:
    """The originals look ahead to the end from each group: 300 000 digits would take minutes."""
    found = words(pre, "1" * 300_001)
    assert growth(lambda text: words(pre, text), "1" * 37_501, "1" * 300_001) < 4
    assert found[:2] == ["1", "111"] and len(found) == 100_001


def test_digits_of_any_script_are_digits() -> None:
    """For llama.cpp's engine `\\d` is an ASCII digit."""
    assert words("superbpe", "１２３４") == ["１", "２３４"]


@pytest.mark.parametrize("pre", ["afmoe", "tiny_aya"])
def test_what_stands_before_digits_is_not_cut_as_if_it_went_on(pre: str) -> None:
    """llama.cpp cuts groups of digits apart, but not the first of them from what stands before it."""
    assert words(pre, "   317 ") == ["   ", "317", " "]


def test_digits_of_afmoe_are_grouped_from_the_right_wherever_they_stand() -> None:
    assert words("afmoe", "x1234567def 12") == ["x", "1", "234", "567", "def", " ", "12"]


def test_kimi_keeps_han_apart() -> None:
    """The model's own expression: llama.cpp also joins the words that are apart here."""
    assert words("kimi-k2", "Hello世界World's 中文abc 1234\n") == [
        "Hello", "世界", "World's", " ", "中文", "abc", " ", "123", "4", "\n",
    ]  # fmt: skip
    assert words("kimi-k2", "ПриветМир हिन्दी") == ["Привет", "Мир", " हिन्दी"]


def test_wide_spaces_are_letters_or_punctuation_for_deepseek() -> None:
    """They are in ranges of the models' own expressions, U+0800 to U+4E00 and U+3000 to U+3002; for
    llama.cpp's engine they are white space like any other."""
    assert words("deepseek-llm", "1  \u3000漢") == ["1", " ", " ", "\u3000", "漢"]
    assert words("deepseek-llm", "1 \u2029 ") == ["1", " ", "\u2029", " "]
    assert words("deepseek-coder", "1 \u2003\u2028漢") == ["1", " ", "\u2003", "\u2028漢"]


@pytest.mark.parametrize("pre", [name for name, rules in PRETOKENIZERS.items() if rules.cuts_lines])
def test_a_text_may_be_cut_where_a_line_ends_with_a_letter(pre: str) -> None:
    draw = random.Random(11)
    parts = [part for text in tokenizer_fuzz.texts(11, 60) for part in (text, draw.choice(["a", "Bz", " x"]))]
    for head, tail in zip(parts[1::2], parts[2::2], strict=False):
        assert words(pre, head + "\n" + tail) == words(pre, head) + words(pre, "\n" + tail)


@pytest.mark.parametrize("pre", PRETOKENIZERS)
def test_no_expression_loses_text(pre: str) -> None:
    for text in SAMPLES:
        assert "".join(words(pre, text)) == text


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("gpt-2", "It|'|S| 12345| it|'s|  \n"),
        ("smollm", "It|'|S| |1|2|3|4|5| it|'s|  \n"),
        ("llama-bpe", "It|'S| |123|45| it|'s|  \n"),
        ("qwen2", "It|'S| |1|2|3|4|5| it|'s|  \n"),
        ("deepseek-v3", "It|'S| |123|45| it|'s|  \n"),
        ("falcon", "It|'|S| |123|45| it|'|s|  \n"),
        ("default", "It|'|S| |123|45| it|'|s|  \n"),
    ],
)
def test_contractions_digits_and_spaces(pre: str, expected: str) -> None:
    found = words(pre, "It'S 12345 it's  \n")
    assert found == expected.split("|")


@pytest.mark.parametrize("pre", ["gpt-4o", "tekken", "minimax-m2", "granite-embed-multi-97m", "youtu"])
def test_case_and_marks_as_the_original_expression_has_them(pre: str) -> None:
    """REFERENCE.md §3.3: llama.cpp, without \\p{Lu} and \\p{M}, cuts elsewhere; models know this."""
    assert words(pre, "ПриветМир") == ["Привет", "Мир"]
    assert words(pre, "straßeÜBER") == ["straße", "ÜBER"]
    assert words(pre, "हिन्दी สวัสดี e\u0301te\u0301") == ["हिन्दी", " สวัสดี", " e\u0301te\u0301"]


def test_digits_are_grouped_from_the_right_up_to_a_word_boundary() -> None:
    """llama.cpp also groups "1234567def" from the right; the expression asks for a boundary after it."""
    assert words("tiny_aya", "1234567 1234567def") == ["1", "234", "567", " ", "123", "456", "7", "def"]


def test_long_s_ends_a_contraction() -> None:
    """`(?i:'s)` matches U+017F; llama.cpp's `'[sS]` does not."""
    assert words("llama-bpe", "it'ſ") == ["it", "'ſ"]


def test_deepseek_letters_are_not_normalized() -> None:
    """The ranges end in characters that normalizing would replace, such as the Kelvin sign U+212A."""
    assert words("deepseek-llm", "\u212a\u2126 x") == ["\u212a\u2126", " x"]
