"""Special tokens, on tiny vocabularies: what is one, what is added, and where white space goes."""

import pytest
import tiny_vocabulary as tiny
from tiny_vocabulary import make, pieces

BPE = make(tiny.bpe())
SPM = make(tiny.spm())
SPM_WITHOUT_PREFIX = make(tiny.spm(add_space_prefix=False))


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

    @pytest.mark.parametrize("type_", [tiny.NORMAL, tiny.CONTROL, tiny.USER_DEFINED])
    @pytest.mark.parametrize("text", ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"])
    @pytest.mark.parametrize("vocabulary", [tiny.bpe, tiny.spm, tiny.characters])
    def test_structure_is_shown_but_cannot_be_written(self, vocabulary, text: str, type_: int) -> None:
        tokenizer = make(vocabulary(special={"<unk>": tiny.UNKNOWN, "<s>": tiny.CONTROL, text: type_}))
        assert 2 not in tokenizer.encode(text, add_special=False)
        assert tokenizer.encode(text, add_special=False, parse_special=True) == [2]
        decoder = tokenizer.stream_decoder()
        assert [decoder.push(id_) for id_ in (1, 2, 1)] == ["", text, ""]
        assert tokenizer.decode([1, 2]) == text and tokenizer.token_bytes(2) == text.encode()

    @pytest.mark.parametrize(
        ("others", "text", "is_shown"),
        [
            (["<|return|>", "<|call|>"], "<|end|>", True),  # gpt-oss
            (["<|flush|>", "<|calls|>"], "<|end|>", True),  # Solar Open
            (["<|return|>", "<|calls|>"], "<|end|>", True),
            (["<|assistant|>", "<|return|>"], "<|end|>", False),
            (["<|user|>", "<|assistant|>"], "<|end|>", False),  # Phi 3
            (["<|tool_response>", "<eos>"], "</s>", True),  # Gemma 4
            (["<s>", "<unk>"], "</s>", False),
        ],
    )
    def test_ends_in_the_middle_of_an_answer_are_shown(self, others, text: str, is_shown: bool) -> None:
        tokenizer = make(tiny.bpe(special=dict.fromkeys([*others, text], tiny.CONTROL)))
        assert tokenizer.decode([2]) == (text if is_shown else "")
        assert (2 in tokenizer.eog_ids) == (not is_shown)
        assert 2 not in tokenizer.encode(text)

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


BEGINS, ENDS, ENDS_SEP = "begins with BOS, ", "ends with EOS, ", "ends with SEP, "
BOTH = {"bos_token_id": 1, "eos_token_id": 1, "add_bos_token": True, "add_eos_token": True}


class TestTwice:
    """A text that has BOS or EOS itself gets another, as in llama.cpp, and a warning."""

    @pytest.mark.parametrize(
        ("metadata", "text", "ids", "warnings"),
        [
            (tiny.spm(), "<s>hello", [1, 1], [BEGINS + "'<s>'"]),
            (tiny.spm(), "hello", [1], []),
            (tiny.spm(), "hello<s>", [1], []),
            (tiny.spm(add_bos_token=False), "<s>hello", [1], []),
            (tiny.spm(add_eos_token=True), "<s>hello</s>", [1, 1], [BEGINS + "'<s>'", ENDS + "'</s>'"]),
            (tiny.bpe("llama-bpe", bos_token_id=1), "<|im_start|>", [1, 1], [BEGINS + "'<|im_start|>'"]),
            (tiny.bpe(**BOTH), "", [1, 1], []),
            (tiny.unigram(eos_token_id=1, add_eos_token=True), "hello</s>", [], [ENDS + "'</s>'"]),
            (tiny.wordpiece(), "[CLS]he[SEP]", [2, 2], [BEGINS + "'[CLS]'", ENDS_SEP + "'[SEP]'"]),
            (tiny.characters(add_bos_token=True), "<bos>hello", [0, 0], [BEGINS + "'<bos>'"]),
        ],
    )
    def test_it_is_said_once(self, metadata, text, ids, warnings, caplog) -> None:
        tokenizer = make(metadata)
        for _ in range(2):
            assert tokenizer.encode(text, parse_special=True)[: len(ids)] == ids
        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == len(warnings)
        assert all(warning in message for message, warning in zip(messages, warnings, strict=True))
        assert all(message.startswith("tiny: a text") for message in messages)

    def test_nothing_is_said_where_nothing_is_twice(self, caplog) -> None:
        tokenizer = make(tiny.spm(add_eos_token=True))
        tokenizer.encode("<s>hello</s>", add_special=False, parse_special=True)
        tokenizer.encode("<s>hello</s>")
        tokenizer.encode_pair("<s>hello</s>", "<s>hello</s>")
        assert not caplog.records


class TestSpacePrefix:
    def test_it_is_added_at_the_start_and_after_special_tokens(self) -> None:
        text = "hello<s>hello"
        assert pieces(SPM, text, parse_special=True) == ["<s>", " hello", "<s>", " hello"]
        assert pieces(SPM_WITHOUT_PREFIX, text, parse_special=True) == ["<s>", "hello", "<s>", "hello"]

    def test_decoding_leaves_it_out_but_not_in_a_continuation(self) -> None:
        ids = SPM.encode("hello", add_special=False)
        assert SPM.decode(ids) == "hello"
        assert SPM.decode(ids, continuation=True) == " hello"
        assert SPM.decode([*ids, 3, *ids], skip_special_tokens=False) == "hello<|user|>hello"
        assert SPM_WITHOUT_PREFIX.decode(ids) == " hello"


def test_several_unknown_tokens() -> None:
    """Phi-3 has 53; SentencePiece takes one."""
    special = {**tiny.SPM_SPECIAL, "<x>": tiny.UNKNOWN, "<y>": tiny.UNKNOWN}
    assert pieces(make(tiny.spm(special)), "<y>", add_special=False, parse_special=True) == ["<y>"]
