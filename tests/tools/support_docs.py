"""The tables of what nybble runs, in `README.md`, `docs/architectures.md` and `docs/formats.md`.

python tests/tools/support_docs.py        puts them there
"""

import importlib
import inspect
import pkgutil
import re
import sys
from collections import defaultdict
from pathlib import Path

sys.path.extend(str(Path(__file__).parents[1] / folder) for folder in ("cases", "models"))

import architecture_fixtures
from format_oracle import SCALAR

import nybble.engine.architectures as architectures_package
from nybble.engine.architectures import ARCHITECTURES
from nybble.engine.architectures.parts.architecture import Architecture
from nybble.gguf_io.formats import PLAIN, SUPPORTED, BlockFormat
from nybble.gguf_io.mixtures import FILE_TYPES
from nybble.gguf_io.quantize import ENCODERS
from nybble.kernels.linear.mapped import MAPPABLE
from nybble.kernels.weights.floats import ELEMENT_OF
from nybble.kernels.weights.pack import PACKERS
from nybble.tokenizer.pretokenizers import PRETOKENIZERS
from nybble.tokenizer.tokenizer import MODELS

ROOT = Path(__file__).parents[2]
BEGIN, END = "<!-- table: python tests/tools/support_docs.py -->\n", "<!-- end of table -->\n"
_SUBJECT = re.compile(r"(`[^:]*`): (.*?)(?=; `|\.\s|\.$|$)")


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table."""
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---"] * len(head), *rows])


def overview() -> str:
    """One line for each kind of thing."""
    n_fixtures = len(architecture_fixtures.NAMES)
    kinds = ", ".join(f"`{kind}`" for kind in MODELS)
    return markdown(
        ["what", "checked"],
        [
            [
                f"[{len(ARCHITECTURES)} architectures](docs/architectures.md)",
                f"{n_fixtures} small random models, in both executors, whole and in pieces, against"
                " llama.cpp",
            ],
            [
                f"[{len(SUPPORTED)} formats](docs/formats.md), F64 to IQ1_S",
                "dequantized to the bit as by `gguf`, or from ggml's layout where that cannot; products and"
                " whole models in both executors",
            ],
            [
                f"{len(MODELS)} kinds of tokenizers: {kinds}, with {len(PRETOKENIZERS)} pre-tokenizers",
                "the ids of llama.cpp on its own texts and on fuzz; those of the model's own expression where"
                " llama.cpp departs from it",
            ],
        ],
    )


def architectures() -> str:
    """Every architecture, the models that it is for, and what has been compared."""
    fixtures: dict[str, list[str]] = defaultdict(list)
    for name in architecture_fixtures.NAMES:
        fixtures[architecture_fixtures.description(name)["metadata"]["general.architecture"][1]].append(name)
    rows = []
    for name, architecture in sorted(ARCHITECTURES.items()):
        file = _file(architecture)
        link = f"[`{name}`](../engine/architectures/{file.name})"
        rows.append([link, _models(file, name), _compared(fixtures[name], name)])
    return markdown(["architecture", "models", "compared with llama.cpp"], rows)


def _file(architecture: Architecture) -> Path:
    """Where it is defined."""
    for info in pkgutil.iter_modules(architectures_package.__path__):
        module = importlib.import_module(f"{architectures_package.__name__}.{info.name}")
        if any(value is architecture for value in vars(module).values()):
            return Path(inspect.getfile(module))
    raise LookupError(architecture.name)


def _models(file: Path, name: str) -> str:
    """What the first sentence of the file says about the architecture."""
    text = file.read_text(encoding="utf-8").split('"""')[1]
    sentence = " ".join(text.split("\n\n")[0].split())
    return next((models for names, models in _SUBJECT.findall(sentence) if f"`{name}`" in names), "")


def _compared(fixtures: list[str], name: str) -> str:
    """What was recorded of which variants."""
    variants = [fixture.removeprefix(name).strip("-").replace("-", " ") or "plain" for fixture in fixtures]
    is_encoder = architecture_fixtures.pooled(fixtures[0]) is not None
    what = "embeddings, and what is made of all" if is_encoder else "logits"
    return what if variants == ["plain"] else f"{what}: {', '.join(variants)}"


def formats() -> str:
    """Every format, its size, what its values were compared with, and what computes with it."""
    rows = []
    names: dict[BlockFormat, list[str]] = defaultdict(list)
    for file_type in FILE_TYPES.values():
        names[file_type.base].append(file_type.name)
    for format in SUPPORTED:
        bits = 8 * format.block_bytes / format.block_size
        oracle = "ggml's layout" if format.name in SCALAR else "`gguf`"
        written = ", ".join(names[format]) if format in ENCODERS else ""
        size = f"{format.block_size} in {format.block_bytes}"
        rows.append([format.name, str(format.ggml_id), size, f"{bits:.4g}", oracle, _kernel(format), written])
    head = [
        "format",
        "id",
        "values in bytes",
        "bits a value",
        "dequantized to the bit as by",
        "kernel",
        "written as",
    ]
    return markdown(head, rows)


def _kernel(format: BlockFormat) -> str:
    if format in PLAIN:
        return "floats" if format in ELEMENT_OF else "floats, after conversion to F32"
    mapped = "" if format in MAPPABLE else ", packed only"
    return f"8-bit activations, `{PACKERS[format][0].name}`{mapped}"


TABLES = {"README.md": overview, "docs/architectures.md": architectures, "docs/formats.md": formats}


def page(name: str) -> str:
    """The page with the table of today."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return text[: text.index(BEGIN) + len(BEGIN)] + TABLES[name]() + text[text.index(END) :]


if __name__ == "__main__":
    for name in TABLES:
        (ROOT / name).write_text(page(name), encoding="utf-8")
