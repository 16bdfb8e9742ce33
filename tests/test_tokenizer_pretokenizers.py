"""The pre-tokenizer table: it compiles, and cuts text as the models' own expressions do."""

import pytest
import tiny_vocabulary as tiny
from tokenizers import Regex
from tokenizers.pre_tokenizers import Sequence, Split

from nybble.gguf_io.errors import GGUFUnsupportedError
from nybble.tokenizer import Tokenizer
from nybble.tokenizer.pretokenizers import PRETOKENIZERS, UNSUPPORTED, find_pretokenizer

SAMPLES = [
    "Hello, world! It's 12345.67\r\n\n\tTabs   and   spaces  ",
    "ПриветМир straßeÜBER हिन्दी สวัสดี e\u0301te\u0301 北京ひらがな 한국어",
    "👨‍👩‍👧 🇩🇪 \u2028\u3000\x00\x1b IMGIMGABZ <sentinel:7> ١٢٣",
]


def words(pre: str, text: str) -> list[str]:
    splits = [Split(Regex(pattern), "isolated") for pattern in PRETOKENIZERS[pre].patterns]
    return [word for word, _ in Sequence(splits).pre_tokenize_str(text)]


def test_the_table_is_complete() -> None:
    """All 91 names that llama.cpp knows are either supported or refused with a reason."""
    assert len(PRETOKENIZERS) + len(UNSUPPORTED) == 91
    assert not PRETOKENIZERS.keys() & UNSUPPORTED.keys()


@pytest.mark.parametrize("pre", PRETOKENIZERS)
def test_no_expression_loses_text(pre: str) -> None:
    for text in SAMPLES:
        assert "".join(words(pre, text)) == text


@pytest.mark.parametrize("pre", UNSUPPORTED)
def test_rules_beyond_regular_expressions_are_refused(pre: str) -> None:
    with pytest.raises(GGUFUnsupportedError, match=rf"^f: tokenizer\.ggml\.pre is '{pre}': it"):
        find_pretokenizer(pre, "f")
    with pytest.raises(GGUFUnsupportedError, match=pre):
        Tokenizer.from_metadata(tiny.bpe(pre), "f")


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
