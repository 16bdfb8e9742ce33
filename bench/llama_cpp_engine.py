"""llama.cpp through its C interface: no Python of llama-cpp-python is in the way (extra `rivals`)."""

import ctypes

import llama_cpp
import numpy as np


class LlamaCppEngine:
    """A loaded model and up to `n_seq_max` sequences, with llama.cpp's defaults but for what is given.

    `repack=False`: without its repacked weights and AMX code.
    """

    def __init__(
        self, model: str, n_ctx: int, n_threads: int, repack: bool = True, n_seq_max: int = 1
    ) -> None:
        self._quiet = llama_cpp.llama_log_callback(lambda level, text, user_data: None)  # keep it alive
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        model_params = llama_cpp.llama_model_default_params()
        model_params.n_gpu_layers = 0
        model_params.use_extra_bufts = repack
        loaded = llama_cpp.llama_model_load_from_file(model.encode(), model_params)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = params.n_batch = n_ctx
        params.n_ubatch = min(512, n_ctx)
        params.n_threads = params.n_threads_batch = n_threads
        params.n_seq_max = n_seq_max
        self.n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(loaded))
        self._context = llama_cpp.llama_init_from_model(loaded, params)

    def decode(self, ids: np.ndarray) -> None:
        """Continues the sequence by these tokens, and waits until the last one's logits are there."""
        tokens = (llama_cpp.llama_token * len(ids))(*ids)
        if llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(tokens, len(ids))):
            raise RuntimeError("llama_decode failed")
        llama_cpp.llama_get_logits_ith(self._context, -1)

    def decode_several(self, tokens: list[tuple[int, int, int]], wanted: list[int] | None = None) -> None:
        """Runs tokens (sequence, position, id) side by side, and waits for the logits of those whose numbers
        are wanted, by default all."""
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, (sequence, position, token) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, position, 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = wanted is None or i in wanted
        failed = llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_batch_free(batch)
        if failed:
            raise RuntimeError(f"llama_decode failed: {failed}")
        llama_cpp.llama_get_logits_ith(self._context, -1)

    def truncate(self, sequence: int, n_positions: int) -> None:
        """Forgets what a sequence holds from a position on."""
        memory = llama_cpp.llama_get_memory(self._context)
        llama_cpp.llama_memory_seq_rm(memory, sequence, n_positions, -1)

    def clear(self) -> None:
        """Begins a new sequence."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
