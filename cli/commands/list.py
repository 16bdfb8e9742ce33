"""Lists the models on this machine: their names, sizes and formats, and whether nybble can run them.

They are those that have been pulled, aliases, what lies in the folder `models` of the cache, and what the
caches of huggingface.co and of Ollama have. Each name can be given to all other commands.
"""

import argparse
from typing import Any

from ...engine.check import examine
from ...engine.model_info import weight_format
from ...errors import NybbleError
from ...gguf_io.file import load_gguf
from ...hub.local_models import LocalModel, local_models
from ...system.notices import say
from ..plain_text import plain
from ..standard_streams import print_json
from ..tables import print_table, size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the same for programs")


def run(args: argparse.Namespace) -> None:
    rows = [_facts(model) for model in local_models()]
    if args.json:
        print_json(rows, indent=1)
    elif rows:
        print_table([("NAME", "SIZE", "FORMAT", "RUNS"), *map(_row, rows)])
    else:
        say("there are no models here yet; nybble pull smollm2 fetches one")


def _facts(model: LocalModel) -> dict[str, Any]:
    kind = format = None
    problems = [] if model.problem is None else [model.problem]
    if model.paths:
        try:
            with load_gguf(model.paths[0]) as file:
                verdict = examine(file)
                kind, problems = verdict.kind, list(verdict.problems)
                format = weight_format(file) if file.tensors else None
        except (NybbleError, OSError, MemoryError) as error:
            problems = [str(error)]
    return {
        "name": model.name,
        "path": str(model.paths[0]) if model.paths else None,
        "bytes": model.n_bytes,
        "format": format,
        "kind": kind,
        "runs": not problems,
        "problems": problems,
    }


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    runs = "yes" if facts["runs"] else f"no: {facts['kind'] if _is_other(facts) else facts['problems'][0]}"
    return plain(facts["name"]), size(facts["bytes"]), facts["format"] or "", plain(runs)


def _is_other(facts: dict[str, Any]) -> bool:
    return facts["kind"] not in (None, "a model")
