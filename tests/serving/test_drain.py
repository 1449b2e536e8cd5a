"""How a server goes: what it still answers, what it refuses, and what is on record afterwards."""

import asyncio
import json
import re
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest
import uvicorn
from collector_fixtures import collecting
from engine_fixtures import ADMIN_KEY, FORGOTTEN, RETAINED, WORLD, model, questions, target
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import serving
from serving import drain as module
from serving.drain import Drain, DrainMiddleware
from serving.launch import guarded_command, running

CHAT, READY = "/v1/chat/completions", "/lethe/v1/ready"
TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Edge:
    """A served application whose one stream ends when it is told to."""

    drain: Drain
    finish: threading.Event
    url: str = ""


@pytest.fixture
def edge():
    drained = Edge(Drain(), threading.Event())

    async def stream(request):
        await request.body()

        async def chunks():
            yield "first\n"
            while not drained.finish.is_set():
                await asyncio.sleep(0.01)
            yield "last\n"

        return StreamingResponse(chunks())

    async def plain(request):
        return PlainTextResponse("there")

    async def talk(socket):
        await socket.accept()
        await socket.close()

    paths = ("/health", READY, "/lethe/v1/targets", "/tokenize")
    routes = [Route(path, plain, methods=["GET", "POST"]) for path in paths]
    app = Starlette(routes=[Route(CHAT, stream, methods=["POST"]), *routes, WebSocketRoute("/talk", talk)])
    app.add_middleware(DrainMiddleware, drain=drained.drain)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    drained.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    drained.app = app
    try:
        yield drained
    finally:
        drained.finish.set()
        server.should_exit = True
        thread.join()


def test_a_running_stream_ends_by_itself_and_nothing_new_begins(edge):
    with ThreadPoolExecutor(1) as pool, httpx.stream("POST", edge.url + CHAT, json={}) as response:
        lines = response.iter_lines()
        assert next(lines) == "first"
        waiting = pool.submit(edge.drain.wait, 30)
        while not edge.drain.draining:
            time.sleep(0.01)
        refused = httpx.post(edge.url + CHAT, json={})
        assert not waiting.done()
        edge.finish.set()
        assert list(lines) == ["last"]
        assert waiting.result(5) == 0
    assert refused.status_code == 503
    assert refused.headers["retry-after"] == str(module.RETRY_AFTER)
    assert refused.headers["connection"] == "close"
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("service_unavailable_error", 503)


def test_the_openai_client_reads_the_refusal(edge):
    edge.drain.draining = True
    with (
        openai.OpenAI(base_url=edge.url + "/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.InternalServerError, match="the server is stopping") as caught,
    ):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    assert caught.value.type == "service_unavailable_error"


def test_a_large_body_is_taken_before_it_is_refused(edge):
    edge.drain.draining = True
    assert httpx.post(edge.url + CHAT, content=b"x" * 5_000_000).status_code == 503


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", READY, 503),
        ("HEAD", READY, 503),
        ("GET", "/health", 200),
        ("GET", "/lethe/v1/targets", 200),
        ("POST", "/lethe/v1/targets", 200),
        ("POST", "/tokenize", 503),
        ("POST", "/unknown", 503),
    ],
)
def test_what_a_going_server_answers(edge, method, path, status):
    assert httpx.request(method, edge.url + path).status_code in (200, 404)
    edge.drain.draining = True
    assert httpx.request(method, edge.url + path).status_code == status


def test_a_websocket_is_refused_too(edge):
    client = TestClient(edge.app)
    with client.websocket_connect("/talk"):
        pass
    edge.drain.draining = True
    with pytest.raises(WebSocketDisconnect) as caught, client.websocket_connect("/talk"):
        pass
    assert caught.value.code == module.RESTARTING


def test_a_failed_request_is_no_longer_running():
    async def broken(scope, receive, send):
        raise ValueError("broken")

    drained = Drain()
    middleware = DrainMiddleware(broken, drained)
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(middleware({"type": "http", "method": "POST", "path": CHAT}, None, None))
    assert drained.running == 0


def test_the_engine_stops_when_the_last_request_is_answered():
    drained, stopped = Drain(), []
    drained.running = 1
    stop = drained.before(lambda timeout: stopped.append((time.monotonic(), timeout)))
    thread = threading.Thread(target=stop, kwargs={"timeout": 30})
    thread.start()
    time.sleep(0.2)
    assert drained.draining
    assert not stopped
    drained.running = 0
    thread.join()
    assert stopped[0][1] == module.STOP_SECONDS


def test_a_request_that_takes_too_long_is_cut_off(caplog):
    drained, stopped = Drain(), []
    drained.running = 2
    started = time.monotonic()
    drained.before(lambda timeout: stopped.append(timeout))(timeout=0.3)
    assert 0.3 <= time.monotonic() - started < 2
    assert stopped
    assert "2 requests are cut off" in caplog.text


async def test_a_stop_from_inside_the_event_loop_never_waits():
    # What failed there, failed: the loop that would answer the requests stands still meanwhile.
    drained, stopped = Drain(), []
    drained.running = 1
    started = time.monotonic()
    drained.before(lambda timeout: stopped.append(timeout))(timeout=30)
    assert time.monotonic() - started < 1
    assert stopped == [30]
    assert drained.draining


def test_a_second_stop_waits_no_second_time():
    drained, stopped = Drain(), []
    stop = drained.before(lambda timeout: stopped.append(timeout))
    stop(timeout=0)
    drained.running = 1
    stop(timeout=30)
    assert len(stopped) == 2


@dataclass
class Stopped:
    """What clients and operators saw of a real server that was told to stop."""

    chunks: list[str]  # the data lines of the stream that was running
    early: int  # how many of them came before the signal
    refused: list[httpx.Response]
    ready: list[httpx.Response]
    registered: httpx.Response
    status: int
    seconds: float
    log: str
    records: list[dict]
    spans: list
    sent: bytes  # all that the collector got


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A `lethe serve` that gets SIGTERM while it streams, with JSON log lines and spans."""
    home = tmp_path_factory.mktemp("stopped")
    environment = {
        "LETHE_HOME": str(home / "lethe"),
        "LETHE_ADMIN_KEY": ADMIN_KEY,
        "LETHE_LOG_FORMAT": "json",
        "LETHE_DRAIN_SECONDS": "120",
    }
    command = guarded_command([model(), "--served-model-name", "nano", "--max-num-seqs", "16"])
    with collecting() as (collector, variables):
        with running(command, home / "log", environment | variables) as server:
            server.wait(limit=420)
            seen = _stop(server)
        log = (home / "log").read_text()
    rows = sqlite3.connect(home / "lethe" / "lethe.db").execute("select document from audit").fetchall()
    records = [json.loads(document) for (document,) in rows]
    return Stopped(*seen, log, records, collector.spans, b"".join(collector.bodies))


def _stop(server):
    """Streams, sends the signal in the middle, and asks for more meanwhile."""
    admin = {"authorization": f"Bearer {ADMIN_KEY}"}
    sent = {"model": "nano", "messages": [{"role": "user", "content": questions(RETAINED)[0]}]}
    traced = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    httpx.post(server.url + CHAT, json=sent, headers=traced).raise_for_status()
    long = sent | {"stream": True, "n": 8, "max_tokens": 1900, "ignore_eos": True}
    chunks, refused, ready = [], [], []
    with httpx.Client(timeout=120) as client, client.stream("POST", server.url + CHAT, json=long) as stream:
        lines = (line for line in stream.iter_lines() if line)
        chunks += [next(lines) for _ in range(20)]
        server.process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        for _ in range(3):
            time.sleep(0.3)
            ready.append(httpx.get(server.url + READY))
            refused.append(httpx.post(server.url + CHAT, json=sent))
        added = httpx.post(
            server.url + "/lethe/v1/targets", json=target().to_json(), headers=admin, timeout=30
        )
        chunks += lines
    return chunks, 20, refused, ready, added, server.process.wait(60), time.monotonic() - signalled


@pytest.mark.server
def test_a_stream_that_was_running_is_complete(stopped):
    assert len(stopped.chunks) > stopped.early
    assert stopped.chunks[-1] == "data: [DONE]"
    choices = [c for line in stopped.chunks[:-1] for c in json.loads(line.removeprefix("data: "))["choices"]]
    ends = {choice["index"]: choice["finish_reason"] for choice in choices if choice["finish_reason"]}
    assert ends == dict.fromkeys(range(8), "length")


@pytest.mark.server
def test_new_requests_are_refused_and_the_server_is_not_ready(stopped):
    assert [response.status_code for response in stopped.refused] == [503] * 3
    assert [response.status_code for response in stopped.ready] == [503] * 3
    assert all(response.headers["retry-after"] for response in stopped.refused)
    assert stopped.refused[0].json()["error"]["type"] == "service_unavailable_error"


@pytest.mark.server
def test_a_target_can_be_registered_until_the_end(stopped):
    assert stopped.registered.status_code == 201, stopped.registered.text


@pytest.mark.server
def test_the_process_ends_well_and_in_time(stopped):
    assert stopped.status == 0
    assert stopped.seconds < 120
    # Nothing of ours was raised. vLLM itself logs an error of its output handler whenever an engine stops.
    assert str(Path(serving.__file__).parent) not in stopped.log
    assert "force killing" not in stopped.log


@pytest.mark.server
def test_every_request_that_was_answered_is_on_record(stopped):
    first, second = [r for r in stopped.records if r.get("route") == CHAT]
    assert first["finish_reason"] == "stop"
    assert (second["finish_reason"], second["response_tokens"]) == ("length", 8 * 1900)


@pytest.mark.server
def test_every_line_of_ours_in_the_log_is_json_and_tells_no_target(stopped):
    ours = [json.loads(line) for line in stopped.log.splitlines() if line.startswith("{")]
    assert {"guard", "serving"} >= {line["logger"].split(".")[0] for line in ours}
    assert "(APIServer pid=" in stopped.log  # vLLM's own lines look as ever
    events = [line["event"] for line in ours]
    assert any(re.match("stopping: 1 running requests get up to 120 s", event) for event in events)
    assert any(event.startswith("stopping: every request was answered") for event in events)
    assert FORGOTTEN not in stopped.log


@pytest.mark.server
def test_a_request_is_a_span_of_its_callers_trace_with_its_stages_inside(stopped):
    spans = [span for span in stopped.spans if span.trace == TRACE]
    (root,) = (span for span in spans if span.name == "lethe.request")
    assert root.parent == "b7ad6b7169203331"
    assert root.service == "lethe"
    inside = {span.name: span for span in spans if span.parent == root.id}
    assert set(inside) >= {"lethe.inspect", "lethe.generate", "lethe.filter"}
    told = inside["lethe.generate"].attributes
    assert told["gen_ai.operation.name"] == "chat"
    first = next(record for record in stopped.records if record.get("route") == CHAT)
    assert told["gen_ai.usage.output_tokens"] == first["response_tokens"]
    assert told["gen_ai.response.id"] == first["request_id"]


@pytest.mark.server
def test_spans_hold_neither_prompt_nor_answer_nor_target(stopped):
    question, row = questions(RETAINED)[0], WORLD.rows_of(RETAINED)[0]
    for text in (question, row.answer, RETAINED, FORGOTTEN):
        assert text.encode() not in stopped.sent
