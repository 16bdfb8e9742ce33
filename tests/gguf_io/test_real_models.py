"""The reader on the two real models: how fast they open, and what becomes of them when cut (G68)."""

from pathlib import Path

import pytest
from stopwatch import cpu_seconds

from nybble.errors import GGUFFormatError
from nybble.gguf_io.file import load_gguf


def seconds_to_open(path: Path) -> float:
    return cpu_seconds(lambda: load_gguf(path).close(), best_of=5)


def test_smollm2_opens_in_50_ms(smollm2_path: Path) -> None:
    assert seconds_to_open(smollm2_path) < 0.05
    with load_gguf(smollm2_path) as file:
        assert (file.version, file.architecture, len(file.tensors), file.trailing_bytes) == (
            3,
            "llama",
            272,
            0,
        )
        assert file.metadata["tokenizer.ggml.tokens"][-1] == "ectable"
        assert file.metadata["tokenizer.ggml.merges"][-1] == "ect able"


def test_gemma3_opens_in_100_ms(gemma3_path: Path) -> None:
    assert seconds_to_open(gemma3_path) < 0.1
    with load_gguf(gemma3_path) as file:
        assert (file.version, file.architecture, len(file.tensors), file.trailing_bytes) == (
            3,
            "gemma3",
            236,
            0,
        )
        tokens = file.metadata["tokenizer.ggml.tokens"]
        assert (len(tokens), tokens[-1]) == (262_144, "<unused6241>")


@pytest.mark.parametrize("percent", [25, 50, 90])
def test_g68_a_cut_model_names_the_first_tensor_out_of_bounds(
    percent: int, smollm2_path: Path, tmp_path: Path
) -> None:
    with load_gguf(smollm2_path) as file:
        names = list(file.tensors)
    path = tmp_path / "cut.gguf"
    with smollm2_path.open("rb") as source, path.open("wb") as out:
        out.write(source.read(2 << 20))  # the header; the data may be a hole
        out.truncate(smollm2_path.stat().st_size * percent // 100)
    with pytest.raises(
        GGUFFormatError, match=r"data of tensor '(.*)' at byte \d+: truncated: need"
    ) as caught:
        load_gguf(path)
    first_missing = str(caught.value).split("'")[1]
    assert first_missing in names
    assert (first_missing == names[0]) == (percent == 25)
