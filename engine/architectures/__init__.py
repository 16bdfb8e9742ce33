"""The architectures that nybble runs, by their GGUF name."""

from .architecture import Architecture
from .bitnet import BITNET
from .bloom import BLOOM, MPT
from .command_r import COHERE2, COMMAND_R
from .deepseek2 import DEEPSEEK2
from .exaone4 import EXAONE4
from .falcon import FALCON
from .gemma import GEMMA, GEMMA2
from .gemma3 import GEMMA3
from .glm4 import GLM4
from .glm4moe import GLM4MOE
from .gpt2 import GPT2
from .gpt_oss import GPT_OSS
from .gptneox import GPTNEOX
from .granite import GRANITE, GRANITEMOE, MINICPM
from .granitehybrid import GRANITEHYBRID
from .internlm2 import ERNIE4_5, ERNIE4_5_MOE, INTERNLM2
from .lfm2 import LFM2, LFM2MOE
from .llama import LLAMA, MISTRAL3
from .llama4 import LLAMA4
from .mamba2 import MAMBA2
from .nemotron_h import NEMOTRON_H, NEMOTRON_H_MOE
from .olmo2 import OLMO2
from .olmoe import MINIMAX_M2, OLMOE
from .phi2 import PHI2
from .phi3 import PHI3
from .qwen2 import QWEN2, QWEN2MOE
from .qwen3 import QWEN3, QWEN3MOE, QWEN3VL, QWEN3VLMOE
from .qwen3next import QWEN3NEXT
from .qwen35 import QWEN35, QWEN35MOE
from .smollm3 import SMOLLM3
from .stablelm import STABLELM
from .starcoder2 import NEMOTRON, STARCODER2

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        BITNET,
        BLOOM,
        COHERE2,
        COMMAND_R,
        DEEPSEEK2,
        ERNIE4_5,
        ERNIE4_5_MOE,
        EXAONE4,
        FALCON,
        GEMMA,
        GEMMA2,
        GEMMA3,
        GLM4,
        GLM4MOE,
        GPT2,
        GPTNEOX,
        GPT_OSS,
        GRANITE,
        GRANITEHYBRID,
        GRANITEMOE,
        INTERNLM2,
        LFM2,
        LFM2MOE,
        LLAMA,
        LLAMA4,
        MAMBA2,
        MINIMAX_M2,
        MINICPM,
        MISTRAL3,
        MPT,
        NEMOTRON,
        NEMOTRON_H,
        NEMOTRON_H_MOE,
        OLMO2,
        OLMOE,
        PHI2,
        PHI3,
        QWEN2,
        QWEN2MOE,
        QWEN3,
        QWEN35,
        QWEN35MOE,
        QWEN3MOE,
        QWEN3NEXT,
        QWEN3VL,
        QWEN3VLMOE,
        SMOLLM3,
        STABLELM,
        STARCODER2,
    )
}
