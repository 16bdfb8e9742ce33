"""The models that a server is told to serve, and how much memory they may take."""

import argparse
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...engine.facts import facts_of
from ...engine.steering.control_vector import ControlVector
from ...errors import RequestError
from ...hub.models import is_known, resolve
from ...server.models.catalog import Catalog, Found
from ...server.models.loader import Loader, Tell
from ...server.models.registry import Registry
from ...server.remote.events import EngineEvent, OnEvent
from ...server.remote.open_engine import open_engine
from ...server.remote.remote_engine import RemoteEngine
from ...server.schema.keep_alive import FORMS, keep_alive_seconds
from ...server.work.served_model import API_DEFAULTS, ServedModel, defaults_of
from ...system.free_memory import free_memory
from .engine import engine_options
from .sampling import sampling_params

_RESERVE = 0.1
"""Of the free memory: what is left to others if --memory does not say how much there is."""
_N_REASONS = 5
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([KMGT]?)(I?)B?", re.ASCII | re.IGNORECASE)


def add_models_options(parser: argparse.ArgumentParser) -> None:
    """Adds --memory, --keep-alive and --no-fallback."""
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="what all models may take together, as in 8G (nine tenths of what is free)",
    )
    parser.add_argument(
        "--keep-alive",
        metavar="TIME",
        help="how long a model stays without work, as in 5m; -1: for ever (5m for those of folders)",
    )
    parser.add_argument(
        "--no-fallback",
        dest="falls_back",
        action="store_false",
        help="where memory is short, end with an error instead of mapping weights or a smaller cache",
    )


def registry_of(
    args: argparse.Namespace,
    tell: Tell,
    on_failure: Callable[[BaseException, str], object],
    control_vectors: Mapping[str, ControlVector] = MappingProxyType({}),
) -> Registry:
    """The models that `args.model` names, by the options of `add_models_options`, the engine's and the
    sampler's; those that are given by themselves are loaded. All must fit the `control_vectors`. `tell`
    is told what becomes of models, `on_failure` of errors that should not be.

    Raises RequestError for what contradicts itself, for a folder with nothing to serve, and for models that
    do not fit together; and what loading raises.
    """
    options = {**engine_options(args), "falls_back": args.falls_back}
    wanted = _Wanted.of(args.model)
    keep_alive, budget = _keep_alive(args.keep_alive), _memory(args.memory)
    sampling_params(args, API_DEFAULTS)  # what is wrong is said before anything is loaded
    given = {name: resolve(model) for name, model in wanted.given.items()}
    facts = partial(facts_of, options=engine_options(args))
    catalog = Catalog(facts, given, wanted.folders)
    if args.memory is None and (free := free_memory()) is not None:
        needed = sum(found.facts.n_bytes for found in catalog.given if found.facts is not None)
        budget = max(int(free * (1 - _RESERVE)), needed)

    def on_event(event: EngineEvent) -> None:
        tell(event.message, event.level, **event.facts)

    loader = Loader(
        _opener(args, options, control_vectors, on_event), budget, tell=tell, on_failure=on_failure
    )
    registry = Registry(loader, catalog, keep_alive=keep_alive, tell=tell)
    if not given and not registry.names:
        raise RequestError(_no_models(wanted.folders, registry.problems))
    try:
        registry.load_given()
    except BaseException:
        registry.close()
        raise
    return registry


@dataclass(frozen=True)
class _Wanted:
    """What the command line names: models by name, and folders."""

    given: Mapping[str, str]
    folders: tuple[Path, ...]

    @classmethod
    def of(cls, words: list[str]) -> "_Wanted":
        given: dict[str, str] = {}
        folders = []
        for word in words:
            name, model = _named(word)
            path = Path(os.path.expanduser(model))
            if path.is_dir() and not is_known(model):
                if name:
                    raise RequestError(f"{name}={model}: the models of a folder are called as their files")
                folders.append(path.absolute())
                continue
            name = name or _name_of(model)
            if name in given:
                raise RequestError(f"two models are called {name}: give one another name, NAME=MODEL")
            given[name] = model
        return cls(given, tuple(dict.fromkeys(folders)))


def _opener(
    args: argparse.Namespace,
    options: dict[str, Any],
    control_vectors: Mapping[str, ControlVector],
    on_event: OnEvent,
) -> Callable[[Found], ServedModel]:
    def open_model(found: "Found") -> ServedModel:
        engine = open_engine(found.path, found.name, options, on_event)
        try:
            for name, vector in control_vectors.items():
                _require_fit(name, vector, engine)
            defaults = sampling_params(args, defaults_of(engine.default_sampling_params()))
            return ServedModel(
                found.name, engine, engine.fingerprint(), defaults, args.pooling, found.created
            )
        except BaseException:
            engine.close()
            raise

    return open_model


def control_vectors_of(words: list[str]) -> dict[str, ControlVector]:
    """What --control-vector says, each NAME=FILE."""
    found: dict[str, ControlVector] = {}
    for word in words:
        name, _, path = word.partition("=")
        if not path or not name.isprintable() or not 1 <= len(name) <= 200:
            raise RequestError(f"--control-vector must be NAME=FILE, not {word!r:.200}")
        if name in found:
            raise RequestError(f"--control-vector: two are called {name}; give one another name")
        found[name] = ControlVector.load(path)
    return found


def _require_fit(name: str, vector: ControlVector, engine: RemoteEngine) -> None:
    try:
        vector.require_fit(engine)
    except RequestError as error:
        raise RequestError(f"--control-vector {name}: {error}") from error


def _memory(text: str | None) -> int | None:
    """Bytes."""
    if text is None:
        return None
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]) or float(found[1]) < 1:
        raise RequestError(f"memory must be a size, as in 8G, 500M or 8GiB, not {text!r:.100}")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " KMGT".index(found[2].upper() or " "))


def _keep_alive(text: str | None) -> float | None:
    seconds = None if text is None else keep_alive_seconds(text)
    if text is not None and seconds is None:
        raise RequestError(f"keep_alive must be {FORMS}, not {text!r:.100}")
    return seconds


def _no_models(folders: tuple[Path, ...], problems: Mapping[str, str]) -> str:
    """Why a server of these folders has nothing to serve."""
    shown = "; ".join(f"{name}: {problem}" for name, problem in list(problems.items())[:_N_REASONS])
    where = " and ".join(map(str, folders))
    if not shown:
        return f"{where} has no models: put GGUF files there, or name another folder"
    more = f"; and {len(problems) - _N_REASONS} more" if len(problems) > _N_REASONS else ""
    return f"{where} has no model that can be served: {shown}{more}"


def _named(word: str) -> tuple[str, str]:
    """NAME=MODEL, or MODEL alone."""
    name, found, path = word.partition("=")
    if not found or os.path.exists(word) or os.sep in name:
        return "", word
    if not name.isprintable() or not 1 <= len(name) <= 200:
        raise RequestError(f"the name of a model must be 1 to 200 printable characters, not {name!r:.100}")
    return name, path


def _name_of(path: str) -> str:
    base = os.path.basename(path)
    return base[: -len(".gguf")] if base.lower().endswith(".gguf") else base
