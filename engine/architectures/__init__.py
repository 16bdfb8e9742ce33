"""The architectures that nybble runs, by their GGUF name."""

from .arcee import ARCEE
from .architecture import Architecture
from .arctic import ARCTIC
from .baichuan import BAICHUAN, REFACT, XVERSE
from .bitnet import BITNET
from .bloom import BLOOM, MPT
from .chatglm import CHATGLM
from .cogvlm import COGVLM
from .command_r import COHERE2, COMMAND_R
from .dbrx import DBRX
from .deepseek import DEEPSEEK, DEEPSEEK2_OCR
from .deepseek2 import DEEPSEEK2, MISTRAL4
from .exaone import EXAONE
from .exaone4 import EXAONE4
from .falcon import FALCON
from .gemma import GEMMA, GEMMA2
from .gemma3 import GEMMA3
from .gemma4 import GEMMA4
from .glm4 import GLM4
from .glm4moe import GLM4MOE
from .gpt2 import GPT2, STARCODER
from .gpt_oss import GPT_OSS
from .gptneox import GPTNEOX
from .granite import GRANITE, GRANITEMOE, MINICPM
from .granitehybrid import GRANITEHYBRID
from .hrm_text import HRM_TEXT
from .internlm2 import ERNIE4_5, ERNIE4_5_MOE, INTERNLM2
from .lfm2 import LFM2, LFM2MOE
from .llama import LLAMA, MISTRAL3
from .llama4 import LLAMA4
from .maincoder import MAINCODER
from .mamba2 import MAMBA2
from .minimax_01 import MINIMAX_01
from .muse_glimmer import MUSE_GLIMMER
from .nemotron_h import NEMOTRON_H, NEMOTRON_H_MOE
from .olmo2 import OLMO2
from .olmoe import MINIMAX_M2, OLMOE
from .orion import JAIS, ORION
from .phi2 import PHI2
from .phi3 import PHI3
from .plamo import PLAMO
from .qwen2 import QWEN, QWEN2, QWEN2MOE, QWEN2VL
from .qwen3 import QWEN3, QWEN3MOE, QWEN3VL, QWEN3VLMOE
from .qwen3next import QWEN3NEXT
from .qwen35 import QWEN35, QWEN35MOE
from .seed_oss import SEED_OSS
from .smollm3 import SMOLLM3
from .stablelm import STABLELM
from .starcoder2 import CODESHELL, JAIS2, NEMOTRON, STARCODER2

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        ARCEE,
        ARCTIC,
        BAICHUAN,
        BITNET,
        BLOOM,
        CHATGLM,
        CODESHELL,
        COGVLM,
        COHERE2,
        COMMAND_R,
        DBRX,
        DEEPSEEK,
        DEEPSEEK2,
        DEEPSEEK2_OCR,
        ERNIE4_5,
        ERNIE4_5_MOE,
        EXAONE,
        EXAONE4,
        FALCON,
        GEMMA,
        GEMMA2,
        GEMMA3,
        GEMMA4,
        GLM4,
        GLM4MOE,
        GPT2,
        GPTNEOX,
        GPT_OSS,
        GRANITE,
        GRANITEHYBRID,
        GRANITEMOE,
        HRM_TEXT,
        INTERNLM2,
        JAIS,
        JAIS2,
        LFM2,
        LFM2MOE,
        LLAMA,
        LLAMA4,
        MAINCODER,
        MAMBA2,
        MINICPM,
        MINIMAX_01,
        MINIMAX_M2,
        MISTRAL3,
        MISTRAL4,
        MPT,
        MUSE_GLIMMER,
        NEMOTRON,
        NEMOTRON_H,
        NEMOTRON_H_MOE,
        OLMO2,
        OLMOE,
        ORION,
        PHI2,
        PHI3,
        PLAMO,
        QWEN,
        QWEN2,
        QWEN2MOE,
        QWEN2VL,
        QWEN3,
        QWEN35,
        QWEN35MOE,
        QWEN3MOE,
        QWEN3NEXT,
        QWEN3VL,
        QWEN3VLMOE,
        REFACT,
        SEED_OSS,
        SMOLLM3,
        STABLELM,
        STARCODER,
        STARCODER2,
        XVERSE,
    )
}
