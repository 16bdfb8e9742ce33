"""`granitehybrid`: Granite 4 H.

The graph of `granite`; most layers have a Mamba-2 mixer in place of attention: those without key heads.

Sources: IBM 2025, "Granite 4.0"; llama.cpp `src/models/granite-hybrid.cpp`.
"""

from ..config.keys import HEAD_COUNTS, SSM
from . import granite
from .mamba2 import mixer_tensors
from .parts import Architecture, tensors

INERT = {"attention.recurrent_layers": "follows from attention.head_count_kv"}

KEYS = granite.KEYS | SSM | HEAD_COUNTS

TENSORS = {
    **granite.TENSORS,
    **tensors.attention(when="has_attention"),
    **mixer_tensors(when="is_recurrent"),
}

GRANITEHYBRID = Architecture("granitehybrid", TENSORS, granite.build, KEYS, INERT)
