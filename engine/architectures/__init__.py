"""The architectures that nybble runs, by their GGUF name."""

from collections.abc import Iterator, MutableMapping
from importlib import import_module

from .parts.architecture import Architecture

FILES = {
    "afmoe": "afmoe",
    "apertus": "apertus",
    "arcee": "arcee",
    "arctic": "arctic",
    "baichuan": "baichuan refact xverse",
    "bailingmoe3": "bailingmoe3",
    "bert": "bert jina-bert-v3 nomic-bert nomic-bert-moe",
    "bitnet": "bitnet",
    "bloom": "bloom mpt",
    "chatglm": "chatglm",
    "cogvlm": "cogvlm",
    "cohere2moe": "cohere2moe",
    "command_r": "cohere2 command-r",
    "dbrx": "dbrx",
    "deci": "deci",
    "deepseek": "deepseek deepseek2-ocr",
    "deepseek2": "deepseek2 mistral4",
    "deepseek32": "deepseek32 dots3note glm-dsa",
    "dots1": "bailingmoe bailingmoe2 dots1 hy_v3",
    "dream": "dream llada llada-moe rnd1",
    "eurobert": "eurobert neo-bert",
    "exaone": "exaone",
    "exaone4": "exaone4",
    "exaone_moe": "exaone-moe",
    "falcon": "falcon",
    "falcon_h1": "falcon-h1",
    "gemma": "gemma gemma2",
    "gemma3": "gemma3",
    "gemma3n": "gemma3n",
    "gemma4": "gemma4",
    "gemma_embedding": "gemma-embedding",
    "glm4": "glm4",
    "glm4moe": "glm4moe",
    "gpt2": "gpt2 starcoder",
    "gpt_oss": "gpt-oss",
    "gptneox": "gptneox",
    "granite": "granite granite_swa granitemoe minicpm",
    "granitehybrid": "granitehybrid",
    "grok": "grok",
    "grovemoe": "grovemoe",
    "hrm_text": "hrm_text",
    "hunyuan": "hunyuan-dense hunyuan-moe hunyuan_vl",
    "hy_v4": "hy_v4",
    "internlm2": "ernie4_5 ernie4_5-moe internlm2 paddleocr",
    "jamba": "jamba",
    "jina_bert_v2": "jina-bert-v2",
    "kimi_k3": "kimi-k3",
    "kimi_linear": "kimi-linear",
    "laguna": "laguna spark2_5",
    "lfm2": "lfm2 lfm2moe",
    "llama": "llama llama-embed mistral3",
    "llama4": "llama4",
    "maincoder": "maincoder",
    "mamba": "mamba",
    "mamba2": "mamba2",
    "mellum": "maple mellum",
    "mimo2": "mimo2 step35",
    "minicpm3": "minicpm3 plm",
    "minimax_01": "minimax-01",
    "minimax_m3": "minimax-m3",
    "modern_bert": "modern-bert",
    "muse_glimmer": "muse-glimmer",
    "nanbeige": "nanbeige",
    "nemotron_h": "nemotron_h nemotron_h_moe",
    "olmo": "olmo",
    "olmo2": "olmo2",
    "olmoe": "minimax-m2 olmoe",
    "openelm": "openelm",
    "orion": "jais orion",
    "phi2": "phi2",
    "phi3": "phi3",
    "phimoe": "phimoe",
    "plamo": "plamo",
    "plamo2": "plamo2",
    "plamo3": "plamo3",
    "qwen2": "pangu-embedded qwen qwen2 qwen2moe qwen2vl",
    "qwen3": "qwen3 qwen3moe qwen3tts qwen3vl qwen3vlmoe",
    "qwen35": "qwen35 qwen35moe",
    "qwen3next": "qwen3next",
    "rwkv6": "rwkv6 rwkv6qwen2",
    "rwkv7": "arwkv7 rwkv7",
    "seed_oss": "seed_oss",
    "smallthinker": "smallthinker",
    "smollm3": "smollm3",
    "stablelm": "stablelm",
    "starcoder2": "codeshell jais2 nemotron pockettts starcoder2",
    "talkie": "talkie",
}
"""The files here, and the architectures in each; the record of `command-r` is called `COMMAND_R`."""


class _Architectures(MutableMapping[str, Architecture]):
    """Imports a file when one of its architectures is first asked for, since a program runs one or two."""

    def __init__(self) -> None:
        self._file_of = {name: file for file, names in FILES.items() for name in names.split()}
        self._found: dict[str, Architecture | None] = dict.fromkeys(sorted(self._file_of))

    def __getitem__(self, name: str) -> Architecture:
        found = self._found[name]
        if found is None:
            module = import_module(f".{self._file_of[name]}", __name__)
            found = self._found[name] = getattr(module, name.upper().replace("-", "_"))
        return found

    def __setitem__(self, name: str, architecture: Architecture) -> None:
        self._found[name] = architecture

    def __delitem__(self, name: str) -> None:
        del self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


ARCHITECTURES: MutableMapping[str, Architecture] = _Architectures()
