"""The tokenizer's public behaviour, on tiny vocabularies of the kinds that lose nothing."""

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_model
import tiny_vocabulary as tiny
from forge import GGUFForge
from hypothesis import given, strategies as st
from tiny_vocabulary import make, pieces

from nybble.errors import GGUFUnsupportedError, ModelError, RequestError
from nybble.gguf_io.file import load_gguf
from nybble.tokenizer import Tokenizer, has_tokenizer

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"))


BPE = make(tiny.bpe())
SPM = make(tiny.spm())
SPM_WITHOUT_PREFIX = make(tiny.spm(add_space_prefix=False))
KINDS = {
    "bpe": BPE,
    "spm": SPM,
    "spm without prefix": SPM_WITHOUT_PREFIX,
    "characters": make(tiny.characters()),
    "rwkv": make(tiny.rwkv()),
}
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
    skip, continuation = data.draw(st.booleans()), data.draw(st.booleans())
    decoder = tokenizer.stream_decoder(skip, continuation)
    parts = [decoder.push(id_) for id_ in ids] + [decoder.flush()]
    assert "".join(parts) == tokenizer.decode(ids, skip, continuation)


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


class TestDecode:
    def test_control_tokens_are_left_out_unless_asked_for(self) -> None:
        ids = BPE.encode("<|im_start|>hello<tag>", parse_special=True)
        assert BPE.decode(ids) == "hello<tag>"
        assert BPE.decode(ids, skip_special_tokens=False) == "<|im_start|>hello<tag>"
        assert BPE.token_bytes(1) == b""
        assert BPE.token_bytes(1, skip_special_tokens=False) == b"<|im_start|>"

    def test_a_control_token_ends_an_unfinished_character(self) -> None:
        first, second = BPE.encode("é")
        assert BPE.decode([first, 1, second]) == "\ufffd\ufffd"
        assert BPE.decode([first, 1, second], skip_special_tokens=False) == "\ufffd<|im_start|>\ufffd"

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
        with load_gguf(path) as file:
            assert has_tokenizer(file)
            assert Tokenizer.from_gguf(file).encode("Hello there") == tokenizer.encode("Hello there")
        text = "then and\n\n  the <|im_start|> 🦙"
        assert tokenizer.decode(tokenizer.encode(text, parse_special=False)) == text

    def test_a_file_without_a_vocabulary(self, tmp_path: Path) -> None:
        path = tmp_path / "none.gguf"
        path.write_bytes(GGUFForge().set("tokenizer.ggml.model", "none").build())
        with load_gguf(path) as file:
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
