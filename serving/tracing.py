"""How long each stage of a request takes: in a histogram always, as OpenTelemetry spans where that is on.

A span carries ids, names of routes and actions, and counts; never text, and no target's id. Spans are not
made the current one: the response's generator is left and entered again from different tasks, and a current
span would stay behind in one of them. A stage finds its parent, the request's span, in the context instead.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar, Token
from importlib.metadata import entry_points
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from guard.audit import AuditRecord
from guard.errors import InputError
from serving.metrics import STAGE_SECONDS

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer
    from prometheus_client import Histogram

    from serving.settings import Settings

SERVICE = "lethe"
EXPORTERS = "opentelemetry_traces_exporter"
"""Entry points by which OpenTelemetry's exporters are found, ours to be named in OTEL_TRACES_EXPORTER."""
PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "text_completion",
    "/v1/messages": "chat",
    "/v1/responses": "chat",
}
"""What OpenTelemetry's conventions for generative AI call the routes; others are "generate_content"."""

_provider: TracerProvider | None = None  # sends what is left when the process ends
_tracer: Tracer | None = None
_request: ContextVar[Context | None] = ContextVar("lethe_request_span", default=None)
_histograms: dict[str, Histogram] = {}


class Stage:
    """One stage: ``with Stage("inspect") as span`` is an observation, and a span of the request at hand."""

    __slots__ = ("_name", "_span", "_started")

    def __init__(self, name: str) -> None:
        self._name = name
        self._span: Span | None = None

    def __enter__(self) -> Self:
        if _tracer is not None:
            self._span = _tracer.start_span(f"lethe.{self._name}", _request.get() or _nothing())
        self._started = time.perf_counter()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        _observe(self._name, time.perf_counter() - self._started)
        if self._span is not None:
            _end(self._span, kind)

    def note(self, attributes: Mapping[str, Any]) -> None:
        """Adds attributes to the span; those that are None are left out."""
        if self._span is not None:
            self._span.set_attributes({k: v for k, v in attributes.items() if v is not None})

    def tell(self, record: AuditRecord) -> None:
        """Adds what the audit record of a request says in ids and counts."""
        if self._span is None:
            return
        self.note(
            {
                "gen_ai.operation.name": OPERATIONS.get(record.route, "generate_content"),
                "gen_ai.response.id": record.request_id,
                "gen_ai.response.finish_reasons": [record.finish_reason] if record.finish_reason else None,
                "gen_ai.usage.input_tokens": record.prompt_tokens,
                "gen_ai.usage.output_tokens": record.response_tokens,
                "lethe.action": record.action,
                "lethe.snapshot": record.snapshot,
                "lethe.matches": len(record.verdict.get("matches", ())),
                "lethe.filtered": record.filtered,
            }
        )


class Request(Stage):
    """One HTTP request: ``with Request(path, scope["headers"]) as span``; the stages inside belong to it.

    Its span's parent is what the W3C header ``traceparent`` names, if the client sent one.
    """

    __slots__ = ("_headers", "_route", "_token")

    def __init__(self, route: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__("request")
        self._route = route
        self._headers = headers
        self._token: Token[Context | None] | None = None

    def __enter__(self) -> Self:
        if _tracer is not None:
            from opentelemetry.trace import SpanKind, set_span_in_context

            parent = context_of(self._headers)
            self._span = _tracer.start_span("lethe.request", parent, SpanKind.SERVER)
            self.note({"http.route": self._route})
            self._token = _request.set(set_span_in_context(self._span, parent))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        if self._span is not None and self._token is not None:
            _request.reset(self._token)
            _end(self._span, kind)


class Pieces:
    """One stage in pieces, such as a response's chunks, each a ``with`` block; `end` observes their sum."""

    __slots__ = ("_begun", "_count", "_name", "_piece", "_seconds")

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun = self._count = 0
        self._seconds = 0.0

    def __enter__(self) -> None:
        if not self._count:
            self._begun = time.time_ns()
        self._piece = time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._seconds += time.perf_counter() - self._piece
        self._count += 1

    def end(self) -> None:
        """Observes the time inside the pieces; the span lasts from the first to now."""
        if not self._count:
            return
        _observe(self._name, self._seconds)
        if _tracer is not None:
            attributes = {"lethe.pieces": self._count, "lethe.seconds": round(self._seconds, 6)}
            parent = _request.get() or _nothing()
            _tracer.start_span(
                f"lethe.{self._name}", parent, attributes=attributes, start_time=self._begun
            ).end()


def trace_id() -> str | None:
    """The hexadecimal id of the trace that the request at hand belongs to; None where nothing is traced."""
    context = _request.get()
    if context is None:
        return None
    from opentelemetry.trace import format_trace_id, get_current_span

    return format_trace_id(get_current_span(context).get_span_context().trace_id)


def context_of(headers: Iterable[tuple[bytes, bytes]]) -> Context:
    """The context that ASGI headers name by ``traceparent`` and ``tracestate``; an empty one without them."""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if b"trace" in name}
    return TraceContextTextMapPropagator().extract(carrier, _nothing())


def configure(settings: Settings) -> None:
    """Turns spans on if the settings say so; where they go is said by the standard ``OTEL_*`` variables.

    Raises:
        InputError: an exporter is named that is not installed or cannot be set up.
    """
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None
    if not settings.tracing:
        return
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = SERVICE_NAME in OTELResourceDetector().detect().attributes
    # Not the process's provider: vLLM sets that one for spans of its own.
    provider = TracerProvider(resource=Resource.create({} if named else {SERVICE_NAME: SERVICE}))
    for name in exporter_names(os.environ):
        provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
    _provider, _tracer = provider, provider.get_tracer("lethe")


def exporter_names(environ: Mapping[str, str]) -> Sequence[str]:
    """The exporters that ``OTEL_TRACES_EXPORTER`` names, ``otlp`` by default, as their entry points.

    Raises:
        InputError: the OTLP protocol is unknown.
    """
    asked = environ.get("OTEL_TRACES_EXPORTER") or "otlp"
    names = [name.strip() for name in asked.split(",")]
    variable = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
    protocol = environ.get(variable) or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"
    if "otlp" in names and protocol not in PROTOCOLS:
        raise InputError(f"{variable} is {protocol!r}; use one of {', '.join(PROTOCOLS)}")
    return [PROTOCOLS[protocol] if name == "otlp" else name for name in names if name not in ("", "none")]


def _exporter(name: str) -> Any:
    found = list(entry_points(group=EXPORTERS, name=name))
    try:
        if found:
            return found[0].load()()
        reason = "is not installed"
    except Exception as error:
        # The exporter's message: it may name an endpoint or a file, and nothing else of ours reaches it.
        reason = f"cannot be set up ({type(error).__name__}: {error})"
    raise InputError(
        f"the trace exporter {name!r} {reason}; install opentelemetry-exporter-otlp, name another one in "
        "OTEL_TRACES_EXPORTER, or turn LETHE_TRACING off"
    )


def _nothing() -> Context:
    from opentelemetry.context import Context

    return Context()


def _observe(name: str, seconds: float) -> None:
    histogram = _histograms.get(name)
    if histogram is None:
        histogram = _histograms[name] = STAGE_SECONDS.labels(name)
    histogram.observe(seconds)


def _end(span: Span, kind: type[BaseException] | None) -> None:
    if kind is not None and issubclass(kind, Exception):  # not a client that left
        from opentelemetry.trace import StatusCode

        span.set_attribute("error.type", kind.__name__)  # no message: it may quote the request
        span.set_status(StatusCode.ERROR)
    span.end()
