"""Records a fixture for `architecture_fixtures.py` with llama.cpp (needs llama-cpp-python and gguf).

    python tests/tools/record_architecture.py NAME MODEL.gguf [--embeddings] [KEY=VALUE ...]

With --embeddings those are recorded instead of logits, which encoders do not have. Metadata and shapes are
those of MODEL.gguf, a tiny model (its weights do not matter), with some keys changed; KEY= takes a key away,
and spread.attn_q_norm=0.3 makes those weights smaller. The names of buffers are recorded by `python
tests/tools/record_architecture.py NAME` alone.
"""

import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "models"))

import architecture_fixtures
import gguf
import numpy as np

N_IDS, EVERY = 48, 3


def described(path: str, changes: dict[str, str]) -> dict[str, Any]:
    """Metadata and shapes of a model."""
    reader = gguf.GGUFReader(path)
    metadata: dict[str, list[Any]] = {}
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or changes.get(key) == "":
            continue
        kind, value = field.types[0].name, field.contents()
        if kind == "ARRAY":
            if len(value) > 64:  # an array of one value for each possible layer
                continue
            kind = f"ARRAY {field.types[-1].name}"
        metadata[key] = [kind, value]
    for key, text in changes.items():
        if text:
            value = json.loads(text)
            kinds = {float: "FLOAT32", int: "UINT32", str: "STRING", bool: "BOOL"}
            metadata[key] = [metadata[key][0] if key in metadata else kinds[type(value)], value]
    spread = {key.removeprefix("spread."): metadata.pop(key)[1] for key in [*metadata] if "spread." in key}
    tensors = {tensor.name: [int(size) for size in tensor.shape[::-1]] for tensor in reader.tensors}
    made = {"metadata": metadata, "tensors": tensors}
    return made | ({"spread": spread} if spread else {})


def llama_cpp_logits(path: str, ids: np.ndarray) -> np.ndarray:
    """The logits (n, n_vocab) after each of `ids`, with a float32 cache."""
    llama_cpp, model, context = run_llama_cpp(path, ids)
    n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    rows = [llama_cpp.llama_get_logits_ith(context, i) for i in range(len(ids))]
    return np.stack([np.ctypeslib.as_array(row, (n_vocab,)).copy() for row in rows])


def llama_cpp_embeddings(path: str, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The embedding of each of `ids`, (n, n_embd), and what the model makes of all: its pooled embedding
    (n_embd,) or scores (n_classes,)."""
    llama_cpp, model, context = run_llama_cpp(path, ids, embeddings=True, pooling_type=0)
    n_embd = llama_cpp.llama_model_n_embd(model)
    rows = [llama_cpp.llama_get_embeddings_ith(context, i) for i in range(len(ids))]
    rows = [np.ctypeslib.as_array(row, (n_embd,)).copy() for row in rows]
    llama_cpp, model, context = run_llama_cpp(path, ids, embeddings=True)
    is_rank = llama_cpp.llama_pooling_type(context) == llama_cpp.LLAMA_POOLING_TYPE_RANK
    width = llama_cpp.llama_model_n_cls_out(model) if is_rank else n_embd
    pooled = np.ctypeslib.as_array(llama_cpp.llama_get_embeddings_seq(context, 0), (width,))
    return np.stack(rows), pooled.copy()


def run_llama_cpp(path: str, ids: np.ndarray, **options: int) -> tuple[Any, Any, Any]:
    """llama_cpp, the model and the context in which `ids` have been run."""
    import llama_cpp

    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise SystemExit(f"llama.cpp cannot load {path}")
    context_params = llama_cpp.llama_context_default_params()
    context_params.n_ctx, context_params.n_threads, context_params.n_threads_batch = 64, 1, 1
    context_params.flash_attn_type = context_params.type_k = context_params.type_v = 0
    context_params.kv_unified = True
    for name, value in options.items():
        setattr(context_params, name, value)
    context = llama_cpp.llama_init_from_model(model, context_params)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for i, token in enumerate(ids):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = int(token), i, 1, 1
        batch.seq_id[i][0] = 0
    if llama_cpp.llama_decode(context, batch) != 0:
        raise SystemExit("llama.cpp could not run the model")
    return llama_cpp, model, context


def block_buffers(path: Path) -> list[str]:
    """The names of the buffers of each block, as nybble has them."""
    from nybble.engine.model import Model

    model = Model.load(path)
    blocks: dict[int, list[str]] = {}
    for name in model.plan.buffers:
        if match := re.match(r"blk\.(\d+)\.(.*)", name):
            blocks.setdefault(int(match[1]), []).append(match[2])
    model.close()
    return [" ".join(blocks[layer]) for layer in sorted(blocks)]


def main(name: str, source: str = "", *changes: str) -> None:
    target = architecture_fixtures.FOLDER / f"{name}.json"
    if source:
        made = described(source, dict(change.split("=", 1) for change in changes if "=" in change))
    else:
        made = architecture_fixtures.description(name)
    with TemporaryDirectory() as folder:
        path = architecture_fixtures.write(Path(folder) / "model.gguf", made)
        if source:
            matrices = (made["tensors"].get(f"{name}.weight") for name in ("token_embd", "output"))
            n_vocab = next(shape[0] for shape in matrices if shape)
            ids = np.random.default_rng(5).integers(0, n_vocab, N_IDS).astype(np.int32)
            rows = np.arange(EVERY - 1, N_IDS, EVERY)
            found = {}
            if any(key.endswith(".pooling_type") for key in made["metadata"]):
                found["pooled"] = llama_cpp_embeddings(str(path), ids)[1]
            if "--embeddings" in changes:
                bare = {name: s for name, s in made["tensors"].items() if not name.startswith("dense_")}
                plain = architecture_fixtures.write(Path(folder) / "plain.gguf", {**made, "tensors": bare})
                outputs = llama_cpp_embeddings(str(plain), ids)[0]
            else:
                outputs = llama_cpp_logits(str(path), ids)
            print(f"{name}: outputs deviate by {outputs.std():.3f}")
            found |= {"ids": ids, "rows": rows, "logits": outputs[rows]}
            np.savez_compressed(target.with_suffix(".npz"), **found)
        else:
            made["blocks"] = block_buffers(path)
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in made.items()]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
