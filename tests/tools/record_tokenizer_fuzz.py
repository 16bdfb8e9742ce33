"""Records what llama.cpp makes of the texts of `tokenizer_fuzz.py`: checksums of ids, and the ids that end.

    python tests/tools/record_tokenizer_fuzz.py VOCABULARY.gguf...

in an environment with llama-cpp-python, adds to `tests/data/golden/tokenizer_fuzz.npz` or replaces what
is there.
"""

import ctypes
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "models"))

import llama_cpp
import numpy as np
import tokenizer_fuzz


def main() -> None:
    recorded = dict(np.load(tokenizer_fuzz.RECORD)) if tokenizer_fuzz.RECORD.exists() else {}
    for path in map(Path, sys.argv[1:]):
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = True
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if model is None:
            sys.exit(f"{path}: llama.cpp does not load it")
        vocab = llama_cpp.llama_model_get_vocab(model)
        name = tokenizer_fuzz.name_of(path)
        ids = [encode(vocab, *case) for case in tokenizer_fuzz.cases()]
        recorded[name] = np.array([tokenizer_fuzz.checksum(some) for some in ids], np.uint32)
        all_ids = range(llama_cpp.llama_vocab_n_tokens(vocab))
        ends = [id_ for id_ in all_ids if llama_cpp.llama_vocab_is_eog(vocab, id_)]
        recorded[f"{name} ends"] = np.array(ends, np.int32)
        llama_cpp.llama_model_free(model)
    np.savez_compressed(tokenizer_fuzz.RECORD, **recorded)


def encode(vocab: ctypes.c_void_p, text: str, add_special: bool, parse_special: bool) -> list[int]:
    raw = text.encode()
    size = len(raw) + 8
    ids = (llama_cpp.llama_token * size)()
    n_ids = llama_cpp.llama_tokenize(vocab, raw, len(raw), ids, size, add_special, parse_special)
    if n_ids < 0:
        sys.exit(f"{-n_ids} ids for {len(raw)} bytes")
    return ids[:n_ids]


if __name__ == "__main__":
    main()
