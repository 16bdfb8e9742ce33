"""The architectures that nybble runs, by their GGUF name."""

from .architecture import Architecture
from .gemma3 import GEMMA3
from .llama import LLAMA, MISTRAL3

ARCHITECTURES: dict[str, Architecture] = {
    architecture.name: architecture for architecture in (GEMMA3, LLAMA, MISTRAL3)
}
