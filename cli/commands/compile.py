"""Compiles the kernels that a model needs on this machine, so that its first start is fast: when the image of
a container is built, say.

They are kept in $NYBBLE_CACHE, or where this user's caches are; machines with the same processor find them.
They are those of all that an LLM does, generate, embed, trace and edit; `nybble bench` has one more of its
own, which measures memory.
The model is loaded for a moment and runs two tokens.  The exit code is 1 if the kernels cannot be kept.
"""

import argparse

import numpy as np

from ...engine.llm import LLM
from ...errors import NybbleError
from ...kernels.jit.object_cache import can_keep, compile_log, object_folder
from ...kernels.sampling.compiled import compiled_sampling
from ..options.engine import add_cache_type_option, add_weights_option


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL")
    add_weights_option(parser, "what it will be run with: mapped weights have kernels of their own")
    add_cache_type_option(parser, "what it will be run with: each type has kernels of its own (f16)")


def run(args: argparse.Namespace) -> None:
    with LLM(args.model, weights=args.weights, cache_type=args.cache_type) as llm:
        llm.sequence([0]).run()
        compiled_sampling()
        probs = [name for name in llm.activations if name.endswith(".attn_probs")]
        llm.trace([0], edit=dict.fromkeys(probs[:1], lambda value, info: np.zeros_like(value)), logits=None)
    if compile_log.n_compiled and not can_keep():
        raise NybbleError(
            f"{compile_log.n_compiled} kernels were compiled, but cannot be kept;"
            " set NYBBLE_CACHE to a folder that can be written to"
        )
    print(
        f"{compile_log.n_linked} kernels are in {object_folder()};"
        f" {compile_log.n_compiled} of them were compiled now, in {compile_log.seconds:.1f} s"
    )
