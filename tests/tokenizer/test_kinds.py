"""What is special about the kinds of tokenizers, on tiny vocabularies."""

import random
import struct
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny_vocabulary as tiny
from stopwatch import growth
from tiny_vocabulary import make, pieces

from nybble.errors import ModelError


class TestWordPiece:
    def test_the_longest_token_first(self) -> None:
        assert pieces(make(tiny.wordpiece()), "hello, hellos world.") == [
            "[CLS]", " hello", " ,", " hello", "s", " wor", "ld", " .", "[SEP]",
        ]  # fmt: skip

    def test_a_word_with_an_unknown_part_is_unknown(self) -> None:
        assert pieces(make(tiny.wordpiece()), "hello hellox", add_special=False) == [" hello", "[UNK]"]

    def test_ideographs_stand_alone(self) -> None:
        assert pieces(make(tiny.wordpiece()), "北京", add_special=False) == [" 北", " 京"]

    def test_accents_case_and_controls(self) -> None:
        assert pieces(make(tiny.wordpiece()), "Hé\x00L\u200dLO\u0301", add_special=False) == [" hello"]
        as_is = make(tiny.wordpiece(**{"normalizer.lowercase": False}))
        assert pieces(as_is, "é É hello", add_special=False) == [" é", "[UNK]", " hello"]
        accents = make(tiny.wordpiece(**{"normalizer.strip_accents": False}))
        assert pieces(accents, "hÉ é", add_special=False) == [" h", "é", " é"]

    def test_special_tokens(self) -> None:
        tokenizer = make(tiny.wordpiece(add_eos_token=True, add_bos_token=False))
        assert (tokenizer.bos_id, tokenizer.sep_id, tokenizer.eos_id) == (2, 3, None)
        assert pieces(tokenizer, "[SEP]hello", parse_special=True) == ["[CLS]", "[SEP]", " hello", "[SEP]"]

    def test_decoding_puts_one_space_between_words(self) -> None:
        tokenizer = make(tiny.wordpiece())
        assert tokenizer.decode(tokenizer.encode("  Hello \n world")) == "hello world"
        assert tokenizer.decode(tokenizer.encode("hello")[1:], continuation=True) == " hello"

    def test_a_megabyte_in_one_word(self) -> None:
        tokenizer = make(tiny.wordpiece())
        for text in ("hello" * 200_000, "h" * 1_000_000, "hell " * 200_000):
            assert len(tokenizer.encode(text)) > 200_000
            assert growth(tokenizer.encode, text[: len(text) // 8], text) < 4


def charsmap(units: list[int], texts: bytes) -> np.ndarray:
    return np.frombuffer(struct.pack(f"<I{len(units)}I", 4 * len(units), *units) + texts, np.uint8)


def one_character(letter: int, text: bytes) -> np.ndarray:
    """A Darts double array of one key of one byte, `letter`, in the block after the root's."""
    units = [0] * 512
    units[0] = 256 << 10
    node = 256 ^ letter
    units[node] = letter | 1 << 8 | 1 << 10  # the key's end; its value is in the next entry
    units[node ^ 1] = 1 << 31
    return charsmap(units, text + b"\0")


class TestUnigram:
    def test_the_most_probable_pieces(self) -> None:
        assert pieces(make(tiny.unigram()), "hello xllo") == [" hello", " ", "x", "llo", "</s>"]

    def test_what_is_unknown_is_one_token(self) -> None:
        assert pieces(make(tiny.unigram()), "x北京x", add_special=False) == [" ", "x", "<unk>", "x"]

    def test_sums_in_double_precision(self) -> None:
        """Ties must go to the piece that comes first: sums in single precision differ in their last bits."""
        tokenizer = make(tiny.unigram({"▁": -3.1, "11": -7.7, "1": -5.3}))
        ids = tokenizer.encode("1" * 41, add_special=False)
        assert [len(tokenizer.token_bytes(id_)) for id_ in ids] == [1, 1, *[2] * 20]

    def test_spaces(self) -> None:
        tokenizer = make(tiny.unigram(remove_extra_whitespaces=True))
        text = "  hello   hello "
        assert pieces(tokenizer, text, add_special=False) == [" hello", " hello"]
        assert tokenizer.decode(tokenizer.encode(text)) == "hello hello"
        assert pieces(make(tiny.unigram()), text, add_special=False) == [
            " ", " ", " hello", " ", " ", " hello", " ",
        ]  # fmt: skip
        assert make(tiny.unigram()).decode(make(tiny.unigram()).encode(text)) == text

    def test_no_space_is_put_in_front_unless_the_file_asks_for_it(self) -> None:
        tokenizer = make(tiny.unigram(add_space_prefix=None))
        assert pieces(tokenizer, "x hello", add_special=False) == ["x", " hello"]
        assert tokenizer.decode(tokenizer.encode(" hello")) == " hello"

    def test_the_mask_of_some_models_swallows_the_space_before_it(self) -> None:
        metadata = tiny.unigram() | {"general.architecture": "nomic-bert-moe"}
        text = "hello \n<mask> hello"
        assert pieces(make(metadata), text, parse_special=True, add_special=False) == [
            " hello", "<mask>", " ", " hello",
        ]  # fmt: skip
        assert len(make(tiny.unigram()).encode(text, parse_special=True, add_special=False)) == 6

    def test_the_table_of_characters(self) -> None:
        key = "precompiled_charsmap"
        tokenizer = make(tiny.unigram(**{key: one_character(ord("y"), b"x")}))
        assert pieces(tokenizer, "yx", add_special=False) == [" ", "x", "x"]

    @pytest.mark.parametrize(
        ("table", "problem"),
        [
            (np.zeros(3, np.uint8), "header"),
            (charsmap([], b"\0"), "header"),
            (charsmap([1 << 10] * 256, b"")[:-1], "header"),
            (charsmap([0x1FFFFF << 10] + [0] * 511, b"x\0"), "outside"),
            (charsmap([0] * 300, b"x\0"), "outside"),
            (one_character(ord("y"), b"\xff"), "outside"),
            (charsmap([0] * 512, b"x"), "outside"),
            (one_character(ord("y"), b"x" * 300), "too far"),
            (np.zeros(8, np.float32), "uint8"),
        ],
    )
    def test_a_damaged_table_of_characters(self, table: np.ndarray, problem: str) -> None:
        with pytest.raises(ModelError, match=rf"tiny: tokenizer\.ggml\.precompiled_charsmap .*{problem}"):
            make(tiny.unigram(precompiled_charsmap=table))

    def test_a_value_that_lies_behind_the_texts(self) -> None:
        table = one_character(ord("y"), b"x").copy()
        table[4 + 4 * (256 ^ ord("y") ^ 1)] = 9
        with pytest.raises(ModelError, match="outside of itself"):
            make(tiny.unigram(precompiled_charsmap=table))

    def test_a_megabyte_of_one_character(self) -> None:
        tokenizer = make(tiny.unigram())
        for text in ("1" * 1_000_000, " " * 1_000_000, "北" * 333_333):
            assert growth(tokenizer.encode, text[: len(text) // 8], text) < 4


class TestCharacters:
    def test_merges_and_bytes(self) -> None:
        assert pieces(make(tiny.characters()), "hello hello   é<tag>\n\n") == [
            "<bos>", "hello", " hello", "  ", " ", "\\xc3", "\\xa9", "<tag>", "\n\n",
        ]  # fmt: skip

    def test_bos_is_added_whatever_the_file_says(self) -> None:
        assert make(tiny.characters(add_bos_token=False)).encode("h")[0] == 0

    def test_words_between_white_space(self) -> None:
        metadata = tiny.characters(
            model="whitespace", pre="whitespace", bos_token_id=None, **{"normalizer.lowercase": True}
        )
        assert pieces(make(metadata), "  Hello\n wé ") == ["hello", "w", "\\xc3", "\\xa9"]


class TestPLaMo2:
    PIECES: ClassVar = {
        "ab": -2.0,
        "bc": -2.0,
        "abc": -3.5,
        "c": -1.5,
        **dict.fromkeys("ab", -1.0),
        "bcab": -3.0,
    }

    def test_the_cheapest_pieces(self) -> None:
        assert pieces(make(tiny.plamo2()), "hello world") == ["h", "ell", "o wor", "ld"]

    def test_of_ways_that_cost_the_same_the_longest_piece_first(self) -> None:
        """Against the search from the end, written down as it is defined."""
        tokenizer, draw = make(tiny.plamo2(self.PIECES)), random.Random(5)
        for _ in range(300):
            text = "".join(draw.choices("abcx", k=draw.randrange(12)))
            best: list[tuple[float, list[str]]] = [(0.0, [])]
            for start in range(len(text) - 1, -1, -1):
                ways = [
                    (best[length - 1][0] - self.PIECES.get(text[start : start + length], -1000), length)
                    for length in range(len(text) - start, 0, -1)
                    if length == 1 or text[start : start + length] in self.PIECES
                ]
                cost, length = min(ways, key=lambda way: way[0])
                best.insert(0, (cost, [text[start : start + length], *best[length - 1][1]]))
            assert pieces(tokenizer, text) == best[0][1]

    def test_what_is_unknown_becomes_bytes(self) -> None:
        tokenizer = make(tiny.plamo2())
        text = "x\U0001f999北京京\U0010ffff"
        assert pieces(tokenizer, text)[:6] == ["x", "\\xf0", "\\x9f", "\\xa6", "\\x99", "北京"]
        assert tokenizer.decode(tokenizer.encode(text)) == text

    def test_a_byte_order_mark_is_dropped(self) -> None:
        tokenizer = make(tiny.plamo2())
        assert tokenizer.encode("\ufeffhe") == tokenizer.encode("he")

    def test_control_tokens_are_not_read_from_text(self) -> None:
        tokenizer = make(tiny.plamo2())
        assert tokenizer.encode("<|plamo:eos|>", parse_special=True) == [2]
        assert not {1, 2} & set(tokenizer.encode("<|plamo:eos|>"))

    def test_there_must_be_bytes(self) -> None:
        metadata = tiny.plamo2()
        metadata["tokenizer.ggml.tokens"][4] = "lost"
        metadata["tokenizer.ggml.token_type"][4] = tiny.NORMAL
        with pytest.raises(ModelError, match="255 tokens stand for a byte, <0x00> to <0xFF>; expected 256"):
            make(metadata)


class TestRWKV:
    def test_the_longest_token_first(self) -> None:
        assert pieces(make(tiny.rwkv()), "hellohell\n\n\nпрп 's") == [
            "hello", "h", "e", "l", "l", "\n\n", "\n", "пр", "\\xd0", "\\xbf", " 's",
        ]  # fmt: skip


def test_bytes_that_a_vocabulary_lacks_are_left_out() -> None:
    """Falcon has no vertical tab; what stands beside it is not merged."""
    metadata = tiny.bpe()
    tokens = metadata["tokenizer.ggml.tokens"]
    tokens[tokens.index("ċ")] = "lost"
    assert pieces(make(metadata), "he\vllhe\v") == ["he", "ll", "he"]
    assert pieces(make(metadata), "h\ve") == ["h", "e"]


def test_two_texts_beside_each_other() -> None:
    def pair(metadata: dict[str, Any]) -> str:
        tokenizer = make(metadata)
        ids = tokenizer.encode_pair("hello", "he<s>")
        return b"".join(tokenizer.token_bytes(id_, skip_special_tokens=False) for id_ in ids).decode()

    assert pair(tiny.wordpiece()) == "[CLS] hello[SEP] he[UNK][UNK][UNK][SEP]"
    assert (
        pair(tiny.wordpiece(add_sep_token=True, add_eos_token=True))
        == "[CLS] hello[SEP] he[UNK][UNK][UNK][SEP]"
    )
    roberta = tiny.spm(bos_token_id=1, eos_token_id=2, seperator_token_id=2, add_eos_token=True)
    assert pair(roberta) == "<s> hello</s> he<s></s>"
    roberta["tokenizer.ggml.add_sep_token"] = True
    assert pair(roberta) == "<s> hello</s></s> he<s></s>"
