"""The architectures that nybble runs, by their GGUF name."""

from .architecture import Architecture
from .gemma import GEMMA, GEMMA2
from .gemma3 import GEMMA3
from .granite import GRANITE, GRANITEMOE, MINICPM
from .internlm2 import ERNIE4_5, ERNIE4_5_MOE, INTERNLM2
from .llama import LLAMA, MISTRAL3
from .olmo2 import OLMO2
from .phi3 import PHI3
from .qwen2 import QWEN2, QWEN2MOE
from .qwen3 import QWEN3, QWEN3MOE, QWEN3VL, QWEN3VLMOE
from .smollm3 import SMOLLM3

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        ERNIE4_5,
        ERNIE4_5_MOE,
        GEMMA,
        GEMMA2,
        GEMMA3,
        GRANITE,
        GRANITEMOE,
        INTERNLM2,
        LLAMA,
        MINICPM,
        MISTRAL3,
        OLMO2,
        PHI3,
        QWEN2,
        QWEN2MOE,
        QWEN3,
        QWEN3MOE,
        QWEN3VL,
        QWEN3VLMOE,
        SMOLLM3,
    )
}
