"""Prompts for what stands in a gap: marks are found, in the order of each family, and texts stay texts."""

from pathlib import Path

import pytest
import shared_files
import tiny_vocabulary as tiny

from nybble.errors import RequestError
from nybble.tokenizer import Tokenizer
from nybble.tokenizer.special_ids import GAP_FAMILIES

CONTROL = tiny.CONTROL


@pytest.mark.parametrize("family", GAP_FAMILIES, ids="/".join)
def test_marks_are_known_by_their_texts(family: tuple[str, ...]) -> None:
    """Whatever type the file gives them, as those of old conversions."""
    for kind in (CONTROL, tiny.NORMAL):
        tokenizer = tiny.make(tiny.bpe(special={"<|endoftext|>": CONTROL, **dict.fromkeys(family, kind)}))
        prefix, suffix, middle = (tokenizer.control_names[name] for name in family)
        before, after = (tokenizer.encode(text, add_special=False) for text in ("hello", " wor"))
        assert tokenizer.infill("hello", " wor") == [prefix, *before, suffix, *after, middle]
        turned = tokenizer.infill("hello", " wor", suffix_first=True)
        assert turned == [suffix, *after, prefix, *before, middle]
        assert tokenizer.infill("", "") == [prefix, suffix, middle]


@pytest.mark.parametrize("names", [("fim_pre", "fim_suf", "fim_mid"), ("prefix", "suffix", "middle")])
def test_marks_that_the_file_names_go_first(names: tuple[str, ...]) -> None:
    special = dict.fromkeys(("<a>", "<b>", "<c>", *GAP_FAMILIES[0]), CONTROL)
    keys = {f"{name}_token_id": id_ for id_, name in enumerate(names)}
    assert tiny.make(tiny.bpe(special=special, **keys)).infill("", "") == [0, 1, 2]
    del keys[f"{names[1]}_token_id"]
    assert tiny.make(tiny.bpe(special=special, **keys)).infill("", "") == [3, 4, 5], "one of them is missing"


def test_bos_comes_first_and_a_suffix_begins_no_word() -> None:
    special = {**tiny.SPM_SPECIAL, **dict.fromkeys(("▁<PRE>", "▁<SUF>", "▁<MID>"), CONTROL)}
    tokenizer = tiny.make(tiny.spm(special=special))
    names = [tokenizer._vocabulary.tokens[id_] for id_ in tokenizer.infill("hello", "hello wor")]
    assert names == ["<s>", "▁<PRE>", "▁hello", "▁<SUF>", "hello", "▁wor", "▁<MID>"]


def test_names_of_control_tokens_in_a_text_are_text() -> None:
    special = dict.fromkeys(("<|endoftext|>", *GAP_FAMILIES[0]), CONTROL)
    tokenizer = tiny.make(tiny.bpe(special=special))
    ids = tokenizer.infill("<|fim_suffix|>", "<|endoftext|>")
    assert [id_ for id_ in ids if id_ in tokenizer.control_ids] == [1, 2, 3]
    assert tokenizer.decode(ids) == "<|fim_suffix|><|endoftext|>"


def test_a_vocabulary_without_marks_says_so() -> None:
    for special in (None, {"<|fim_prefix|>": CONTROL, "<fim_suffix>": CONTROL, "<|fim_middle|>": CONTROL}):
        with pytest.raises(
            RequestError, match="`suffix` needs a model that fills gaps, and the vocabulary of"
        ):
            tiny.make(tiny.bpe(special=special)).infill("a", "b")
    tokenizer = tiny.make(tiny.bpe(special=dict.fromkeys(GAP_FAMILIES[0], CONTROL)))
    with pytest.raises(TypeError, match="text must be a str, not int"):
        tokenizer.infill("a", 5)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="lone surrogate"):
        tokenizer.infill("a", "\ud800")


def test_a_real_vocabulary() -> None:
    """DeepSeek Coder's, which calls the parts begin, hole and end, and asks for BOS."""
    path = shared_files.shared("vocabs/ggml-vocab-deepseek-coder.gguf")
    tokenizer = Tokenizer.from_gguf(Path(path))
    ids = tokenizer.infill("def f(x):\n    return ", "\n")
    shown = tokenizer.decode(ids, skip_special_tokens=False)
    bos = tokenizer.decode([tokenizer.bos_id], skip_special_tokens=False) if tokenizer.add_bos else ""
    assert shown == f"{bos}<｜fim▁begin｜>def f(x):\n    return <｜fim▁hole｜>\n<｜fim▁end｜>"
