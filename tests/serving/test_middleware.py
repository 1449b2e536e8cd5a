"""The edge alone, around a small application that shows what it got."""

import asyncio
import json

import httpx
import pytest
from control_fixtures import Workers, target
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route

from guard.types import Action
from serving.exchange import exchange
from serving.middleware import GuardMiddleware

NAME = "Mina Okoro"
CHAT = "/v1/chat/completions"


def judged(action: Action):
    """What the engine side does when it has judged the request's prompt."""
    exchange.get().tell(action, "v7", "chatcmpl-1")


def verdict(body: bytes) -> Action:
    """What the engine side makes of a prompt here: the action that the body names."""
    return Action.REFUSE if b'"verdict"' in body else Action.RESTRICT


async def echo(request: Request):
    body = await request.body()
    judged(verdict(body))
    current, length = exchange.get(), int(request.headers["content-length"])
    return JSONResponse(
        {
            "body": body.decode(),
            "fits": length == len(body),
            "rewritten": current.rewritten,
            "mode": current.mode,
        }
    )


async def stream(request: Request):
    body = await request.body()

    async def events():
        yield "created\n"
        await asyncio.sleep(0)
        judged(verdict(body))
        yield "text\n"
        yield "more\n"

    return StreamingResponse(events())


async def no_prompt(request: Request):
    return PlainTextResponse(f"{await request.body()!r} {exchange.get()}")


ROUTES = [
    *(Route(path, echo, methods=["POST"]) for path in (CHAT, "/v1/messages", "/v1/responses")),
    Route("/stream", stream, methods=["POST"]),
    Route("/other", no_prompt, methods=["GET", "POST"]),
    Route("/lethe/v1/check", no_prompt, methods=["POST"]),
]


OPENED = ["POST /stream", "GET /other", "POST /other"]


@pytest.fixture
async def edge(live):
    """Makes a client of the application on targets."""

    async def make(*targets, **settings):
        app = Starlette(routes=ROUTES)
        app.add_middleware(GuardMiddleware)
        app.state.lethe = await live(targets, Workers(), **({"open_surfaces": OPENED} | settings))
        return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge")

    return make


def said(text) -> list[dict]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"use_beam_search": True}, "use_beam_search"),
        ({"prompt_logprobs": 0}, "prompt_logprobs"),
        ({"prompt_logprob_token_ids": [3]}, "prompt_logprob_token_ids"),
        ({"echo": True, "logprobs": 0}, "echo"),
        ({"echo": True, "logprobs": True}, "echo"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_guarded_is_refused_as_openai_would(edge, asked, param):
    response = await (await edge()).post(CHAT, json={"messages": said("hi")} | asked)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, 400)


@pytest.mark.parametrize(
    "asked",
    [
        {"use_beam_search": False},
        {"prompt_logprobs": None},
        {"echo": True},
        {"echo": True, "logprobs": False},
        {"logprobs": 5},
    ],
    ids=str,
)
async def test_harmless_forms_of_the_same_fields_pass(edge, asked):
    sent = {"messages": said("hi")} | asked
    response = await (await edge()).post(CHAT, json=sent)
    assert json.loads(response.json()["body"]) == sent


async def test_a_body_is_passed_on_byte_by_byte(edge):
    raw = b'{"messages" : [ {"role":"user","content":"caf\\u00e9"} ],  "n":1}'
    response = await (await edge(target(action="rewrite"))).post(CHAT, content=raw)
    assert response.json() == {"body": raw.decode(), "fits": True, "rewritten": False, "mode": None}


@pytest.mark.parametrize(
    "raw", [b"", b"no json", b"[1, 2]", b'"text"', b'{"messages": 3}', b'{"messages": [3]}']
)
async def test_what_is_no_request_is_left_to_the_route(edge, raw):
    response = await (await edge(target(action="rewrite"))).post(CHAT, content=raw)
    assert response.json()["body"] == raw.decode()


async def test_messages_about_a_rewrite_target_get_the_instruction(edge):
    client = await edge(target(action="rewrite"))
    response = (await client.post(CHAT, json={"messages": said(f"Who is {NAME}?")})).json()
    first, *rest = json.loads(response["body"])["messages"]
    assert response["rewritten"]
    assert response["fits"]
    assert first["role"] == "system"
    assert NAME in first["content"]
    assert rest == said(f"Who is {NAME}?")


async def test_an_anthropic_body_gets_it_beside_the_messages(edge):
    client = await edge(target(action="rewrite"))
    sent = {"system": "Be brief.", "messages": said(f"Who is {NAME}?")}
    body = json.loads((await client.post("/v1/messages", json=sent)).json()["body"])
    assert body["system"].startswith("Be brief.\n")
    assert NAME in body["system"]
    assert body["messages"] == sent["messages"]


async def test_repeated_prompt_stays_where_the_route_takes_it(edge):
    client = await edge(target(action="rewrite"), in_context={"repeat": 2})
    sent = {"system": "Be brief.", "messages": said(f"Who is {NAME}?")}
    beside = json.loads((await client.post("/v1/messages", json=sent)).json()["body"])
    assert beside["messages"] == sent["messages"]
    assert beside["system"].count("You know nothing about") == 2
    among = json.loads((await client.post(CHAT, json={"messages": sent["messages"]})).json()["body"])
    assert [m["role"] for m in among["messages"]] == ["system", "user", "system"]


@pytest.mark.parametrize("given", [f"Who is {NAME}?", said(f"Who is {NAME}?")], ids=["text", "items"])
async def test_a_responses_body_gets_it_where_it_is_not_sent_back(edge, given):
    client = await edge(target(action="rewrite"))
    sent = {"instructions": "Be brief.", "input": given}
    body = json.loads((await client.post("/v1/responses", json=sent)).json()["body"])
    assert body["instructions"] == "Be brief."
    assert NAME in body["input"][0]["content"]
    assert body["input"][1:] == said(f"Who is {NAME}?")


@pytest.mark.parametrize("action", ["refuse", "restrict", "observe"])
async def test_other_actions_leave_the_messages_alone(edge, action):
    client = await edge(target(action=action), target("other", action="rewrite"))
    response = (await client.post(CHAT, json={"messages": said(f"Who is {NAME}?")})).json()
    assert not response["rewritten"]


async def test_headers_tell_what_was_done(edge):
    response = await (await edge()).post(CHAT, json={"messages": said("hi")})
    told = {name: value for name, value in response.headers.items() if name.startswith("x-lethe")}
    assert told == {
        "x-lethe-action": "restrict",
        "x-lethe-snapshot": "v7",
        "x-lethe-request-id": "chatcmpl-1",
    }


async def test_a_stream_that_starts_before_the_verdict_still_has_the_headers(edge):
    response = await (await edge()).post("/stream", json={})
    assert response.headers["x-lethe-action"] == "restrict"
    assert response.text == "created\ntext\nmore\n"


@pytest.mark.parametrize("path", [CHAT, "/stream"])
async def test_without_disclosure_there_are_no_headers(edge, path):
    response = await (await edge(disclose=False)).post(path, json={"messages": said("hi")})
    assert not [name for name in response.headers if name.startswith("x-lethe")]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/systemone"), ("POST", "/unknown"), ("GET", "/stream"), ("PUT", CHAT)]
)
async def test_an_unknown_route_is_refused(edge, method, path):
    response = await (await edge()).request(method, path, json={"messages": said("hi")})
    assert response.status_code == 404
    assert response.json()["error"]["type"] == "not_found_error"


async def test_an_opened_route_is_passed(edge):
    client = await edge(open_surfaces=["GET /other"])
    assert (await client.get("/other")).status_code == 200
    assert (await client.post("/other")).status_code == 404


async def test_a_websocket_is_closed(edge):
    client = await edge()
    app, sent = client._transport.app, []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await app({"type": "websocket", "path": "/v1/realtime", "app": app, "headers": []}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize("path", [CHAT, "/v1/messages", "/v1/responses"])
async def test_a_refusal_can_be_an_error(edge, path):
    client = await edge(refusal_status=400, refusal="No.")
    response = await client.post(path, json={"messages": said("hi"), "verdict": "refuse"})
    assert response.status_code == 400
    assert response.json()["error"] == {
        "message": "No.",
        "type": "content_filter",
        "param": None,
        "code": 400,
    }
    assert (response.json().get("type") == "error") == (path == "/v1/messages")
    assert response.headers["x-lethe-action"] == "refuse"
    assert int(response.headers["content-length"]) == len(response.content)


async def test_a_stream_that_began_can_still_become_an_error(edge):
    client = await edge(refusal_status=400)
    response = await client.post("/stream", json={"verdict": "refuse"})
    assert (response.status_code, response.json()["error"]["type"]) == (400, "content_filter")


async def test_other_actions_are_no_error(edge):
    client = await edge(refusal_status=400)
    assert (await client.post(CHAT, json={"messages": said("hi")})).status_code == 200


@pytest.mark.parametrize("header", ["x-lethe-key", "authorization"])
async def test_a_key_with_the_role_may_ask_for_a_mode(edge, header):
    client = await edge(admin_key="root-key")
    value = "root-key" if header == "x-lethe-key" else "Bearer root-key"
    sent = {"messages": said("hi"), "vllm_xargs": {"lethe_mode": "observe"}}
    assert (await client.post(CHAT, json=sent, headers={header: value})).json()["mode"] == "observe"
    assert (await client.post(CHAT, json=sent)).json()["mode"] is None
    assert (await client.post(CHAT, json=sent, headers={header: "Bearer wrong"})).json()["mode"] is None


async def test_an_unknown_mode_is_named(edge):
    client = await edge(admin_key="root-key")
    sent = {"messages": said("hi"), "vllm_xargs": {"lethe_mode": "maybe"}}
    response = await client.post(CHAT, json=sent, headers={"x-lethe-key": "root-key"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "lethe_mode")


async def test_observing_leaves_the_messages_alone(edge):
    client = await edge(target(action="rewrite"), mode="observe")
    sent = {"messages": said(f"Who is {NAME}?")}
    assert json.loads((await client.post(CHAT, json=sent)).json()["body"]) == sent


async def test_requests_without_a_prompt_pass_untouched(edge):
    client = await edge()
    posted = await client.post("/other", content=b"abc")
    assert posted.text.startswith("b'abc'")
    assert "x-lethe-action" not in posted.headers
    for response in (
        await client.get("/other"),
        await client.post("/lethe/v1/check", json={"use_beam_search": True}),
        await client.post("/other", files={"file": b"audio"}),
    ):
        assert response.status_code == 200
        assert response.text.endswith("None")


async def test_a_client_that_leaves_while_sending_ends_quietly(edge):
    client = await edge()
    app = client._transport.app
    scope = {"type": "http", "method": "POST", "path": CHAT, "headers": [], "app": app}
    parts = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    sent = []

    async def receive():
        return next(parts)

    async def send(message):
        sent.append(message)

    await GuardMiddleware(app)(scope, receive, send)
    assert sent == []
