"""A model gives the same logits on every machine, to the bit, whatever its instructions: by recorded hashes.

    python test_same_bits.py        prints them anew, for a change that is meant to change bits

They were found on x86-64 with AVX2 and without any extension, and on AArch64 (CONTRIBUTING says how to run it
under an emulator). Where both hashes of a model differ, its file is another one: NumPy or `gguf` made other
weights of the same seed.
"""

import tempfile
from pathlib import Path

import gguf
import pytest
import tiny_model
from processors import again, paths_of_this_machine
from record_logits import logits, short_hash

import nybble

N_SINGLE = 8
RECORDED = {
    ("llama", "F32"): ("aa94772877aa2906", "558ffd1e180e362a"),
    ("llama", "F16"): ("ff83160f2d95b5bf", "80655f5fdb557b8d"),
    ("llama", "BF16"): ("65b38f02195bef15", "76e9352d230c3bbe"),
    ("llama", "Q4_0"): ("f1da19db4d4510ba", "453ed2063a24395c"),
    ("llama", "Q4_1"): ("83dda4452afb2755", "de180ace1a9fd6dd"),
    ("llama", "Q5_1"): ("4493b3db60fe65f6", "0f63ddaf4f1ec594"),
    ("llama", "Q8_0"): ("358c5acb1a3d530e", "0f161e5d5f8eb3f3"),
    ("llama", "Q4_K"): ("52573eed1a1ec413", "6ff6109421bde946"),
    ("llama", "Q6_K"): ("e14c072f4b637e43", "7bf452d11ba16740"),
    ("gemma3", "Q8_0"): ("5ab7dbbb698a2fa1", "65daf440cfb71155"),
    ("gemma3", "Q4_K"): ("e5dff3d4d421af19", "0b17028bf03edc6d"),
}
"""Architecture and format -> hash of the weights, hash of the logits."""


def hashes(arch: str, weight_format: str) -> tuple[str, str]:
    """Of the weights, and of the logits after each token: of a prompt as a whole, then of single tokens."""
    with tempfile.TemporaryDirectory() as folder:
        path = tiny_model.write(Path(folder) / "model.gguf", arch, weight_format, seed=7)
        tensors = [t.data.tobytes() for t in gguf.GGUFReader(path).tensors]
        with nybble.LLM(path, n_threads=2) as llm:
            return short_hash(tensors), short_hash(part.tobytes() for part in logits(llm, N_SINGLE))


@pytest.mark.parametrize(("arch", "weight_format"), RECORDED, ids="-".join)
def test_logits_are_those_of_every_other_machine(arch: str, weight_format: str) -> None:
    assert hashes(arch, weight_format) == RECORDED[arch, weight_format]


@pytest.mark.parametrize("path", paths_of_this_machine()[1:-1])
def test_on_every_path_of_this_machine(path: str) -> None:
    """But the generic one, which is that of the test below (`test_linear.py` has it with these features)."""
    again("every_other_machine", __file__, NYBBLE_DOT=path)


def test_on_a_processor_without_any_extension() -> None:
    again("every_other_machine", __file__, NUMBA_CPU_NAME="generic", NYBBLE_DOT="generic")


if __name__ == "__main__":
    for arch, weight_format in RECORDED:
        print(f"    {(arch, weight_format)!r}: {hashes(arch, weight_format)!r},".replace("'", '"'))
