"""Serves models over HTTP, by the APIs of OpenAI, Anthropic and Ollama.

MODEL is a name, an address or the path of a GGUF file, which is loaded now, or a folder, whose models are
loaded when they are asked for; without it it is SmolLM2.  NAME=MODEL serves it under another name.
http://127.0.0.1:8000 is a page to chat; clients of OpenAI use http://127.0.0.1:8000/v1 as their base URL.
SIGTERM lets running requests finish; Ctrl-C ends them.  What the sampling options say is for requests that do
not say it themselves; without these options it is what the file recommends, or temperature 1.0 and answers as
long as the context.

Needs the extra `server`: pip install "nybble[server]"
"""

from __future__ import annotations

import argparse
import logging
import os
from contextlib import ExitStack
from typing import Any

from ...errors import NybbleError
from ...system.notices import say
from ..options.engine import add_engine_options, add_pooling_option
from ..options.model import DEFAULT_MODEL
from ..options.sampling import add_sampling_options
from ..options.served_models import add_models_options, control_vectors_of, registry_of

_N_SHOWN = 5


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
    add_models_options(parser)
    parser.add_argument("--strict", action="store_true", help="fields that no API knows are errors")
    parser.add_argument("--n-waiting", dest="n_waiting_max", type=int, default=512, metavar="N")
    parser.add_argument(
        "--key-limit", dest="n_per_key_max", type=int, metavar="N", help="requests of one key"
    )
    parser.add_argument(
        "--connections-per-address",
        dest="n_per_address_max",
        type=int,
        default=512,
        metavar="N",
        help="(%(default)s, of 1024 in all)",
    )
    parser.add_argument("--max-body", dest="body_max", type=int, default=10_000_000, metavar="BYTES")
    parser.add_argument("--drain", dest="drain_seconds", type=float, default=30.0, metavar="SECONDS")
    parser.add_argument(
        "--control-vector",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a control vector that requests may name; may be repeated",
    )
    parser.add_argument(
        "--max-activations",
        dest="activations_max",
        type=int,
        default=64_000_000,
        metavar="BYTES",
        help="of the activations that a request captures",
    )
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")
    parser.add_argument(
        "--chat-template", metavar="FILE", help="a Jinja template in the place of the files' own"
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
    from ...server.log import log, log_failure, set_up_log
    from ...server.work.settings import Settings

    set_up_log(args.log_format, getattr(logging, args.log_level.upper()))
    keys = [*args.api_key, *filter(None, [os.environ.get("NYBBLE_API_KEY")])]
    keys += keys_of_file(args.api_key_file) if args.api_key_file else []
    names = ["allowed_hosts", "strict", "n_waiting_max", "n_per_key_max", "n_per_address_max", "body_max"]
    names += ["activations_max", "drain_seconds"]
    given: dict[str, Any] = {**vars(args), "allowed_hosts": (*args.allowed_host, args.host)}
    settings = Settings(
        keys=checked_keys(keys),
        n_seq_max=args.n_seq_max or Settings.n_seq_max,
        control_vectors=control_vectors_of(args.control_vector),
        **{name: given[name] for name in names},
    )
    with ExitStack() as stack, bound_socket(args.host, args.port) as listening:
        registry = registry_of(args, log, log_failure, settings.control_vectors)
        stack.callback(registry.close)
        if not settings.keys and not _is_loopback(args.host):
            log("everybody who reaches this machine may ask; --api-key says who may", logging.WARNING)
        served, address = registry.names, address_of(listening)
        listening.listen(1024)  # so that whoever reads the address may connect
        more = f" and {len(served) - _N_SHOWN} more" if len(served) > _N_SHOWN else ""
        say(f"{', '.join(served[:_N_SHOWN])}{more}: chat at {address}, API at {address}/v1")
        log("serving", address=address, models=",".join(served))
        server = Server(
            make_app(registry, settings),
            settings,
            lambda: registry.fail_all(NybbleError("the server ends")),
        )
        server.run(sockets=[listening])
    return 130 if server.was_interrupted else 0


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
