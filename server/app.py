"""The application: paths, and the ASGI application that serves them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..errors import NybbleError
from .apis import (
    anthropic,
    embeddings,
    models,
    ollama,
    ollama_models,
    openai_chat,
    openai_completions,
    responses,
    tokens,
)
from .exchange import Exchange
from .front_desk import FrontDesk
from .guard import Guard
from .metrics import Metrics
from .models.registry import Registry
from .openapi import openapi
from .page.page import page_routes
from .schema import (
    anthropic as anthropic_schema,
    ollama as ollama_schema,
    openai,
    responses as responses_schema,
)
from .wire.errors import APIError, error_body
from .wire.json_body import dumped
from .work.call import Call, Endpoint, Reply
from .work.served_model import ServedModel
from .work.settings import Settings

ENDPOINTS = (
    Endpoint("GET", "/health", models.health, summary="Is the server there?"),
    Endpoint("GET", "/v1/models", models.models, summary="The models that are served"),
    Endpoint("GET", "/v1/models/{model:path}", models.model, summary="One of them"),
    Endpoint("POST", "/v1/chat/completions", openai_chat.chat, openai.CHAT, "Answers a conversation"),
    Endpoint("POST", "/v1/completions", openai_completions.complete, openai.COMPLETION, "Continues texts"),
    Endpoint("POST", "/v1/embeddings", embeddings.embeddings, openai.EMBEDDINGS, "Vectors of texts"),
    Endpoint("POST", "/v1/rerank", embeddings.rerank, openai.RERANK, "Orders documents by a query"),
    Endpoint("POST", "/v1/messages", anthropic.messages, anthropic_schema.MESSAGES, "Answers a conversation"),
    Endpoint(
        "POST",
        "/v1/messages/count_tokens",
        anthropic.count_tokens,
        anthropic_schema.COUNT_TOKENS,
        "The number of its tokens",
    ),
    Endpoint("POST", "/v1/responses", responses.respond, responses_schema.RESPONSES, "Answers, statelessly"),
    Endpoint("POST", "/api/chat", ollama.chat, ollama_schema.CHAT, "Answers a conversation"),
    Endpoint("POST", "/api/generate", ollama.generate, ollama_schema.GENERATE, "Answers or continues a text"),
    Endpoint("POST", "/api/embed", ollama.embed, ollama_schema.EMBED, "Vectors of texts"),
    Endpoint("GET", "/api/tags", ollama_models.tags, summary="The models"),
    Endpoint("POST", "/api/show", ollama_models.show, ollama_schema.SHOW, "What is known of one"),
    Endpoint("GET", "/api/ps", ollama_models.loaded, summary="The models in memory"),
    Endpoint("GET", "/api/version", ollama_models.version, summary="The version of Ollama's API"),
    Endpoint("POST", "/tokenize", tokens.tokenize, openai.TOKENIZE, "The tokens of a text"),
    Endpoint("POST", "/detokenize", tokens.detokenize, openai.DETOKENIZE, "The text of tokens"),
    Endpoint("GET", "/tokenizer_info", tokens.tokenizer_info, summary="Its BOS, EOS and chat template"),
)


def make_app(models: Iterable[ServedModel] | Registry, settings: Settings | None = None) -> Starlette:
    """The ASGI application that serves `models`; it does not close the backends that it is given.

    app = make_app([ServedModel("mock", MockBackend(["Hello!"]))])
    """
    settings = settings or Settings()
    registry = models if isinstance(models, Registry) else Registry.of(models)
    metrics = Metrics()
    desk = FrontDesk(settings, metrics)
    endpoints = [*ENDPOINTS, *_about(ENDPOINTS, metrics, desk, registry)]
    routes = [
        Route(each.path, Exchange(each, registry, settings, desk), methods=[each.method])
        for each in endpoints
    ]

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        registry.loader.begin()
        yield
        registry.close()

    app = Starlette(
        routes=[*routes, *page_routes()],
        middleware=[Middleware(Guard, settings=settings, desk=desk)],
        exception_handlers={HTTPException: _no_such_path},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.metrics = metrics
    return app


async def _no_such_path(request: Request, error: Exception) -> Response:
    """What Starlette says of unknown paths and wrong methods, in our form."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    name = f"{request.method[:16]} {request.url.path[:100]}"
    problem = "there is no such path" if status == 404 else "this path takes another method"
    api_error = APIError(status, f"{name}: {problem}; /openapi.json lists all")
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return Response(
        dumped(error_body(api_error, request.url.path)), status, headers, media_type="application/json"
    )


def _about(
    endpoints: Iterable[Endpoint], metrics: Metrics, desk: FrontDesk, models: Registry
) -> list[Endpoint]:
    """The paths that tell of the server itself."""

    async def show_metrics(call: Call) -> Reply:
        stats, engines = {}, {}
        for entry in models.loaded():
            if (status := entry.status) is not None:
                engines[entry.name] = status
            if (model := entry.model) is not None:
                with contextlib.suppress(NybbleError):  # it has ended, or is started again
                    stats[entry.name] = await model.runner.while_wanted(model.backend.stats)
        text = metrics.text(desk.n_running, desk.n_waiting, stats, engines, models.loader)
        return Reply(text.encode(), "text/plain; version=0.0.4; charset=utf-8")

    async def show_openapi(call: Call) -> Reply:
        return Reply(openapi(endpoints))

    return [
        Endpoint("GET", "/metrics", show_metrics, summary="Counts and times, for Prometheus"),
        Endpoint("GET", "/openapi.json", show_openapi, summary="This description"),
    ]
