"""Serves models over HTTP, by the APIs of OpenAI, Anthropic and Ollama.

MODEL is a name or the path of a GGUF file; without it it is SmolLM2.  NAME=MODEL serves it under another
name.  Clients of OpenAI use http://127.0.0.1:8000/v1 as their base URL.  SIGTERM lets running requests
finish; Ctrl-C ends them.  What the sampling options say is for requests that do not say it themselves.

Needs the extra `server`: pip install "nybble[server]"
"""

from __future__ import annotations

import argparse
import logging
import os
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...engine.sampling.params import SamplingParams
from ...errors import NybbleError, RequestError
from ...system.notices import say
from ..options.engine import add_engine_options, add_pooling_option, engine_arguments
from ..options.model import DEFAULT_MODEL
from ..options.sampling import add_sampling_options, sampling_params

if TYPE_CHECKING:
    from ...server.remote.events import EngineEvent
    from ...server.remote.remote_engine import RemoteEngine

_BASE = SamplingParams(temperature=1.0, max_tokens=2**31 - 1)
"""What the OpenAI API has where neither a request, nor an option, nor the file says something."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="*", default=[DEFAULT_MODEL], metavar="MODEL")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (%(default)s)")
    parser.add_argument(
        "--api-key",
        action="append",
        default=[],
        metavar="KEY",
        help="who knows it may ask; may be repeated (or NYBBLE_API_KEY)",
    )
    parser.add_argument("--api-key-file", metavar="FILE", help="keys, one a line")
    parser.add_argument(
        "--allowed-host", action="append", default=[], metavar="NAME", help="what else this server is called"
    )
    parser.add_argument("--strict", action="store_true", help="fields that no API knows are errors")
    parser.add_argument("--n-waiting", dest="n_waiting_max", type=int, default=512, metavar="N")
    parser.add_argument(
        "--key-limit", dest="n_per_key_max", type=int, metavar="N", help="requests of one key"
    )
    parser.add_argument("--max-body", dest="body_max", type=int, default=10_000_000, metavar="BYTES")
    parser.add_argument("--drain", dest="drain_seconds", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    parser.add_argument(
        "--chat-template", metavar="FILE", help="a Jinja template in the place of the files' own"
    )
    parser.add_argument(
        "--no-fallback",
        dest="falls_back",
        action="store_false",
        help="where memory is short, end with an error instead of mapping weights or a smaller cache",
    )
    add_pooling_option(parser)
    add_sampling_options(parser)
    add_engine_options(parser)


def run(args: argparse.Namespace) -> int:
    try:
        from ...server.app import make_app
        from ...server.listener import Server, address_of, bound_socket
    except ImportError as error:
        raise NybbleError(
            f'serving needs {error.name}, which is not installed: pip install "nybble[server]"'
        ) from error
    from ...server.keys import checked_keys, keys_of_file
    from ...server.log import log, set_up_log
    from ...server.remote.open_engine import open_engine
    from ...server.work.served_model import ServedModel
    from ...server.work.settings import Settings

    set_up_log(args.log_format, getattr(logging, args.log_level.upper()))
    keys = [*args.api_key, *filter(None, [os.environ.get("NYBBLE_API_KEY")])]
    keys += keys_of_file(args.api_key_file) if args.api_key_file else []
    names = ("allowed_hosts", "strict", "n_waiting_max", "n_per_key_max", "body_max", "drain_seconds")
    given: dict[str, Any] = {**vars(args), "allowed_hosts": (*args.allowed_host, args.host)}
    settings = Settings(
        keys=checked_keys(keys),
        n_seq_max=args.n_seq_max or Settings.n_seq_max,
        **{name: given[name] for name in names},
    )
    options = {**engine_arguments(args), "chat_template": args.chat_template, "falls_back": args.falls_back}
    with ExitStack() as stack, bound_socket(args.host, args.port) as listening:
        models: list[ServedModel] = []
        for name, path in map(_named, args.model):
            name = name or _name_of(path)
            if any(model.name == name for model in models):
                raise RequestError(f"two models are called {name}: give one another name, NAME=MODEL")
            engine = stack.enter_context(closing(open_engine(path, name, options, _note)))
            models.append(
                ServedModel(name, engine, engine.fingerprint(), _defaults(engine, args), args.pooling)
            )
        if not settings.keys and not _is_loopback(args.host):
            log("everybody who reaches this machine may ask; --api-key says who may", logging.WARNING)
        say(f"{', '.join(model.name for model in models)} at {address_of(listening)}/v1")
        log("serving", address=address_of(listening), models=",".join(model.name for model in models))

        def cancel() -> None:
            for model in models:
                model.runner.fail_all(NybbleError("the server ends"))

        server = Server(make_app(models, settings), settings, cancel)
        server.run(sockets=[listening])
    return 130 if server.was_interrupted else 0


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


def _note(event: EngineEvent) -> None:
    from ...server.log import log

    log(event.message, event.level, **event.facts)


def _defaults(engine: RemoteEngine, args: argparse.Namespace) -> SamplingParams:
    """What the options say, or the file, or the API."""
    by_file = engine.default_sampling_params()
    greedy = SamplingParams()
    base = _BASE if by_file == greedy else replace(by_file, max_tokens=_BASE.max_tokens)
    return sampling_params(args, base)


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
