"""The architectures that nybble runs, by their GGUF name."""

from .afmoe import AFMOE
from .apertus import APERTUS
from .arcee import ARCEE
from .architecture import Architecture
from .arctic import ARCTIC
from .baichuan import BAICHUAN, REFACT, XVERSE
from .bailingmoe3 import BAILINGMOE3
from .bert import BERT, JINA_BERT_V3, NOMIC_BERT, NOMIC_BERT_MOE
from .bitnet import BITNET
from .bloom import BLOOM, MPT
from .chatglm import CHATGLM
from .cogvlm import COGVLM
from .cohere2moe import COHERE2MOE
from .command_r import COHERE2, COMMAND_R
from .dbrx import DBRX
from .deci import DECI
from .deepseek import DEEPSEEK, DEEPSEEK2_OCR
from .deepseek2 import DEEPSEEK2, MISTRAL4
from .deepseek32 import DEEPSEEK32, DOTS3NOTE, GLM_DSA
from .dots1 import BAILINGMOE, BAILINGMOE2, DOTS1, HY_V3
from .dream import DREAM, LLADA, LLADA_MOE, RND1
from .eurobert import EUROBERT, NEO_BERT
from .exaone import EXAONE
from .exaone4 import EXAONE4
from .exaone_moe import EXAONE_MOE
from .falcon import FALCON
from .falcon_h1 import FALCON_H1
from .gemma import GEMMA, GEMMA2
from .gemma3 import GEMMA3
from .gemma3n import GEMMA3N
from .gemma4 import GEMMA4
from .gemma_embedding import GEMMA_EMBEDDING
from .glm4 import GLM4
from .glm4moe import GLM4MOE
from .gpt2 import GPT2, STARCODER
from .gpt_oss import GPT_OSS
from .gptneox import GPTNEOX
from .granite import GRANITE, GRANITE_SWA, GRANITEMOE, MINICPM
from .granitehybrid import GRANITEHYBRID
from .grok import GROK
from .grovemoe import GROVEMOE
from .hrm_text import HRM_TEXT
from .hunyuan import HUNYUAN_DENSE, HUNYUAN_MOE, HUNYUAN_VL
from .hy_v4 import HY_V4
from .internlm2 import ERNIE4_5, ERNIE4_5_MOE, INTERNLM2, PADDLEOCR
from .jamba import JAMBA
from .jina_bert_v2 import JINA_BERT_V2
from .kimi_k3 import KIMI_K3
from .kimi_linear import KIMI_LINEAR
from .laguna import LAGUNA, SPARK2_5
from .lfm2 import LFM2, LFM2MOE
from .llama import LLAMA, LLAMA_EMBED, MISTRAL3
from .llama4 import LLAMA4
from .maincoder import MAINCODER
from .mamba import MAMBA
from .mamba2 import MAMBA2
from .mellum import MAPLE, MELLUM
from .mimo2 import MIMO2, STEP35
from .minicpm3 import MINICPM3, PLM
from .minimax_01 import MINIMAX_01
from .minimax_m3 import MINIMAX_M3
from .modern_bert import MODERN_BERT
from .muse_glimmer import MUSE_GLIMMER
from .nanbeige import NANBEIGE
from .nemotron_h import NEMOTRON_H, NEMOTRON_H_MOE
from .olmo import OLMO
from .olmo2 import OLMO2
from .olmoe import MINIMAX_M2, OLMOE
from .openelm import OPENELM
from .orion import JAIS, ORION
from .phi2 import PHI2
from .phi3 import PHI3
from .phimoe import PHIMOE
from .plamo import PLAMO
from .plamo2 import PLAMO2
from .plamo3 import PLAMO3
from .qwen2 import PANGU_EMBEDDED, QWEN, QWEN2, QWEN2MOE, QWEN2VL
from .qwen3 import QWEN3, QWEN3MOE, QWEN3TTS, QWEN3VL, QWEN3VLMOE
from .qwen3next import QWEN3NEXT
from .qwen35 import QWEN35, QWEN35MOE
from .rwkv6 import RWKV6, RWKV6QWEN2
from .rwkv7 import ARWKV7, RWKV7
from .seed_oss import SEED_OSS
from .smallthinker import SMALLTHINKER
from .smollm3 import SMOLLM3
from .stablelm import STABLELM
from .starcoder2 import CODESHELL, JAIS2, NEMOTRON, POCKETTTS, STARCODER2
from .talkie import TALKIE

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        AFMOE,
        APERTUS,
        ARCEE,
        ARCTIC,
        ARWKV7,
        BAICHUAN,
        BAILINGMOE,
        BAILINGMOE2,
        BAILINGMOE3,
        BERT,
        BITNET,
        BLOOM,
        CHATGLM,
        CODESHELL,
        COGVLM,
        COHERE2,
        COHERE2MOE,
        COMMAND_R,
        DBRX,
        DECI,
        DEEPSEEK,
        DEEPSEEK2,
        DEEPSEEK2_OCR,
        DEEPSEEK32,
        DOTS1,
        DOTS3NOTE,
        DREAM,
        ERNIE4_5,
        ERNIE4_5_MOE,
        EUROBERT,
        EXAONE,
        EXAONE4,
        EXAONE_MOE,
        FALCON,
        FALCON_H1,
        GEMMA,
        GEMMA2,
        GEMMA3,
        GEMMA3N,
        GEMMA4,
        GEMMA_EMBEDDING,
        GLM4,
        GLM4MOE,
        GLM_DSA,
        GPT2,
        GPTNEOX,
        GPT_OSS,
        GRANITE,
        GRANITEHYBRID,
        GRANITEMOE,
        GRANITE_SWA,
        GROK,
        GROVEMOE,
        HRM_TEXT,
        HUNYUAN_DENSE,
        HUNYUAN_MOE,
        HUNYUAN_VL,
        HY_V3,
        HY_V4,
        INTERNLM2,
        JAIS,
        JAIS2,
        JAMBA,
        JINA_BERT_V2,
        JINA_BERT_V3,
        KIMI_K3,
        KIMI_LINEAR,
        LAGUNA,
        LFM2,
        LFM2MOE,
        LLADA,
        LLADA_MOE,
        LLAMA,
        LLAMA4,
        LLAMA_EMBED,
        MAINCODER,
        MAMBA,
        MAMBA2,
        MAPLE,
        MELLUM,
        MIMO2,
        MINICPM,
        MINICPM3,
        MINIMAX_01,
        MINIMAX_M2,
        MINIMAX_M3,
        MISTRAL3,
        MISTRAL4,
        MODERN_BERT,
        MPT,
        MUSE_GLIMMER,
        NANBEIGE,
        NEMOTRON,
        NEMOTRON_H,
        NEMOTRON_H_MOE,
        NEO_BERT,
        NOMIC_BERT,
        NOMIC_BERT_MOE,
        OLMO,
        OLMO2,
        OLMOE,
        OPENELM,
        ORION,
        PADDLEOCR,
        PANGU_EMBEDDED,
        PHI2,
        PHI3,
        PHIMOE,
        PLAMO,
        PLAMO2,
        PLAMO3,
        PLM,
        POCKETTTS,
        QWEN,
        QWEN2,
        QWEN2MOE,
        QWEN2VL,
        QWEN3,
        QWEN35,
        QWEN35MOE,
        QWEN3MOE,
        QWEN3NEXT,
        QWEN3TTS,
        QWEN3VL,
        QWEN3VLMOE,
        REFACT,
        RND1,
        RWKV6,
        RWKV6QWEN2,
        RWKV7,
        SEED_OSS,
        SMALLTHINKER,
        SMOLLM3,
        SPARK2_5,
        STABLELM,
        STARCODER,
        STARCODER2,
        STEP35,
        TALKIE,
        XVERSE,
    )
}
