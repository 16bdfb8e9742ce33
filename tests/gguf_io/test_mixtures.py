"""File types: each tensor gets the format that llama.cpp gives it."""

from types import SimpleNamespace

import numpy as np
import pytest
import quantizer_cases
from quantizer_cases import FILE_TYPES, LETTERS, ModelCase

from nybble import ModelError, RequestError
from nybble.gguf_io.formats import F32, I32, BlockFormat
from nybble.gguf_io.mixtures import FILE_TYPES as OUR_FILE_TYPES, choose_formats, file_type
from nybble.gguf_io.tensor import Tensor

CASES = quantizer_cases.model_cases()
RECORDED = quantizer_cases.recorded()["mixtures"]


def opened(case: ModelCase, format: BlockFormat = F32) -> SimpleNamespace:
    """What is asked of a file, without one."""
    metadata = {f"{case.architecture}.{key}": value for key, value in case.metadata.items()}
    tensors = {
        name: Tensor(name, shape, format, np.zeros(4 * int(np.prod(shape)), np.uint8))
        for name, shape in case.tensors.items()
    }
    return SimpleNamespace(path="x.gguf", architecture=case.architecture, metadata=metadata, tensors=tensors)


def test_all_file_types_are_recorded() -> None:
    ours = {name: kind.id for name, kind in OUR_FILE_TYPES.items()}
    assert ours == FILE_TYPES | {"F32": 0}
    assert {case: set(found) for case, found in RECORDED.items()} == {case: set(FILE_TYPES) for case in CASES}


@pytest.mark.parametrize("name", FILE_TYPES)
@pytest.mark.parametrize("case", CASES)
def test_the_formats_are_those_of_llama_cpp(case: str, name: str) -> None:
    file = opened(CASES[case])
    chosen = choose_formats(file, file_type(name))
    assert list(chosen) == list(file.tensors)
    expected = dict(zip(file.tensors, (LETTERS[letter] for letter in RECORDED[case][name]), strict=True))
    assert {tensor: format.name for tensor, format in chosen.items()} == expected


def test_pure_is_one_format_where_it_fits() -> None:
    case = CASES["llama"]
    chosen = choose_formats(opened(case), file_type("Q4_K_M"), pure=True)
    for name, format in chosen.items():
        assert format.name == ("F32" if "norm" in name else "Q4_K")
    chosen = choose_formats(opened(CASES["rows of other lengths"]), file_type("Q5_K_S"), pure=True)
    found = [chosen[f"blk.0.{name}.weight"].name for name in ("attn_q", "attn_k", "attn_v", "attn_output")]
    assert found == ["F16", "F32", "Q5_1", "Q5_1"]


def test_whole_numbers_stay() -> None:
    file = opened(CASES["llama"], I32)
    assert set(choose_formats(file, file_type("Q4_0")).values()) == {I32}


def test_counts_for_each_layer() -> None:
    """`head_count` may be an array; that of the first layer counts."""
    file = opened(CASES["tied, many heads to one"])
    file.metadata["llama.attention.head_count"] = np.array([8, 2], np.int32)
    file.metadata["llama.attention.head_count_kv"] = np.array([2, 2], np.int32)
    assert choose_formats(file, file_type("Q2_K"))["blk.0.attn_v.weight"].name == "Q4_K"
    file.metadata["llama.attention.head_count_kv"] = np.array([4, 2], np.int32)
    assert choose_formats(file, file_type("Q2_K"))["blk.0.attn_v.weight"].name == "Q3_K"
    file.metadata["llama.attention.head_count_kv"] = "four"
    with pytest.raises(ModelError, match=r"x\.gguf: llama\.attention\.head_count_kv must be an integer"):
        choose_formats(file, file_type("Q2_K"))


def test_names() -> None:
    assert file_type("q4_k_m") is file_type("Q4_K") is OUR_FILE_TYPES["Q4_K_M"]
    with pytest.raises(RequestError, match=r"'Q4_K_X' is no format to quantize to; there are .*Q8_0.*Q4_K_M"):
        file_type("Q4_K_X")
