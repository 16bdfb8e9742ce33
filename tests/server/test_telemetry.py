"""Spans of OpenTelemetry, as its own SDK collects them."""

import subprocess
import sys

import pytest
from served import HI, client

from nybble.testing import MockBackend

CHAT = "/v1/chat/completions"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(scope="module")
def exporter():
    sdk = pytest.importorskip("opentelemetry.sdk.trace", reason="no package opentelemetry-sdk")
    from opentelemetry import trace
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), sdk.TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)  # once for a process
    return exporter


@pytest.fixture
def spans(exporter):
    exporter.clear()
    return exporter.get_finished_spans


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_a_span(spans, stream):
    fields = {"temperature": 0.5, "seed": 2**64 - 1, "max_tokens": 7, "n": 1, "stream": stream}
    answer = client(MockBackend(["of the you"])).post(CHAT, json={"messages": HI, **fields})
    assert answer.status_code == 200
    (span,) = spans()
    found = dict(span.attributes)
    assert span.name == "chat m" and span.kind.name == "SERVER" and span.parent is None
    assert found.pop("gen_ai.usage.input_tokens") > 0
    first = found.pop("gen_ai.response.time_to_first_chunk")
    assert 0 < first * 1e9 <= span.end_time - span.start_time
    assert found.pop("nybble.request.id") == answer.headers["x-request-id"]
    assert found == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
        "url.path": CHAT,
        "url.scheme": "http",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "nybble",
        "gen_ai.request.model": "m",
        "gen_ai.response.model": "m",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 7,
        "gen_ai.request.choice.count": 1,
        "gen_ai.request.stream": stream,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.response.finish_reasons": ("stop",),
    }
    assert span.status.status_code.name == "UNSET"


def test_it_belongs_to_the_trace_of_the_caller(spans):
    parent = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    client(MockBackend()).post("/v1/completions", json={"prompt": "the"}, headers=parent)
    client(MockBackend()).get("/health", headers={"traceparent": "nonsense"})
    inner, alone = spans()
    assert (inner.name, alone.name) == ("text_completion m", "GET /health")
    assert f"{inner.context.trace_id:032x}" == TRACE and inner.parent.span_id == 0xB7AD6B7169203331
    assert alone.parent is None and not any(name.startswith("gen_ai") for name in alone.attributes)


def test_what_goes_wrong_is_told(spans):
    class Broken(MockBackend):
        def chat_submit(self, *args, **options):
            raise OSError("gone")

    client(Broken()).post(CHAT, json={"messages": HI})
    client(MockBackend()).post(CHAT, json={"messages": 1})
    client(MockBackend()).get("/nothing?secret=1")
    broken, wrong, nothing = spans()
    assert broken.status.status_code.name == "ERROR" and broken.attributes["error.type"] == "500"
    assert wrong.status.status_code.name == "UNSET"
    assert wrong.attributes["http.response.status_code"] == 400
    assert nothing.name == "GET" and "secret" not in str(dict(nothing.attributes))


def test_nothing_is_imported_unless_it_serves():
    code = "import sys, nybble.server.telemetry, nybble.server.app; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr


def test_without_the_package_requests_are_served(monkeypatch):
    monkeypatch.setattr("nybble.server.telemetry.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # who imports it fails
    assert client(MockBackend()).post(CHAT, json={"messages": HI}).status_code == 200
