"""HOSTILE.md G103 and G108: long tokens, long words, many special tokens."""

from collections.abc import Callable
from typing import Any

import pytest
import tiny_vocabulary as tiny
from stopwatch import growth

from nybble.tokenizer import Tokenizer


@pytest.mark.parametrize("type_", [tiny.NORMAL, tiny.CONTROL, tiny.USER_DEFINED])
@pytest.mark.parametrize("forged", [tiny.bpe, tiny.spm], ids=["bpe", "spm"])
def test_g103_a_token_of_1_mib(forged: Callable[..., dict[str, Any]], type_: int) -> None:
    text = "ab" * (1 << 19)
    special = tiny.BPE_SPECIAL if forged is tiny.bpe else tiny.SPM_SPECIAL
    tokenizer = tiny.make(forged(special={**special, text: type_}))
    id_ = len(special)
    assert tokenizer.decode([id_, id_], skip_special_tokens=False) == text * 2
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("forged", [tiny.bpe, tiny.spm], ids=["bpe", "spm"])
@pytest.mark.parametrize("character", "a l\n€")
def test_g108_a_megabyte_of_one_character(forged: Callable[..., dict[str, Any]], character: str) -> None:
    text = character * (1_000_000 // len(character.encode()))
    tokenizer = tiny.make(forged())
    assert_linear(tokenizer, text)


def assert_linear(tokenizer: Tokenizer, text: str, **options: Any) -> None:
    """Time may grow a little faster, as memory does after the caches: with the square it would grow by 8."""
    found: list[list[int]] = []
    assert (
        growth(lambda part: found.append(tokenizer.encode(part, **options)), text[: len(text) // 8], text) < 4
    )
    assert tokenizer.decode(found[-1]) == text


def test_g108_a_ladder_of_merges() -> None:
    """Each merge makes the next one possible, and the whole megabyte is one word."""
    ladder = ["a" * 2**n for n in range(12)]
    tokenizer = tiny.make(tiny.bpe(merges=[f"{part} {part}" for part in ladder]))
    assert_linear(tokenizer, "a" * 1_000_000)


def test_many_special_tokens_with_different_beginnings() -> None:
    """A control token for each of 20 000 characters: the text is still read in linear time."""
    special = {chr(0x4E00 + n) + "!": tiny.CONTROL for n in range(20_000)}
    tokenizer = tiny.make(tiny.bpe(special=special))
    text = "".join(chr(0x4E00 + n) for n in range(20_000)) * 5
    assert_linear(tokenizer, text, parse_special=True)
