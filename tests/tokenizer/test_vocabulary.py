"""What a vocabulary says in other ways than it should: roles known by text, ids that are none, keys."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tiny_model
import tiny_vocabulary as tiny
from forge import I32, GGUFForge

from nybble import LLM, SamplingParams
from nybble.errors import ModelError
from nybble.gguf_io.file import load_gguf
from nybble.tokenizer import IdsOnly, Tokenizer, keys

TG = "tokenizer.ggml."
WITH_BYTES = {"spm": tiny.spm, "unigram": tiny.unigram, "characters": tiny.characters, "plamo2": tiny.plamo2}
Forged = Callable[..., dict[str, Any]]


def with_bytes(kind: str) -> dict[str, Any]:
    """A vocabulary with tokens for bytes."""
    metadata = WITH_BYTES[kind]()
    if kind == "unigram":
        names = [f"<0x{byte:02X}>" for byte in range(256)]
        metadata[TG + "tokens"] += names
        for name, value, dtype in (("token_type", tiny.BYTE, np.int32), ("scores", -9.0, np.float32)):
            metadata[TG + name] = np.append(metadata[TG + name], [value] * 256).astype(dtype)
    return metadata


def drop(metadata: dict[str, Any], token: str) -> dict[str, Any]:
    """Without a token, whose place nobody takes."""
    index = metadata[TG + "tokens"].index(token)
    changed = dict(metadata)
    for name in ("tokens", "token_type", "scores"):
        if TG + name in metadata:
            values = metadata[TG + name]
            shorter = [*values[:index], *values[index + 1 :]]
            changed[TG + name] = shorter if name == "tokens" else np.array(shorter, values.dtype)
    return changed


class TestByteTokens:
    TEXT = "hello\nzß四\x00\U0001f999"

    @pytest.mark.parametrize("kind", WITH_BYTES)
    @pytest.mark.parametrize("type_", [tiny.NORMAL, tiny.CONTROL, tiny.UNUSED, tiny.USER_DEFINED])
    def test_are_known_by_their_text(self, kind: str, type_: int) -> None:
        metadata = with_bytes(kind)
        sound = tiny.make(metadata).encode(self.TEXT)
        types = metadata[TG + "token_type"].copy()
        is_byte = types == tiny.BYTE
        assert is_byte.sum() == 256
        types[is_byte] = type_
        tokenizer = tiny.make(metadata | {TG + "token_type": types})
        assert tokenizer.encode(self.TEXT) == sound
        assert tokenizer.decode(sound) == self.TEXT
        assert metadata[TG + "tokens"].index("<0xE5>") in sound  # of U+56DB

    @pytest.mark.parametrize("kind", WITH_BYTES)
    def test_need_no_types_at_all(self, kind: str) -> None:
        metadata = with_bytes(kind)
        del metadata[TG + "token_type"]
        tokenizer = tiny.make(metadata)
        ids = tokenizer.encode("\nz", add_special=False)
        names = [metadata[TG + "tokens"][id_] for id_ in ids]
        assert names[-1] == "<0x7A>"
        assert tokenizer.decode(ids) == "\nz"

    @pytest.mark.parametrize("kind", WITH_BYTES)
    def test_are_not_read_from_text(self, kind: str) -> None:
        text = "<0x41>"
        tokenizer = tiny.make(with_bytes(kind))
        assert tokenizer.decode(tokenizer.encode(text)) == text

    def test_are_text_where_letters_are_bytes(self) -> None:
        metadata = tiny.bpe(special={"<0x41>": tiny.NORMAL, "<0x42>": tiny.BYTE})
        assert tiny.make(metadata).decode([0, 1]) == "<0x41>B"

    @pytest.mark.parametrize("kind", ["spm", "unigram", "characters"])
    def test_one_of_256_is_missing(self, kind: str, caplog: pytest.LogCaptureFixture) -> None:
        metadata = drop(with_bytes(kind), "<0xC8>")
        tokenizer = tiny.make(metadata)
        (message,) = caplog.messages
        assert message.startswith("tiny: 1 of the 256 bytes have no token (<0xC8>)")
        text = "hello\n北z"
        assert tokenizer.decode(tokenizer.encode(text)) == text
        ids = tokenizer.encode("ȁ", add_special=False)  # C8 81
        unknown = [] if tokenizer.unk_id is None else [tokenizer.unk_id]
        assert max(ids) < tokenizer.n_vocab
        if kind == "characters":  # the package gives up on the whole character
            assert ids in ([], [metadata[TG + "tokens"].index("<0x81>")])
        else:
            assert ids[-1 - len(unknown) :] == [*unknown, metadata[TG + "tokens"].index("<0x81>")]

    def test_a_token_that_is_the_byte_stands_in(self, caplog: pytest.LogCaptureFixture) -> None:
        metadata = with_bytes("spm")
        tokens = metadata[TG + "tokens"]
        tokens[tokens.index("<0xC8>")] = b"\xc8"
        tokens[tokens.index("<0x0A>")] = "\n"
        metadata[TG + "token_type"][:] = tiny.NORMAL
        tokenizer = tiny.make(metadata)
        assert not caplog.messages
        assert tokenizer.decode(tokenizer.encode("ȁ\n")) == "ȁ\n"


class TestRolesWithoutTypes:
    """Files of 2023 that have no token_type, or NORMAL for all."""

    @pytest.mark.parametrize("types", ["none", "normal"])
    @pytest.mark.parametrize("kind", ["spm", "unigram", "wordpiece"])
    def test_are_those_of_the_ids(self, kind: str, types: str) -> None:
        metadata = getattr(tiny, kind)()
        if types == "normal":
            metadata[TG + "token_type"][:] = tiny.NORMAL
        else:
            del metadata[TG + "token_type"]
        sound = tiny.make(getattr(tiny, kind)())
        tokenizer = tiny.make(metadata)
        ids = tokenizer.encode("hello he")
        assert ids == sound.encode("hello he")
        assert tokenizer.decode([*ids, tokenizer.unk_id]) == sound.decode(ids) == "hello he"
        begin = tokenizer.eos_id if kind == "unigram" else tokenizer.bos_id
        text = metadata[TG + "tokens"][begin]
        assert tokenizer.encode(text, add_special=False, parse_special=True) == [begin]
        assert begin not in tokenizer.encode(text, add_special=False)

    def test_but_not_those_of_words(self) -> None:
        metadata = tiny.spm(padding_token_id=5 + 256)
        del metadata[TG + "token_type"]
        assert tiny.make(metadata).token_bytes(5 + 256) == b"he"


class TestTokensThatAreNotUTF8:
    RAW = b"he\xff\xfe"

    @pytest.mark.parametrize("kind", ["bpe", "spm", "unigram", "characters", "wordpiece", "plamo2", "rwkv"])
    def test_decode_to_their_bytes(self, kind: str) -> None:
        metadata = getattr(tiny, kind)()
        metadata[TG + "tokens"].append(self.RAW)
        metadata[TG + "token_type"] = np.append(metadata[TG + "token_type"], np.int32(tiny.NORMAL))
        if TG + "scores" in metadata:
            metadata[TG + "scores"] = np.append(metadata[TG + "scores"], np.float32(0))
        tokenizer = tiny.make(metadata)
        id_ = tokenizer.n_vocab - 1
        assert tokenizer.token_bytes(id_) == self.RAW
        assert tokenizer.decode([id_]) == "he��"
        assert id_ not in tokenizer.encode("hello", parse_special=True)

    @pytest.mark.parametrize("type_", [tiny.CONTROL, tiny.USER_DEFINED])
    def test_may_be_special(self, type_: int) -> None:
        metadata = tiny.spm(special={**tiny.SPM_SPECIAL, "?!": type_})
        id_ = metadata[TG + "tokens"].index("?!")
        metadata[TG + "tokens"][id_] = self.RAW
        tokenizer = tiny.make(metadata)
        assert tokenizer.decode(tokenizer.encode("hello", parse_special=True)) == "hello"
        assert tokenizer.token_bytes(id_) == (b"" if type_ == tiny.CONTROL else self.RAW)

    def test_twice_is_an_error(self) -> None:
        metadata = tiny.spm(special={**tiny.SPM_SPECIAL, "?": 3, "!": 3})
        metadata[TG + "tokens"][5:7] = [self.RAW, self.RAW]
        with pytest.raises(ModelError, match="is there twice, with the ids 5 and 6"):
            tiny.make(metadata)


class TestMergesWithoutAToken:
    """As in llama.cpp, such a merge is made like any other, and its result taken apart if it is left over."""

    def make(self, *merges: str) -> Tokenizer:
        metadata = tiny.bpe(merges=["e q", "eq u", "h e", *merges])
        metadata[TG + "tokens"].remove("eq")
        metadata[TG + "token_type"] = metadata[TG + "token_type"][:-1]
        return tiny.make(metadata)

    def test_is_taken_apart(self) -> None:
        assert tiny.pieces(self.make(), "heq") == ["h", "e", "q"]

    def test_may_become_part_of_a_token(self) -> None:
        assert tiny.pieces(self.make(), "equhe") == ["equ", "he"]

    def test_of_bytes_beyond_ascii(self) -> None:
        metadata = tiny.bpe(merges=["Ð ŀ"])
        metadata[TG + "tokens"].pop()
        metadata[TG + "token_type"] = metadata[TG + "token_type"][:-1]
        assert tiny.make(metadata).decode(tiny.make(metadata).encode("Р")) == "Р"

    def test_of_characters_becomes_bytes(self) -> None:
        metadata = tiny.characters(merges=[*tiny.CHARACTER_MERGES, "w r"])
        assert tiny.pieces(tiny.make(metadata), "wr", add_special=False) == ["w", "r"]
        assert tiny.make(metadata).encode("wr", add_special=False) == [3 + ord("w"), 3 + ord("r")]

    def test_longer_than_any_token(self) -> None:
        """The package panics on these unless it is told that the result is a token."""
        metadata = tiny.bpe(special={}, merges=["Ġ w"])
        metadata[TG + "tokens"].pop()
        metadata[TG + "token_type"] = metadata[TG + "token_type"][:-1]
        assert tiny.pieces(tiny.make(metadata), " w") == [" ", "w"]


def test_kimi_k2_needs_no_merges(caplog: pytest.LogCaptureFixture) -> None:
    metadata = tiny.bpe("kimi-k2")
    del metadata[TG + "merges"]
    assert tiny.pieces(tiny.make(metadata), "hello") == [*"hello"]
    assert caplog.messages[0].startswith("tiny: tokenizer.ggml.merges is missing")


class TestSpecialIds:
    @pytest.mark.parametrize("value", [1000, 2**32 - 1, -1])
    def test_one_that_is_none_is_as_if_it_were_not_there(
        self, value: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        names = [*keys.SPECIAL_IDS, *keys.UNUSED_IDS]
        tokenizer = tiny.make(tiny.bpe(**{f"{name}_token_id": value for name in names}))
        ids = (tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id, tokenizer.pad_id, tokenizer.sep_id)
        assert ids == (None,) * 5
        assert tokenizer.eog_ids == tiny.make(tiny.bpe()).eog_ids
        assert len(caplog.messages) == len(names)
        for name in names:
            assert sum(f" {TG}{name}_token_id is {value}, " in message for message in caplog.messages) == 1

    def test_the_usual_id_of_its_kind_counts_then(self) -> None:
        tokenizer = tiny.make(tiny.spm(bos_token_id=-1, eos_token_id=9999))
        assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 2)

    def test_nothing_is_added_then(self, caplog: pytest.LogCaptureFixture) -> None:
        flags = {"add_bos_token": True, "add_eos_token": True}
        tokenizer = tiny.make(tiny.bpe(bos_token_id=-1, eos_token_id=5000, **flags))
        assert tokenizer.encode("he") == tiny.make(tiny.bpe()).encode("he")
        assert not tokenizer.add_bos and not tokenizer.add_eos

    def test_ollamas_ends(self, caplog: pytest.LogCaptureFixture) -> None:
        ids = np.array([3, 5, -1, 4000], np.int32)
        tokenizer = tiny.make(tiny.bpe(eos_token_id=5, eos_token_ids=ids))
        assert tokenizer.eog_ids == {0, 2, 3, 5}
        (message,) = caplog.messages
        assert message.startswith("tiny: tokenizer.ggml.eos_token_ids has -1, 4000, but the ids end at ")

    def test_without_a_tokenizer(self, tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
        file = GGUFForge().set(TG + "model", "none").set(TG + "eos_token_id", 7)
        file.set(TG + "eot_token_id", -1, I32)
        file.set(TG + "suppress_tokens", [3, 99], array_of=I32).set(TG + "fancy", 1)
        path = tmp_path / "ids.gguf"
        path.write_bytes(file.build())
        with load_gguf(path) as opened:
            text = IdsOnly.from_gguf(opened, 10)
        assert text.eog_ids == {7} and text.suppressed_ids.tolist() == [3]
        assert [message.split(": ")[1][:36] for message in caplog.messages] == [
            "nybble does not know tokenizer.ggml.",
            "tokenizer.ggml.eot_token_id is -1, b",
            "tokenizer.ggml.suppress_tokens has 9",
        ]


class TestSuppressedIds:
    @pytest.mark.parametrize("temperature", [0.0, 1.0])
    def test_are_never_generated(self, temperature: float, tmp_path: Path) -> None:
        file = GGUFForge.parse(tiny_model.write(tmp_path / "sound", "llama").read_bytes())
        params = SamplingParams(max_tokens=8, temperature=temperature, top_k=3, seed=1)
        path = tmp_path / "model.gguf"
        suppressed: set[int] = set()
        for _ in range(3):
            file.set(TG + "suppress_tokens", [*suppressed, 10**6], array_of=I32)
            path.write_bytes(file.build())
            with LLM(path, executor="reference") as llm:
                ids = llm.generate("hello", params).token_ids
                logits = llm.logits("hello")
            assert ids and not suppressed & {*ids}
            assert np.isfinite(logits).all()
            suppressed |= {*ids, int(logits[-1].argmax())}

    def test_are_read_once_each(self, caplog: pytest.LogCaptureFixture) -> None:
        tokenizer = tiny.make(tiny.bpe(suppress_tokens=np.array([5, 3, 5, 10**6, -1], np.int32)))
        assert tokenizer.suppressed_ids.tolist() == [3, 5]
        (message,) = caplog.messages
        assert message.startswith("tiny: tokenizer.ggml.suppress_tokens has 1000000, -1, but the ids end at ")

    @pytest.mark.parametrize("value", [7, "7", ["7"], np.array([1.0], np.float32), np.array([True])])
    def test_must_be_integers(self, value: Any) -> None:
        with pytest.raises(ModelError, match=r"suppress_tokens must be an array of integers, found"):
            tiny.make(tiny.bpe(suppress_tokens=value))

    def test_must_leave_something(self) -> None:
        with pytest.raises(ModelError, match=r"suppress_tokens has all \d+ ids"):
            tiny.make(tiny.bpe(suppress_tokens=np.arange(400, dtype=np.int32)))


class TestKeys:
    def test_every_key_that_gguf_knows_is_decided(self) -> None:
        known = {name: key for name, key in vars(gguf.constants.Keys.Tokenizer).items() if name.isupper()}
        assert len(known) > 30
        assert [key for key in known.values() if not keys.is_known(key)] == []

    def test_every_key_of_newer_converters_is_decided(self) -> None:
        """What llama.cpp's and Ollama's converters write beyond that."""
        names = ["normalizer.lowercase", "normalizer.strip_accents", "suppress_tokens", "cls_token_id"]
        names += ["eos_token_ids", *(f"add_{name}_token" for name in ("unknown", "padding", "cls", "mask"))]
        assert [name for name in names if not keys.is_known(TG + name)] == []

    def test_no_key_is_honoured_and_inert(self) -> None:
        assert not keys.HONOURED & keys.INERT.keys()
        assert all(len(reason) > 20 for reason in keys.INERT.values())

    def test_one_warning_names_those_that_nobody_knows(self, caplog: pytest.LogCaptureFixture) -> None:
        metadata = tiny.bpe(fancy=1, mask_token_id=0) | {
            "tokenizer.other": "x",
            "tokenizer.chat_template": "{}",
        }
        tiny.make(metadata | {"tokenizer.chat_template.tool_use": "{}", "llama.fancy": 1})
        (message,) = caplog.messages
        assert message.startswith(
            "tiny: nybble does not know tokenizer.ggml.fancy, tokenizer.other, and reads"
        )

    def test_many_are_not_all_named(self, caplog: pytest.LogCaptureFixture) -> None:
        tiny.make(tiny.bpe(**{f"fancy_{n}": 1 for n in range(1000)}))
        assert "fancy_9 and 990 more keys" in caplog.messages[0] and "fancy_10" not in caplog.messages[0]
