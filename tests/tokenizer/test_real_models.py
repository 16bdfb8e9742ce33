"""The tokenizers of real models give the ids that llama.cpp gives."""

from pathlib import Path

import numpy as np
import pytest
import shared_files
import tokenizer_fuzz

from nybble.tokenizer import Tokenizer

SHARED = shared_files.ROOT
VOCABULARIES = sorted((SHARED / "vocabs").glob("ggml-vocab-*.gguf"))
FUZZ = np.load(tokenizer_fuzz.RECORD)
# Decoding cannot give back what two normalize, bytes that Falcon lacks, spaces that Phi-3's tokens swallow.
LOSING = {"bert-bge", "nomic-bert-moe", "falcon", "phi-3"}
GOLDEN = {"smollm2": "smollm2-135m-q4_1.npz", "gemma3": "gemma3-270m-q4_k_m.npz"}

# Recorded with llama-cpp-python 0.3.36, special tokens parsed.
# fmt: off
PROMPTS = [
    'The capital of France is',
    'def fibonacci(n):\n    if n < 2:\n        return n\n    return',
    'Äpfel, 北京, 🦙🦙 and naïve café — 12345.67 + 8,900 = ?\n\n\t\tTabs   and   spaces ',
    '<|im_start|>user\nName three primary colours.<|im_end|>\n<|im_start|>assistant\n',
    'Once upon a time, in a small village by the sea, there lived an old clockmaker who',
]
SMOLLM2_IDS = [
    [
        504, 3575, 282, 4649, 314,
    ],
    [
        1604, 3987, 46477, 24, 94, 727, 472, 585, 304, 2067, 216, 34, 42, 448, 1003, 304, 472, 1003,
    ],
    [
        142, 222, 96, 34520, 28, 13223, 230, 241, 16736, 122, 28, 15107, 116, 243, 10813, 116, 243,
        284, 15486, 46494, 37366, 1841, 216, 33, 34, 35, 36, 37, 30, 38, 39, 1232, 216, 40, 28, 41,
        32, 32, 446, 9148, 14436, 197, 68, 7366, 256, 284, 256, 5600, 216,
    ],
    [
        1, 4093, 198, 5820, 1296, 3003, 14797, 30, 2, 198, 1, 520, 9531, 198,
    ],
    [
        6403, 1980, 253, 655, 28, 281, 253, 1165, 6560, 411, 260, 3426, 28, 665, 4161, 354, 1573,
        9191, 16201, 617,
    ],
]
GEMMA3_IDS = [
    [
        2, 818, 5279, 529, 7001, 563,
    ],
    [
        2, 2063, 10779, 78113, 236769, 236749, 1473, 107, 140, 584, 538, 655, 236743, 236778,
        236787, 107, 144, 2060, 538, 107, 140, 2060,
    ],
    [
        2, 239122, 22744, 535, 236764, 169418, 236764, 236743, 478, 397, 404, 391, 478, 397, 404,
        391, 532, 120362, 33443, 2192, 236743, 236770, 236778, 236800, 236812, 236810, 236761,
        236825, 236832, 900, 236743, 236828, 236764, 236819, 236771, 236771, 578, 2360, 108, 255969,
        76222, 139, 624, 139, 35220, 236743,
    ],
    [
        2, 236820, 236909, 548, 236779, 3041, 111038, 2364, 107, 1567, 1806, 5905, 22640, 21603,
        236909, 548, 236779, 643, 111038, 107, 236820, 236909, 548, 236779, 3041, 111038, 111457,
        107,
    ],
    [
        2, 14946, 3324, 496, 990, 236764, 528, 496, 1944, 9744, 684, 506, 5442, 236764, 993, 11742,
        614, 2255, 11072, 29822, 1015,
    ],
]
# fmt: on


@pytest.mark.model
def test_smollm2(smollm2_path: Path) -> None:
    tokenizer = Tokenizer.from_gguf(smollm2_path)
    assert [tokenizer.encode(text, parse_special=True) for text in PROMPTS] == SMOLLM2_IDS
    assert [tokenizer.decode(ids, skip_special_tokens=False) for ids in SMOLLM2_IDS] == PROMPTS
    assert tokenizer.eog_ids == {0, 2, 4}
    assert (tokenizer.n_vocab, tokenizer.bos_id, tokenizer.eos_id, tokenizer.add_bos) == (49152, 1, 2, False)
    assert not {1, 2} & set(tokenizer.encode("<|im_start|>user<|im_end|>"))


@pytest.mark.model
def test_gemma3(gemma3_path: Path) -> None:
    tokenizer = Tokenizer.from_gguf(gemma3_path)
    assert [tokenizer.encode(text, parse_special=True) for text in PROMPTS] == GEMMA3_IDS
    assert [tokenizer.decode(ids) for ids in GEMMA3_IDS] == PROMPTS
    assert tokenizer.eog_ids == {1, 106, 212}
    assert (tokenizer.n_vocab, tokenizer.bos_id, tokenizer.eos_id, tokenizer.add_bos) == (262144, 2, 1, True)
    assert not {105, 106} & set(tokenizer.encode("<start_of_turn>user<end_of_turn>"))
    assert tokenizer.encode("\n\n\n  \t<table>", add_special=False) == [109, 138, 255968, 168]


@pytest.mark.model
@pytest.mark.parametrize("name", GOLDEN)
def test_golden_passage(name: str, request: pytest.FixtureRequest) -> None:
    """The file of the shared folder, where there is one: all that it recorded."""
    path = SHARED / "golden" / GOLDEN[name]
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    golden = np.load(path)
    tokenizer = Tokenizer.from_gguf(request.getfixturevalue(f"{name}_path"))
    for text, ids in [(f"p{i}_text", f"p{i}_ids") for i in range(5)] + [("passage", "nll_ids")]:
        assert tokenizer.encode(str(golden[text]), parse_special=True) == golden[ids].tolist()


def fuzz(path: Path) -> None:
    """`record_tokenizer_fuzz.py` has recorded llama.cpp's results, under the file's name."""
    name = tokenizer_fuzz.name_of(path)
    tokenizer = Tokenizer.from_gguf(path)
    for (text, add_special, parse_special), checksum in zip(tokenizer_fuzz.cases(), FUZZ[name], strict=True):
        if name == "deepseek-llm" and "\u3000" in text:  # see test_pretokenizers.py
            continue
        ids = tokenizer.encode(text, add_special, parse_special)
        assert tokenizer_fuzz.checksum(ids) == checksum, text
        decoder = tokenizer.stream_decoder(skip_special_tokens=False)
        assert "".join(map(decoder.push, ids)) + decoder.flush() == tokenizer.decode(
            ids, skip_special_tokens=False
        )
        if name not in LOSING and not add_special:
            assert tokenizer.decode(ids, skip_special_tokens=False).replace("▁", " ") == text.replace(
                "▁", " "
            )
    assert sorted(tokenizer.eog_ids) == FUZZ[f"{name} ends"].tolist()


@pytest.mark.model
def test_fuzz_smollm2(smollm2_path: Path) -> None:
    fuzz(smollm2_path)


@pytest.mark.model
def test_fuzz_gemma3(gemma3_path: Path) -> None:
    fuzz(gemma3_path)


@pytest.mark.parametrize("path", VOCABULARIES, ids=tokenizer_fuzz.name_of)
def test_fuzz_vocabulary(path: Path) -> None:
    fuzz(path)


@pytest.mark.parametrize("path", VOCABULARIES, ids=tokenizer_fuzz.name_of)
def test_vocabulary_fixture(path: Path) -> None:
    """llama.cpp's own fixtures: texts with an end mark, ids a line each."""
    if not path.with_suffix(".gguf.inp").is_file():
        pytest.skip(f"{path} comes without texts")
    tokenizer = Tokenizer.from_gguf(path)
    texts = path.with_suffix(".gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = path.with_suffix(".gguf.out").read_text().split("\n")
    for text, line in zip(texts, lines[: len(texts)], strict=True):
        ids = tokenizer.encode(text, add_special=False)
        assert ids == [int(id_) for id_ in line.split()]
        assert tokenizer.decode(ids) == text or tokenizer_fuzz.name_of(path) in LOSING
