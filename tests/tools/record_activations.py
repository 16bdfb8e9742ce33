"""Records what llama.cpp computes inside SmolLM2, for `test_real_activations.py` (needs llama-cpp-python).

    python tests/tools/record_activations.py SmolLM2-135M-Instruct.Q4_1.gguf

makes `data/golden/smollm2_activations.npz`: ids (n,) and, as float16, activations by nybble's names.
"""

import ctypes
import sys
from pathlib import Path

import llama_cpp
import numpy as np

TARGET = Path(__file__).parents[1] / "data" / "golden" / "smollm2_activations.npz"
TEXT = b"When Mary and John went to the store"
LAYERS = (0, 14, 29)
# llama.cpp's name of a tensor, how often it has been given before in a layer, and ours
NAMES = {
    ("attn_norm", 0): "attn_norm",
    ("Qcur", 0): "q",
    ("Kcur", 0): "k",
    ("Vcur", 0): "v",
    ("Qcur", 2): "q_rope",
    ("Kcur", 2): "k_rope",
    ("kq_soft_max", 0): "attn_probs",
    ("kqv_out", 0): "attn_heads",
    ("attn_out", 0): "attn_out",
    ("ffn_inp", 0): "resid_mid",
    ("ffn_norm", 0): "ffn_norm",
    ("ffn_out", 0): "ffn_out",
    ("l_out", 0): "resid_post",
}


class Tensor(ctypes.Structure):
    """The beginning of `struct ggml_tensor`."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * 4),
        ("nb", ctypes.c_size_t * 4),
    ]


ggml = ctypes.CDLL(str(next(Path(llama_cpp.__file__).parent.glob("lib/libggml-base.so"))))
ggml.ggml_get_name.restype = ctypes.c_char_p
ggml.ggml_nbytes.restype = ctypes.c_size_t
ggml.ggml_get_name.argtypes = ggml.ggml_nbytes.argtypes = [ctypes.c_void_p]
ggml.ggml_backend_tensor_get.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]


def values(address: int) -> np.ndarray:
    """A float32 tensor with its dimensions in NumPy's order."""
    tensor = ctypes.cast(address, ctypes.POINTER(Tensor)).contents
    if tensor.type != 0:
        raise SystemExit(f"{ggml.ggml_get_name(address)} is not float32")
    raw = np.empty(ggml.ggml_nbytes(address), np.uint8)
    ggml.ggml_backend_tensor_get(address, raw.ctypes.data, 0, raw.nbytes)
    shape, strides = tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
    return np.ndarray(shape, np.float32, raw, strides=strides).copy()


def main(path: str) -> None:
    found: dict[str, np.ndarray] = {}
    seen: dict[str, int] = {}

    def callback(address: int, ask: bool, data: int) -> bool:
        full = ggml.ggml_get_name(address).decode()
        name, _, layer = full.rpartition("-")
        if ask:
            return True
        number = seen.get(full, 0)
        seen[full] = number + 1
        if full == "result_norm":
            found["output_norm"] = values(address)
        elif layer.isdigit() and int(layer) in LAYERS and (name, number) in NAMES:
            found[f"blk.{layer}.{NAMES[name, number]}"] = values(address)
        return True

    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_threads, params.n_threads_batch = 64, 1, 1
    params.flash_attn_type = params.type_k = params.type_v = 0
    params.cb_eval = llama_cpp.ggml_backend_sched_eval_callback(callback)
    context = llama_cpp.llama_init_from_model(model, params)
    ids = (llama_cpp.llama_token * 64)()
    n = llama_cpp.llama_tokenize(
        llama_cpp.llama_model_get_vocab(model), TEXT, len(TEXT), ids, 64, False, False
    )
    batch = llama_cpp.llama_batch_init(n, 0, 1)
    batch.n_tokens = n
    for i in range(n):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = ids[i], i, 1, 1
        batch.seq_id[i][0] = 0
    if llama_cpp.llama_decode(context, batch) != 0:
        raise SystemExit("llama.cpp could not run the model")
    for name, value in found.items():
        if name.endswith("attn_probs"):  # (1, n_heads, n, padded n)
            found[name] = value[0, :, :n, :n].transpose(1, 0, 2)
        elif name.endswith((".q", ".k", ".v", "_rope")):  # (1, n, n_heads, head_dim), or (1, 1, n, width)
            found[name] = value.reshape(n, -1)
        else:
            found[name] = value.reshape(-1, value.shape[-1])
    arrays = {name: value.astype(np.float16) for name, value in found.items()}
    np.savez_compressed(TARGET, ids=np.array(ids[:n], np.int32), **arrays)
    for name, value in found.items():
        print(name, value.shape, f"{np.abs(value).max():.3g}")
    print(TARGET, TARGET.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1])
