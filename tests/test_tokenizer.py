"""The tokenizer's public behaviour, on tiny vocabularies of both kinds."""

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model
import tiny_vocabulary as tiny
from forge import GGUFForge
from hypothesis import given
from hypothesis import strategies as st

import nybble.gguf_io as gguf_io
from nybble.gguf_io.errors import GGUFUnsupportedError, ModelError, RequestError
from nybble.tokenizer import Tokenizer, has_tokenizer

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"))


def make(metadata: dict[str, Any]) -> Tokenizer:
    return Tokenizer.from_metadata(metadata, "tiny")


def pieces(tokenizer: Tokenizer, text: str, **options: bool) -> list[str]:
    """The tokens of a text, with control tokens by their names."""
    ids = tokenizer.encode(text, **options)
    return [tokenizer.token_bytes(id_, special=True).decode(errors="backslashreplace") for id_ in ids]


BPE = make(tiny.bpe())
SPM = make(tiny.spm())
SPM_WITHOUT_PREFIX = make(tiny.spm(add_space_prefix=False))
KINDS = {"bpe": BPE, "spm": SPM, "spm without prefix": SPM_WITHOUT_PREFIX}
each_kind = pytest.mark.parametrize("tokenizer", KINDS.values(), ids=KINDS)


def test_bpe_merges_by_rank() -> None:
    assert pieces(BPE, "hello world") == ["hello", " wo", "r", "l", "d"]


def test_spm_merges_by_score_and_falls_back_to_bytes() -> None:
    assert pieces(SPM, "hello world€", add_special=False) == [
        " hello", " wor", "l", "d", "\\xe2", "\\x82", "\\xac",
    ]  # fmt: skip


def test_pretokenizer_splits_before_merging() -> None:
    assert pieces(BPE, "123") == ["123"]
    assert pieces(make(tiny.bpe("smollm")), "123") == ["1", "2", "3"]
    assert pieces(make(tiny.bpe("qwen2")), "123") == ["1", "2", "3"]


def test_ignore_merges_takes_whole_words_but_never_control_tokens() -> None:
    special = {"zzz": tiny.NORMAL, "yyy": tiny.CONTROL}
    assert pieces(make(tiny.bpe("llama-bpe", special)), "zzz\n") == ["zzz", "\n"]
    assert pieces(make(tiny.bpe("llama-bpe", special)), "yyy\n") == ["y", "y", "y", "\n"]
    assert pieces(make(tiny.bpe("gpt-2", special)), "zzz\n") == ["z", "z", "z", "\n"]


@each_kind
@given(text=TEXT)
def test_decoding_gives_back_the_text(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(text, add_special=False)) == text


@each_kind
@given(data=st.data())
def test_streaming_gives_the_text_of_decode(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.n_vocab - 1)))
    special, continuation = data.draw(st.booleans()), data.draw(st.booleans())
    decoder = tokenizer.stream_decoder(special, continuation)
    parts = [decoder.push(id_) for id_ in ids] + [decoder.flush()]
    assert "".join(parts) == tokenizer.decode(ids, special, continuation)


@each_kind
def test_stream_never_emits_half_a_character(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("€🦙", add_special=False)
    decoder = tokenizer.stream_decoder()
    assert [part for id_ in ids if (part := decoder.push(id_))] == ["€", "🦙"]
    assert decoder.flush() == ""


@each_kind
def test_flush_shows_an_unfinished_character(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("€", add_special=False)[:-1]
    decoder = tokenizer.stream_decoder()
    assert [decoder.push(id_) for id_ in ids] == [""] * len(ids)
    assert decoder.flush() == "\ufffd" == tokenizer.decode(ids)


@each_kind
def test_no_text_has_no_ids(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("", add_special=False) == []
    assert tokenizer.decode([]) == ""


class TestSpecialTokens:
    def test_control_tokens_are_text_unless_asked_for(self) -> None:
        text = "<|im_start|>hello"
        assert pieces(BPE, text, parse_special=True) == ["<|im_start|>", "hello"]
        assert pieces(BPE, text)[:4] == ["<", "|", "i", "m"]
        assert 1 not in BPE.encode(text)

    def test_user_defined_tokens_are_always_tokens(self) -> None:
        assert pieces(BPE, "a<tag>b") == pieces(BPE, "a<tag>b", parse_special=True) == ["a", "<tag>", "b"]
        assert pieces(SPM, "<b>hello", add_special=False) == ["<b>", " hello"]

    def test_spm_pieces_do_not_make_control_tokens(self) -> None:
        assert pieces(SPM, "</s>", add_special=False) == [" ", "<", "/", "s", ">"]
        assert pieces(SPM, "</s>", add_special=False, parse_special=True) == ["</s>"]

    def test_the_longest_wins(self) -> None:
        special = {
            "<a>": tiny.CONTROL,
            "<a><b>": tiny.CONTROL,
            "‡": tiny.CONTROL,
            "‡=": tiny.CONTROL,
            "\n": tiny.USER_DEFINED,
        }
        tokenizer = make(tiny.bpe(special=special))
        assert pieces(tokenizer, "<a><b><a>‡‡=\nx\n‡", parse_special=True) == [
            "<a><b>", "<a>", "‡", "‡=", "\n", "x", "\n", "‡",
        ]  # fmt: skip

    def test_runs_of_one_character(self) -> None:
        special = {" " * n: tiny.USER_DEFINED for n in range(2, 5)}
        tokenizer = make(tiny.spm({**tiny.SPM_SPECIAL, **special}, add_space_prefix=False))
        assert pieces(tokenizer, "l" + " " * 10 + "l", add_special=False) == [
            "l",
            " " * 4,
            " " * 4,
            "  ",
            "l",
        ]

    @pytest.mark.parametrize("type_", [tiny.NORMAL, tiny.USER_DEFINED])
    def test_what_ends_generation_is_control_whatever_the_file_says(self, type_: int) -> None:
        tokenizer = make(tiny.bpe(special={"<|eot_id|>": type_, "x!": tiny.CONTROL}, eos_token_id=1))
        assert tokenizer.eog_ids == {0, 1}
        assert 0 not in tokenizer.encode("<|eot_id|>")
        assert tokenizer.encode("<|eot_id|>", parse_special=True) == [0]
        assert tokenizer.decode([0]) == ""

    def test_end_of_generation_includes_what_the_file_marks(self) -> None:
        tokenizer = make(tiny.bpe(special={"a!": 3, "b!": 3, "c!": 3}, eos_token_id=0, eot_token_id=1))
        assert tokenizer.eog_ids == {0, 1}

    def test_gpt_oss_goes_on_after_the_end_of_a_channel(self) -> None:
        names = ["<|return|>", "<|call|>", "<|end|>"]
        assert make(tiny.bpe(special=dict.fromkeys(names, tiny.CONTROL))).eog_ids == {0, 1}
        assert make(tiny.bpe(special=dict.fromkeys(names[1:], tiny.CONTROL))).eog_ids == {0, 1}

    def test_gemma_4_goes_on_after_an_html_tag(self) -> None:
        names = ["</s>", "<|tool_response>", "<eos>"]
        assert make(tiny.bpe(special=dict.fromkeys(names, tiny.CONTROL))).eog_ids == {1, 2}

    def test_phi_3_special_tokens_swallow_white_space(self) -> None:
        tokenizer = make(tiny.spm() | {"general.name": "Phi-3 mini"})
        text = "<|user|>\n \thello<s> hello"
        assert pieces(tokenizer, text, add_special=False, parse_special=True) == [
            "<|user|>", " hello", "<s>", " ", " hello",
        ]  # fmt: skip


class TestAddSpecial:
    def test_spm_adds_bos_unless_the_file_says_otherwise(self) -> None:
        assert SPM.encode("hello")[0] == SPM.bos_id == 1
        assert make(tiny.spm(add_bos_token=False)).encode("l")[0] != 1
        assert make(tiny.spm(add_eos_token=True)).encode("l")[-1] == SPM.eos_id == 2

    def test_bpe_adds_what_the_file_or_the_pretokenizer_says(self) -> None:
        assert make(tiny.bpe(bos_token_id=1)).encode("l") == BPE.encode("l")
        assert make(tiny.bpe("llama-bpe", bos_token_id=1)).encode("l")[0] == 1
        assert make(tiny.bpe("llama-bpe", bos_token_id=1, add_bos_token=False)).encode("l")[0] != 1
        assert make(tiny.bpe("llama-bpe")).encode("l") == BPE.encode("l")
        both = make(tiny.bpe(bos_token_id=1, eos_token_id=2, add_bos_token=True, add_eos_token=True))
        assert both.encode("l") == [1, *BPE.encode("l"), 2]
        assert both.encode("") == [1, 2]
        assert both.encode("l", add_special=False) == BPE.encode("l")

    def test_ids_with_a_role(self) -> None:
        tokenizer = make(tiny.bpe(bos_token_id=1, eos_token_id=2, unknown_token_id=0, padding_token_id=3))
        assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id, tokenizer.pad_id) == (1, 2, 0, 3)
        assert (BPE.bos_id, BPE.eos_id, BPE.unk_id, BPE.pad_id) == (None, None, None, None)
        assert (SPM.bos_id, SPM.eos_id, SPM.unk_id, SPM.pad_id) == (1, 2, 0, None)


class TestSpacePrefix:
    def test_it_is_added_at_the_start_and_after_special_tokens(self) -> None:
        text = "hello<s>hello"
        assert pieces(SPM, text, parse_special=True) == ["<s>", " hello", "<s>", " hello"]
        assert pieces(SPM_WITHOUT_PREFIX, text, parse_special=True) == ["<s>", "hello", "<s>", "hello"]

    def test_decoding_leaves_it_out_but_not_in_a_continuation(self) -> None:
        ids = SPM.encode("hello", add_special=False)
        assert SPM.decode(ids) == "hello"
        assert SPM.decode(ids, continuation=True) == " hello"
        assert SPM.decode([*ids, 3, *ids], special=True) == "hello<|user|>hello"
        assert SPM_WITHOUT_PREFIX.decode(ids) == " hello"


class TestDecode:
    def test_control_tokens_are_left_out_unless_asked_for(self) -> None:
        ids = BPE.encode("<|im_start|>hello<tag>", parse_special=True)
        assert BPE.decode(ids) == "hello<tag>"
        assert BPE.decode(ids, special=True) == "<|im_start|>hello<tag>"
        assert BPE.token_bytes(1) == b""
        assert BPE.token_bytes(1, special=True) == b"<|im_start|>"

    def test_bytes_that_are_no_text(self) -> None:
        assert BPE.token_bytes(len(tiny.BPE_SPECIAL) + 0xFF) == b"\xff"
        assert SPM.decode([len(tiny.SPM_SPECIAL) + 0xFF]) == "\ufffd"

    def test_a_bpe_token_without_byte_letters_stands_for_itself(self) -> None:
        assert make(tiny.bpe(special={"日本 語": tiny.NORMAL})).decode([0]) == "日本 語"

    def test_ids_may_be_any_integers(self) -> None:
        ids = BPE.encode("hello")
        assert BPE.decode(np.array(ids, np.int32)) == BPE.decode(iter(ids)) == "hello"

    @pytest.mark.parametrize("id_", [-1, 10**6, 2**70])
    def test_ids_out_of_range(self, id_: int) -> None:
        message = rf"token id {id_} is out of range: n_vocab is {BPE.n_vocab}"
        with pytest.raises(RequestError, match=message):
            BPE.decode([5, id_])
        with pytest.raises(RequestError, match=message):
            BPE.stream_decoder().push(id_)
        with pytest.raises(RequestError, match=message):
            BPE.token_bytes(id_)

    def test_ids_that_are_no_integers(self) -> None:
        with pytest.raises(TypeError, match="float"):
            BPE.decode([1.0])  # type: ignore[list-item]


class TestBadText:
    @each_kind
    def test_lone_surrogates(self, tokenizer: Tokenizer) -> None:
        with pytest.raises(RequestError, match=r"character 2 is the lone surrogate U\+DC00"):
            tokenizer.encode("ab\udc00")
        with pytest.raises(ValueError, match="surrogate"):
            tokenizer.encode("\ud83d")

    @each_kind
    @pytest.mark.parametrize("text", [b"bytes", None, ["a"]])
    def test_what_is_no_text(self, tokenizer: Tokenizer, text: Any) -> None:
        with pytest.raises(TypeError, match="must be a str"):
            tokenizer.encode(text)


class TestFromGGUF:
    @pytest.mark.parametrize("arch", ["llama", "gemma3"])
    def test_by_path_and_open(self, arch: str, tmp_path: Path) -> None:
        path = tiny_model.write(tmp_path / "model.gguf", arch)
        tokenizer = Tokenizer.from_gguf(path)
        with gguf_io.load_gguf(path) as file:
            assert has_tokenizer(file)
            assert Tokenizer.from_gguf(file).encode("Hello there") == tokenizer.encode("Hello there")
        text = "then and\n\n  the <|im_start|> 🦙"
        assert tokenizer.decode(tokenizer.encode(text, parse_special=False)) == text

    def test_a_file_without_a_vocabulary(self, tmp_path: Path) -> None:
        path = tmp_path / "none.gguf"
        path.write_bytes(GGUFForge().set("tokenizer.ggml.model", "none").build())
        with gguf_io.load_gguf(path) as file:
            assert not has_tokenizer(file)
        with pytest.raises(GGUFUnsupportedError, match=r"none\.gguf: tokenizer\.ggml\.model is 'none'"):
            Tokenizer.from_gguf(path)


def test_a_vocabulary_without_bytes_has_an_unknown_token() -> None:
    metadata = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["?", "<unk>", "a", "▁"],
        "tokenizer.ggml.scores": np.zeros(4, np.float32),
        "tokenizer.ggml.token_type": np.array(
            [tiny.UNKNOWN, tiny.NORMAL, tiny.NORMAL, tiny.NORMAL], np.int32
        ),
    }
    assert make(metadata).encode("ab a", add_special=False) == [3, 2, 0, 3, 2]


def test_several_unknown_tokens() -> None:
    """Phi-3 has 53; SentencePiece takes one."""
    special = {**tiny.SPM_SPECIAL, "<x>": tiny.UNKNOWN, "<y>": tiny.UNKNOWN}
    assert pieces(make(tiny.spm(special)), "<y>", add_special=False, parse_special=True) == ["<y>"]


def test_a_missing_pretokenizer_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nybble"):
        tokenizer = make(tiny.bpe(None))
    assert "tiny: tokenizer.ggml.pre is missing" in caplog.text
    assert tokenizer.encode("1234 l") == make(tiny.bpe("default")).encode("1234 l")


def test_threads_may_share_it() -> None:
    text, results = "hello world " * 200, []
    expected = SPM.encode(text), BPE.encode(text)
    threads = [
        threading.Thread(target=lambda: results.append((SPM.encode(text), BPE.encode(text))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_large_texts_are_encoded_like_small_ones() -> None:
    """They take another way through `tokenizers`."""
    line = "hello <tag> 123\n"
    assert BPE.encode(line * 5000) == BPE.encode(line) * 5000


def test_a_model_error_is_no_request_error() -> None:
    assert not issubclass(RequestError, ModelError)
