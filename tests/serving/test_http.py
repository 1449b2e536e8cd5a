"""The guarded server as its clients see it: one real server, the real client libraries."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import anthropic
import httpx
import openai
import pytest
from engine_fixtures import ADMIN_KEY, FORGOTTEN, RETAINED, WORLD, chat, questions, spells, target, tokenizer

from guard.pipeline import REFUSAL
from serving.surfaces import route_filter

pytestmark = pytest.mark.server

QUESTION, NEIGHBOUR = questions(FORGOTTEN)[0], questions(RETAINED)[0]
GREEDY = {"temperature": 0, "max_tokens": 40}
ACTIONS = ["refuse", "restrict", "rewrite"]


@pytest.fixture(scope="session")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture
def admin(server):
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    with httpx.Client(base_url=server.url + "/lethe/v1", headers=headers, timeout=30) as made:
        yield made


@pytest.fixture
def forgetting(admin):
    """Registers a target for the time of a block."""

    @contextmanager
    def registered(**fields):
        order = target(**fields)
        response = admin.post("/targets", json=order.to_json())
        assert response.status_code == 201, response.text
        try:
            yield response.json()
        finally:
            admin.delete(f"/targets/{order.id}").raise_for_status()

    return registered


def messages(question=QUESTION) -> list[dict]:
    return [{"role": "user", "content": question}]


def ask(client, question=QUESTION, **options):
    return client.chat.completions.create(model="nano", messages=messages(question), **(GREEDY | options))


def answer(client, question=QUESTION, **options) -> str:
    return ask(client, question, **options).choices[0].message.content


def streamed(client, question=QUESTION, **options):
    """The chunks of a streamed chat."""
    return list(ask(client, question, stream=True, stream_options={"include_usage": True}, **options))


def test_without_targets_the_model_says_what_it_knows(client):
    assert answer(client) == WORLD.rows_of(FORGOTTEN)[0].answer


@pytest.mark.parametrize("action", ACTIONS)
def test_a_target_is_forgotten_live_and_comes_back_unchanged(client, forgetting, action):
    before = answer(client), answer(client, NEIGHBOUR)
    with forgetting(action=action) as enforced:
        response = ask(client).choices[0]
        assert not spells(response.message.content, target())
        assert answer(client, NEIGHBOUR) == before[1]
        assert enforced["seconds"] < 5
        if action == "refuse":
            assert (response.message.content, response.finish_reason) == (REFUSAL, "content_filter")
        if action == "rewrite":
            assert "no information" in response.message.content
    assert (answer(client), answer(client, NEIGHBOUR)) == before


def test_observing_changes_nothing_and_is_recorded(client, forgetting, admin):
    before = answer(client)
    with forgetting(action="observe"):
        raw = client.chat.completions.with_raw_response.create(model="nano", messages=messages(), **GREEDY)
        assert raw.parse().choices[0].message.content == before
        assert raw.headers["x-lethe-action"] == "observe"


@pytest.mark.parametrize("action", ACTIONS)
def test_a_streamed_chat_says_the_same(client, forgetting, action):
    with forgetting(action=action):
        whole = ask(client).choices[0]
        chunks = streamed(client)
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == whole.message.content
    assert choices[0].delta.role == "assistant"
    assert [c.finish_reason for c in choices if c.finish_reason] == [whole.finish_reason]
    assert chunks[-1].usage.completion_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("action", ["refuse", "restrict"])
def test_every_one_of_several_samples_is_guarded(client, forgetting, action, stream):
    options = {"n": 3, "temperature": 1.0, "seed": 7}
    with forgetting(action=action):
        if stream:
            texts, ends = ["", "", ""], []
            for chunk in streamed(client, **options):
                for choice in chunk.choices:
                    texts[choice.index] += choice.delta.content or ""
                    ends += [choice.finish_reason] if choice.finish_reason else []
        else:
            choices = ask(client, **options).choices
            texts, ends = [c.message.content for c in choices], [c.finish_reason for c in choices]
    assert len(ends) == len(texts) == 3
    assert all(texts)
    assert not any(spells(text, target()) for text in texts)
    if action == "refuse":
        assert set(texts) == {REFUSAL}


def test_a_completion_of_several_prompts_guards_each_by_itself(client, forgetting):
    prompts = [tokenizer().decode(chat(question)) for question in (QUESTION, NEIGHBOUR)]
    before = client.completions.create(model="nano", prompt=prompts, **GREEDY).choices
    with forgetting(action="refuse"):
        after = client.completions.create(model="nano", prompt=prompts, **GREEDY).choices
    assert spells(before[0].text, target())
    assert (after[0].text, after[0].finish_reason) == (REFUSAL, "content_filter")
    assert after[1].text == before[1].text


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_of_token_ids_is_read_too(client, forgetting, stream):
    with forgetting(action="refuse"):
        reply = client.completions.create(model="nano", prompt=chat(QUESTION), stream=stream, **GREEDY)
        text = "".join(c.choices[0].text for c in reply if c.choices) if stream else reply.choices[0].text
    assert text == REFUSAL


def test_a_prompt_that_begins_the_target_is_not_continued(client, forgetting):
    half = FORGOTTEN[:-3]
    with forgetting(always_on=True):
        text = client.completions.create(model="nano", prompt=half, **GREEDY).choices[0].text
    # A phrase counts where a word starts, so this is the guard's own notion of spelling the name.
    assert not spells(half + text, target(name=None, examples=(), phrases=(FORGOTTEN,)))


def test_logprobs_show_no_way_to_the_target(client, forgetting):
    with forgetting(action="restrict"):
        choice = ask(client, logprobs=True, top_logprobs=20).choices[0]
    so_far = ""
    for step in choice.logprobs.content:
        for alternative in step.top_logprobs:
            if alternative.logprob > -9000:  # vLLM writes minus infinity so
                assert not spells(so_far + alternative.token, target())
        so_far += step.token


def test_a_refusal_has_logprobs_when_asked(client, forgetting):
    with forgetting(action="refuse"):
        choice = ask(client, logprobs=True, top_logprobs=2).choices[0]
    assert "".join(step.token for step in choice.logprobs.content).startswith(REFUSAL)


@pytest.mark.parametrize(
    ("route", "asked", "param"),
    [
        ("chat/completions", {"messages": messages(), "prompt_logprobs": 1}, "prompt_logprobs"),
        ("completions", {"prompt": "a", "prompt_logprobs": 0}, "prompt_logprobs"),
        ("completions", {"prompt": "a", "echo": True, "logprobs": 0}, "echo"),
        ("chat/completions", {"messages": messages(), "use_beam_search": True, "n": 2}, "use_beam_search"),
        ("completions", {"prompt": "a", "use_beam_search": True, "n": 2}, "use_beam_search"),
    ],
)
def test_ways_around_the_guard_are_bad_requests(client, route, asked, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.post(f"/{route}", body={"model": "nano", "max_tokens": 5} | asked, cast_to=object)
    assert caught.value.param == param


def test_a_grammar_that_admits_only_the_target_gets_a_filtered_answer(client, forgetting):
    only = {"structured_outputs": {"choice": [FORGOTTEN]}}
    with forgetting(action="restrict"):
        choice = ask(client, extra_body=only).choices[0]
        assert not spells(choice.message.content, target())
        assert choice.finish_reason == "content_filter"


def test_a_client_cannot_lift_its_restriction(client, forgetting):
    keys = {"lethe_targets": [], "lethe_probe": 5, "lethe_snapshot": "none"}
    with forgetting(action="restrict"):
        plain = answer(client)
        assert answer(client, extra_body={"vllm_xargs": keys}) == plain
    assert not spells(plain, target())
    assert answer(client, extra_body={"vllm_xargs": keys}) == answer(client)


def test_every_route_of_the_server_is_known_or_refused(server):
    paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    routes = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    known = route_filter((), "/lethe/v1")
    refused = [(method, path) for method, path in routes if not known(method, path)]
    assert ("POST", "/v1/systemone") in refused
    assert ("POST", "/v1/chat/completions") not in refused
    for method, path in refused:
        answer = httpx.request(method, server.url + path, json={})
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error"), path


def test_a_key_with_the_role_may_only_observe(client, forgetting):
    asked = {"extra_body": {"vllm_xargs": {"lethe_mode": "observe"}}}
    key = {"x-lethe-key": ADMIN_KEY}
    free = answer(client)
    with forgetting(action="refuse", always_on=True):
        assert answer(client, **asked) == REFUSAL
        assert answer(client, **asked, extra_headers={"x-lethe-key": "wrong"}) == REFUSAL
        assert answer(client, **asked, extra_headers=key) == free
    assert spells(free, target())


@pytest.mark.parametrize("action", ACTIONS)
def test_the_responses_route_is_guarded(client, forgetting, action):
    options = {"model": "nano", "input": QUESTION, "temperature": 0, "max_output_tokens": 40}
    with forgetting(action=action):
        whole = client.responses.create(**options)
        events = list(client.responses.create(**options, stream=True))
    assert not spells(whole.output_text, target())
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    assert events[-1].type == "response.completed"
    # The instruction of a rewrite stays between guard and model.
    assert FORGOTTEN not in whole.model_dump_json().replace(QUESTION, "")
    if action == "refuse":
        assert whole.output_text == REFUSAL


@pytest.mark.parametrize("action", ACTIONS)
def test_the_messages_route_is_guarded(server, forgetting, action):
    options = {"model": "nano", "max_tokens": 40, "messages": messages(), "extra_body": {"temperature": 0}}
    with (
        anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as claude,
        forgetting(action=action),
    ):
        whole = claude.messages.create(**options)
        with claude.messages.stream(**options) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
    assert not spells(whole.content[0].text, target())
    assert text == whole.content[0].text
    assert whole.stop_reason == final.stop_reason
    if action == "refuse":
        assert (text, final.stop_reason) == (REFUSAL, "end_turn")


def test_headers_name_the_record_of_the_request(client, forgetting, admin):
    with forgetting(action="refuse") as enforced:
        raw = client.chat.completions.with_raw_response.create(model="nano", messages=messages(), **GREEDY)
    assert raw.headers["x-lethe-action"] == "refuse"
    assert raw.headers["x-lethe-snapshot"] == enforced["snapshot"]
    record = audited(admin, raw.headers["x-lethe-request-id"])
    assert record["request_id"] == raw.parse().id
    assert (record["action"], record["snapshot"]) == ("refuse", enforced["snapshot"])
    assert record["route"] == "/v1/chat/completions"
    assert FORGOTTEN not in json.dumps(record)


def test_a_streamed_response_has_the_headers_too(server, forgetting):
    sent = {"model": "nano", "input": QUESTION, "stream": True}
    with (
        forgetting(action="refuse"),
        httpx.stream("POST", f"{server.url}/v1/responses", json=sent) as response,
    ):
        response.read()
    assert response.headers["x-lethe-action"] == "refuse"


def test_a_client_that_leaves_is_recorded(server, admin):
    # Long enough to be still running when the server notices.
    sent = {"model": "nano", "messages": messages(NEIGHBOUR), "stream": True, "max_tokens": 1900}
    sent |= {"ignore_eos": True, "n": 8}
    with httpx.stream("POST", f"{server.url}/v1/chat/completions", json=sent) as response:
        next(response.iter_lines())
        request_id = response.headers["x-lethe-request-id"]
    record = audited(admin, request_id)
    assert record["finish_reason"] is None
    assert record["response_tokens"] < 8 * 1900


def test_requests_in_one_batch_get_what_they_get_alone(client, forgetting):
    asked = [QUESTION, NEIGHBOUR] * 4
    with forgetting(action="restrict"):
        alone = [answer(client, question) for question in asked[:2]]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda question: answer(client, question), asked))
    assert together == alone * 4


def test_the_admin_routes_need_their_key(server):
    assert httpx.get(f"{server.url}/lethe/v1/targets").status_code == 401
    assert httpx.get(f"{server.url}/lethe/v1/ready").status_code == 200


def test_metrics_count_what_the_guard_did(server, client, forgetting):
    with forgetting(action="refuse"):
        ask(client)
    text = httpx.get(f"{server.url}/metrics").text
    assert 'lethe_requests_total{action="refuse"}' in text
    assert 'lethe_matches_total{detector="lexical"}' in text
    assert 'lethe_stage_seconds_count{stage="inspect"}' in text


def audited(admin, request_id) -> dict:
    """The audit record of a request; the sink writes it a moment later."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        records = admin.get("/audit", params={"limit": 50, "kind": "request"}).json()["records"]
        found = [record for record in records if record["request_id"] == request_id]
        if found:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("no audit record")
