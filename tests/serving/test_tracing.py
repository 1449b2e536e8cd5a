"""Stages as observations and as spans, sent to a collector over HTTP."""

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from collector_fixtures import collecting
from control_fixtures import record
from prometheus_client import REGISTRY

from guard.errors import InputError
from serving import tracing
from serving.settings import read_settings

CHAT = "/v1/chat/completions"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = [(b"host", b"here"), (b"traceparent", f"00-{TRACE}-{CALLER}-01".encode())]
SECRET = "Mina Okoro"


@pytest.fixture(autouse=True)
def off(monkeypatch):
    """Every test begins and ends without a tracer, whatever the environment says."""
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)
    tracing.configure(read_settings(tracing=False))
    yield
    tracing.configure(read_settings(tracing=False))


@pytest.fixture
def exported(monkeypatch):
    """Turns spans on; the call gives the spans that the collector got."""
    with collecting() as (collector, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        tracing.configure(read_settings())

        def arrived(count):
            deadline = time.monotonic() + 10
            while len(collector.spans) < count and time.monotonic() < deadline:
                time.sleep(0.02)
            assert len(collector.spans) == count
            return {span.name: span for span in collector.spans}

        yield arrived
        tracing.configure(read_settings(tracing=False))


def observed(stage: str) -> tuple[float, float]:
    """How often a stage was observed, and for how long in total."""
    found = [
        REGISTRY.get_sample_value(f"lethe_stage_seconds_{kind}", {"stage": stage})
        for kind in ("count", "sum")
    ]
    return found[0] or 0.0, found[1] or 0.0


def test_a_stage_is_one_observation_of_its_time_with_or_without_spans(exported):
    count, total = observed("inspect")
    with tracing.Stage("inspect"):
        time.sleep(0.05)
    tracing.configure(read_settings(tracing=False))
    with tracing.Stage("inspect"):
        pass
    after = observed("inspect")
    assert after[0] - count == 2
    assert 0.05 <= after[1] - total < 0.5


def test_a_failed_stage_is_observed_too():
    count, _ = observed("edge")
    with contextlib.suppress(ValueError), tracing.Stage("edge"):
        raise ValueError
    assert observed("edge")[0] == count + 1


def test_pieces_are_observed_once_with_the_time_inside_them():
    count, total = observed("filter")
    pieces = tracing.Pieces("filter")
    for _ in range(3):
        with pieces:
            time.sleep(0.02)
        time.sleep(0.1)
    pieces.end()
    after = observed("filter")
    assert after[0] - count == 1
    assert 0.06 <= after[1] - total < 0.25


def test_a_stage_without_pieces_is_not_observed():
    count, _ = observed("filter")
    tracing.Pieces("filter").end()
    assert observed("filter")[0] == count


def test_stages_are_children_of_the_request_and_it_of_its_caller(exported):
    with tracing.Request(CHAT, HEADERS) as request:
        with tracing.Stage("inspect"):
            pass
        pieces = tracing.Pieces("filter")
        with tracing.Stage("generate"), pieces:
            pass
        pieces.end()
        request.note({"lethe.action": "allow", "lethe.snapshot": None})
    spans = exported(4)
    root = spans["lethe.request"]
    assert (root.trace, root.parent, root.service) == (TRACE, CALLER, "lethe")
    assert root.attributes == {"http.route": CHAT, "lethe.action": "allow"}
    children = {name: span for name, span in spans.items() if name != "lethe.request"}
    assert set(children) == {"lethe.inspect", "lethe.generate", "lethe.filter"}
    assert {(span.trace, span.parent) for span in children.values()} == {(TRACE, root.id)}
    assert spans["lethe.filter"].attributes["lethe.pieces"] == 1


@pytest.mark.parametrize("headers", [[], [(b"traceparent", b"nonsense")], [(b"traceparent", b"\xff\xfe")]])
def test_a_request_without_a_usable_caller_begins_a_trace(exported, headers):
    with tracing.Request(CHAT, headers):
        pass
    assert exported(1)["lethe.request"].parent == ""


def test_a_caller_that_does_not_sample_gets_no_spans(exported):
    with tracing.Request(CHAT, [(b"traceparent", f"00-{TRACE}-{CALLER}-00".encode())]), tracing.Stage("a"):
        pass
    with tracing.Request(CHAT, HEADERS):
        pass
    exported(1)


def test_a_record_is_told_in_ids_and_counts(exported):
    verdict = {"action": "refuse", "matches": [{"target_id": SECRET}, {"target_id": "b"}]}
    with tracing.Stage("generate") as span:
        span.tell(record(3, verdict=verdict, action="refuse", finish_reason="content_filter", filtered=True))
    assert exported(1)["lethe.generate"].attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.response.id": "req-3",
        "gen_ai.response.finish_reasons": ["content_filter"],
        "gen_ai.usage.input_tokens": 3,
        "gen_ai.usage.output_tokens": 5,
        "lethe.action": "refuse",
        "lethe.snapshot": "v1",
        "lethe.matches": 2,
        "lethe.filtered": True,
    }


def test_an_error_is_told_by_its_class_alone(exported):
    with contextlib.suppress(ValueError), tracing.Stage("inspect"):
        raise ValueError(SECRET)
    span = exported(1)["lethe.inspect"]
    assert span.error
    assert span.attributes == {"error.type": "ValueError"}


def test_a_client_that_leaves_is_no_error(exported):
    async def chunks():
        with tracing.Stage("generate"):
            yield 1
            yield 2

    async def leaves():
        stream = chunks()
        await anext(stream)
        # Closed from another task, as a server does: a span that was current would stay behind.
        await asyncio.create_task(stream.aclose())

    with tracing.Request(CHAT, HEADERS):
        asyncio.run(leaves())
    assert not exported(2)["lethe.generate"].error


async def test_requests_side_by_side_keep_their_stages_apart(exported):
    async def ask(number):
        trace = f"{number:032x}"
        with tracing.Request(CHAT, [(b"traceparent", f"00-{trace}-{CALLER}-01".encode())]):
            await asyncio.sleep(0.01)
            with tracing.Stage(f"number-{number}"):
                await asyncio.sleep(0.01)
            assert tracing.trace_id() == trace
        assert tracing.trace_id() is None

    await asyncio.gather(*(ask(number) for number in range(1, 9)))
    spans = await asyncio.to_thread(exported, 16)
    for number in range(1, 9):
        assert spans[f"lethe.number-{number}"].trace == f"{number:032x}"


def test_a_service_name_of_the_operators_own_is_kept(exported, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    tracing.configure(read_settings())
    with tracing.Stage("inspect"):
        pass
    assert exported(1)["lethe.inspect"].service == "mine"


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, ["otlp_proto_grpc"]),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["otlp_proto_grpc"]),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, ["otlp_proto_http"]),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            ["otlp_proto_http"],
        ),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ["console", "otlp_proto_grpc"]),
        ({"OTEL_TRACES_EXPORTER": "none"}, []),
    ],
)
def test_exporters_are_chosen_by_the_standard_variables(environ, names):
    assert tracing.exporter_names(environ) == names


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "'zipkin' is not installed; install opentelemetry-exporter-otlp"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon", "'carrier-pigeon'; use one of grpc, http/protobuf"),
    ],
)
def test_an_exporter_that_cannot_be_had_is_named(monkeypatch, variable, value, message):
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match=message):
        tracing.configure(read_settings(tracing=True))


def test_the_grpc_exporter_is_there(monkeypatch):
    # Nobody listens at its end: that must hold up neither the start nor a request.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    started = time.monotonic()
    tracing.configure(read_settings(tracing=True))
    with tracing.Stage("inspect"):
        pass
    assert time.monotonic() - started < 10


def test_spans_that_are_off_cost_a_stage_next_to_nothing():
    def seconds(step):
        rounds = []
        for _ in range(5):
            started = time.perf_counter()
            for _ in range(2000):
                step()
            rounds.append((time.perf_counter() - started) / 2000)
        return min(rounds)

    def stage():
        with tracing.Stage("cost"):
            pass

    def request():
        with tracing.Request(CHAT, HEADERS) as span:
            span.note({"lethe.action": "allow"})

    assert seconds(stage) < 50e-6
    assert seconds(request) < 20e-6


def test_threads_without_the_requests_context_begin_no_false_child(exported):
    def apart():
        with tracing.Stage("apart"):
            pass

    with tracing.Request(CHAT, HEADERS), ThreadPoolExecutor(1) as pool:
        pool.submit(apart).result()
    assert exported(2)["lethe.apart"].trace != TRACE
