"""nybble: runs GGUF language models on the CPU in Python, NumPy and Numba alone.

    import nybble

    llm = nybble.LLM("smollm2")
    print(llm.generate("The capital of France is", nybble.SamplingParams(max_tokens=32)).text)

This front door is lazy: a name is imported from its home when it is first used, so `import nybble` costs
nothing, and reading a file does not load the tokenizers or compile a kernel.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine.answers.chat_output import ChatOutput
    from .engine.answers.chat_request import ChatRequest
    from .engine.architectures.parts.architecture import Architecture
    from .engine.architectures.registry import register_architecture
    from .engine.backend import Backend
    from .engine.chat.message import ChatDelta, ChatMessage, ToolCall
    from .engine.chat.template import RenderedChat
    from .engine.generation.logprobs import TokenLogprob
    from .engine.generation.output import Output, Timings
    from .engine.generation.piece import Piece
    from .engine.generation.prompt import Prompt
    from .engine.generation.request import Request
    from .engine.generation.sequence import Sequence
    from .engine.hooks.taps import Edit, EditInfo, Edits
    from .engine.llm import LLM
    from .engine.model_info import ModelInfo
    from .engine.receipts.receipt import Receipt
    from .engine.receipts.verification import Verification
    from .engine.sampling.params import SamplingParams
    from .engine.scheduler.stats import Stats
    from .engine.scoring.scorer import Score
    from .engine.tracing.trace import Trace
    from .errors import (
        ContextLengthError,
        EngineError,
        GGUFFormatError,
        GGUFUnsupportedError,
        ModelError,
        NybbleError,
        PullError,
        RequestError,
    )
    from .gguf_io.file import GGUFFile, load_gguf
    from .gguf_io.quantize_file import quantize_gguf
    from .gguf_io.writer import write_gguf
    from .hub.models import pull
    from .tokenizer import Tokenizer

    __version__: str

__all__ = [
    "LLM",
    "Architecture",
    "Backend",
    "ChatDelta",
    "ChatMessage",
    "ChatOutput",
    "ChatRequest",
    "ContextLengthError",
    "Edit",
    "EditInfo",
    "Edits",
    "EngineError",
    "GGUFFile",
    "GGUFFormatError",
    "GGUFUnsupportedError",
    "ModelError",
    "ModelInfo",
    "NybbleError",
    "Output",
    "Piece",
    "Prompt",
    "PullError",
    "Receipt",
    "RenderedChat",
    "Request",
    "RequestError",
    "SamplingParams",
    "Score",
    "Sequence",
    "Stats",
    "Timings",
    "TokenLogprob",
    "Tokenizer",
    "ToolCall",
    "Trace",
    "Verification",
    "__version__",
    "load_gguf",
    "pull",
    "quantize_gguf",
    "register_architecture",
    "write_gguf",
]

_HOMES = {
    "Architecture": ".engine.architectures.parts.architecture",
    "Backend": ".engine.backend",
    "ChatDelta": ".engine.chat.message",
    "ChatMessage": ".engine.chat.message",
    "ChatOutput": ".engine.answers.chat_output",
    "ChatRequest": ".engine.answers.chat_request",
    "ContextLengthError": ".errors",
    "Edit": ".engine.hooks.taps",
    "EditInfo": ".engine.hooks.taps",
    "Edits": ".engine.hooks.taps",
    "EngineError": ".errors",
    "GGUFFile": ".gguf_io.file",
    "GGUFFormatError": ".errors",
    "GGUFUnsupportedError": ".errors",
    "LLM": ".engine.llm",
    "ModelError": ".errors",
    "ModelInfo": ".engine.model_info",
    "NybbleError": ".errors",
    "Output": ".engine.generation.output",
    "Piece": ".engine.generation.piece",
    "Prompt": ".engine.generation.prompt",
    "PullError": ".errors",
    "Receipt": ".engine.receipts.receipt",
    "RenderedChat": ".engine.chat.template",
    "Request": ".engine.generation.request",
    "RequestError": ".errors",
    "SamplingParams": ".engine.sampling.params",
    "Score": ".engine.scoring.scorer",
    "Sequence": ".engine.generation.sequence",
    "Stats": ".engine.scheduler.stats",
    "Timings": ".engine.generation.output",
    "TokenLogprob": ".engine.generation.logprobs",
    "Tokenizer": ".tokenizer",
    "ToolCall": ".engine.chat.message",
    "Trace": ".engine.tracing.trace",
    "Verification": ".engine.receipts.verification",
    "load_gguf": ".gguf_io.file",
    "pull": ".hub.models",
    "quantize_gguf": ".gguf_io.quantize_file",
    "register_architecture": ".engine.architectures.registry",
    "write_gguf": ".gguf_io.writer",
}


if not TYPE_CHECKING:  # to a type checker every name would exist

    def __getattr__(name):
        if name == "__version__":
            from importlib.metadata import version

            value = version("nybble")
        elif name in _HOMES:
            value = getattr(import_module(_HOMES[name], __name__), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
