"""Records which formats llama.cpp gives the models of `quantizer_cases.py`, and the errors of its quantizers.

    python tests/tools/record_quantizers.py

in an environment with llama-cpp-python, writes `tests/data/golden/quantizers.json` anew. Made with 0.3.36.
"""

import ctypes
import json
import math
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "models"))

import gguf
import llama_cpp
import numpy as np
import quantizer_cases
from numpy.typing import NDArray
from quantizer_cases import FILE_TYPES, LETTERS, ModelCase

QUANTIZED = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")


def main() -> None:
    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    with tempfile.TemporaryDirectory() as folder:
        mixtures = {
            name: formats_of(case, Path(folder)) for name, case in quantizer_cases.model_cases().items()
        }
    rmse = {
        name: {format: error(x, gguf.GGMLQuantizationType[format]) for format in QUANTIZED}
        for name, x in quantizer_cases.values().items()
    }
    record = json.dumps({"mixtures": mixtures, "rmse": rmse}, indent=1)
    quantizer_cases.RECORD.write_text(record + "\n")


def formats_of(case: ModelCase, folder: Path) -> dict[str, str]:
    """File type -> a letter for each tensor, in the order of `case.tensors`."""
    source, target = folder / "source.gguf", folder / "target.gguf"
    write(case, source)
    letters = {format: letter for letter, format in LETTERS.items()}
    found = {}
    for name, number in FILE_TYPES.items():
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype, parameters.nthread = number, 1
        if llama_cpp.llama_model_quantize(bytes(source), bytes(target), parameters):
            raise SystemExit(f"llama.cpp does not quantize {case.architecture} to {name}")
        types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(target).tensors}
        found[name] = "".join(letters[types[tensor]] for tensor in case.tensors)
    return found


def write(case: ModelCase, path: Path) -> None:
    """A file that llama.cpp can quantize, though not run."""
    writer = gguf.GGUFWriter(path, case.architecture)
    writer.add_context_length(64)
    writer.add_embedding_length(256)
    writer.add_feed_forward_length(512)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_layer_norm_eps(1e-5)
    for key, value in case.metadata.items():
        writer.add_uint32(f"{case.architecture}.{key}", value)
    for name, shape in case.tensors.items():
        writer.add_tensor(name, np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def error(x: NDArray[np.float32], type: gguf.GGMLQuantizationType) -> float:
    """The root of the mean squared error of ggml's own quantizer."""
    ggml = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[type]
    out = np.zeros((len(x), x.shape[1] // block_size * block_bytes), np.uint8)
    pointers = (ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(out.ctypes.data))
    sizes = (ctypes.c_int64(0), ctypes.c_int64(len(x)), ctypes.c_int64(x.shape[1]))
    ggml.ggml_quantize_chunk(int(type), *pointers, *sizes, None)
    difference = gguf.quants.dequantize(out, type).astype(np.float64) - x
    return float(f"{math.sqrt(np.mean(difference**2)):.6g}")


if __name__ == "__main__":
    main()
