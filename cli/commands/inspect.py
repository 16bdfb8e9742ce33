"""Shows what is in a GGUF file, whether nybble can run it here, and if not, why; or its activations.

FILE is the path of a GGUF file, a name or an address. No weights are read. The exit code is 0 if the file can
be run, else 1.
"""

import argparse
import math
import re
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from typing import Any

import numpy as np

from ...engine.check import Verdict, examine
from ...errors import NybbleError
from ...gguf_io.file import GGUFFile, load_gguf
from ...gguf_io.tensor import Tensor
from ...hub.models import resolve
from ...system.free_memory import free_memory
from ..option_names import in_options
from ..options.engine import add_cache_type_option, add_engine_options
from ..plain_text import plain
from ..standard_streams import print_json
from ..tables import print_table, size

_N_SHOWN = 4  # elements of an array
_WIDTH = 72  # letters of a value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument(
        "--activations",
        action="store_true",
        help="show instead what can be read and replaced while the model runs, in the order of computation",
    )
    parser.add_argument("--json", action="store_true", help="the same for programs")
    add_cache_type_option(parser, "of the keys and values, for the memory of a context (f16)")


def run(args: argparse.Namespace) -> int:
    if args.activations:
        _print_activations(args.file)
        return 0
    try:
        with load_gguf(resolve(args.file)) as file:
            verdict = examine(file, args.cache_type or "f16")
            problems = [_in_options(problem) for problem in verdict.problems]
            if args.json:
                print_json(_report(file, verdict, problems), indent=1)
            else:
                _print_verdict(problems)
                _print_file(file, verdict)
            return 0 if verdict.runs else 1
    except (NybbleError, OSError) as error:  # it cannot even be opened
        if not args.json:
            raise
        print_json({"runs": False, "problems": [str(error)]}, indent=1)
        return 1


def _in_options(problem: str) -> str:
    """`problem` with options of the command line in place of Python arguments."""
    parser = argparse.ArgumentParser()
    add_engine_options(parser)
    return in_options(problem, parser)


def _print_verdict(problems: list[str]) -> None:
    print("nybble cannot run this file:" if problems else "nybble runs this file")
    for problem in problems:
        print(f"  {plain(problem)}")


def _print_file(file: GGUFFile, verdict: Verdict) -> None:
    n_bytes = sum(tensor.nbytes for tensor in file.tensors.values())
    print(f"\n{plain(file.path)}: {plain(verdict.kind)}, GGUF v{file.version}, {size(n_bytes)} of weights")
    print(f"\nmetadata ({len(file.metadata)} keys)")
    print_table(_metadata_rows(file))
    print(f"\ntensors ({len(file.tensors)}; shapes are rows x columns)")
    print_table(_tensor_row(file.tensors[name]) for name in sorted(file.tensors, key=_natural))
    print("\nformats")
    print_table(_format_rows(list(file.tensors.values())))
    need, free = verdict.footprint, free_memory()
    if need is not None:
        print("\nmemory")
        context = f"context of {need.n_ctx} tokens, {need.cache_type}"
        rows = [("packed weights", need.weights), (context, need.states)]
        rows += [("activations", need.buffers), ("all", need.total)]
        rows += [("each further sequence (--parallel)", need.sequence)]
        rows += [("1024 further tokens (--pool)", need.pool_tokens)]
        rows += [] if free is None else [("free on this machine", free)]
        print_table((name, size(n_bytes)) for name, n_bytes in rows)


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which blk.2 comes before blk.10."""
    return [(int(number or -1), text) for text, number in re.findall(r"([^0-9]+)|([0-9]+)", name)]


def _report(file: GGUFFile, verdict: Verdict, problems: list[str]) -> dict[str, Any]:
    """The object that `--json` prints; arrays of the metadata by type and length."""
    need = verdict.footprint
    return {
        "runs": verdict.runs,
        "problems": problems,
        "path": file.path,
        "kind": verdict.kind,
        "version": file.version,
        "metadata": {key: _json_value(file, key) for key in file.metadata},
        "tensors": {
            tensor.name: {"format": tensor.format.name, "shape": tensor.shape, "bytes": tensor.nbytes}
            for tensor in file.tensors.values()
        },
        "memory": None if need is None else {**asdict(need), "total": need.total, "free": free_memory()},
    }


def _json_value(file: GGUFFile, key: str) -> Any:
    length = file.metadata.length_of(key)
    if length is not None:
        return {"type": file.metadata.type_of(key), "length": length}
    value = file.metadata[key]
    is_plain = isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
    return value if is_plain else repr(value)


def _print_activations(file: str) -> None:
    from ...engine.model import Model  # the plans of all architectures, which nothing else here needs

    model = Model.load(resolve(file))
    print_table((spec.name, spec.shape, spec.meaning) for spec in model.activations.values())
    model.close()


def _metadata_rows(file: GGUFFile) -> Iterator[tuple[str, ...]]:
    for key in file.metadata:
        length = file.metadata.length_of(key)
        kind = file.metadata.type_of(key)
        if length is not None:
            kind = kind.replace("[]", f"[{length}]")
        yield plain(key), kind, _value(file.metadata[key])


def _tensor_row(tensor: Tensor) -> tuple[str, ...]:
    shape = " x ".join(map(str, tensor.shape)) or "scalar"
    return plain(tensor.name), tensor.format.name, shape, size(tensor.nbytes)


def _format_rows(tensors: list[Tensor]) -> Iterator[tuple[str, ...]]:
    """For each format: tensors, values, bytes, bits per value; then the sum."""

    def row(name: str, chosen: list[Tensor]) -> tuple[str, ...]:
        n_values, n_bytes = sum(t.n_values for t in chosen), sum(t.nbytes for t in chosen)
        bits = 8 * n_bytes / n_values if n_values else 0.0
        return (
            name,
            f"{len(chosen)} tensor{'s' if len(chosen) != 1 else ''}",
            f"{n_values:,} values",
            size(n_bytes),
            f"{bits:.2f} bits a value",
        )

    for name in sorted({tensor.format.name for tensor in tensors}):
        yield row(name, [tensor for tensor in tensors if tensor.format.name == name])
    yield row("all", tensors)


def _value(value: Any) -> str:
    """A value on one line, cut if it is long; text in quotes and with escapes."""
    if isinstance(value, list | np.ndarray):
        shown = ", ".join(_value(element) for element in islice(value, _N_SHOWN))
        return f"[{shown}{', …' if len(value) > _N_SHOWN else ''}]"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value:g}"
    text = repr(value[: 2 * _WIDTH] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _WIDTH else f"{text[:_WIDTH]}…"
