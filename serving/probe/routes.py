"""Every further route that generates, scores or repeats."""

from __future__ import annotations

import asyncio
from typing import Any

from serving.probe.outcome import Outcome, Row, Status, worst
from serving.probe.session import CHAT, COMPLETIONS, Session, user
from serving.probe.streams import MESSAGES, RESPONSES
from serving.probe.subjects import Question, Subject
from serving.probe.surface import Surface


async def responses(session: Session, subject: Subject) -> Outcome:
    """Asks over the Responses API, with logprobs too."""

    async def ask(question: Question) -> Outcome:
        body: dict[str, Any] = {
            "input": question.prompt,
            "temperature": 0,
            "max_output_tokens": session.length,
        }
        shown = {"include": ["message.output_text.logprobs"], "top_logprobs": 5}
        answers = list(
            await asyncio.gather(
                session.client.generate(RESPONSES, body),
                session.client.generate(RESPONSES, {**body, **shown}),
            )
        )
        if answers[0].ok:  # a server may keep what it said
            kept = await session.client.get(f"{RESPONSES}/{answers[0].body['id']}")
            answers += [kept] if kept.ok else []
        return worst([await session.check(answer, subject) for answer in answers])

    return await session.each(subject, ask)


async def messages(session: Session, subject: Subject) -> Outcome:
    """Asks over the Anthropic-style messages route."""

    async def ask(question: Question) -> Outcome:
        body = {"messages": user(question.prompt), "max_tokens": session.length, "temperature": 0}
        return await session.check(await session.client.generate(MESSAGES, body), subject)

    return await session.each(subject, ask)


async def batch(session: Session, subject: Subject) -> Outcome:
    """Asks all questions as one batch of chats."""
    conversations = [user(question.prompt) for question in subject.questions]
    body = {"messages": conversations, **session.greedy}
    return await session.check(await session.client.generate(CHAT + "/batch", body), subject)


async def invocations(session: Session, subject: Subject) -> Outcome:
    """Asks over /invocations, which passes bodies on to the other routes."""

    async def ask(question: Question) -> Outcome:
        bodies: list[dict[str, Any]] = [
            {"messages": user(question.prompt)},
            {"prompt": await session.rendered(question.prompt)},
        ]
        answers = await asyncio.gather(
            *(session.client.generate("/invocations", {**body, **session.greedy}) for body in bodies)
        )
        return worst([await session.check(answer, subject) for answer in answers])

    return await session.each(subject, ask)


async def tokens(session: Session, subject: Subject) -> Outcome:
    """Asks over /inference/v1/generate, which takes and gives token ids."""

    async def ask(question: Question) -> Outcome:
        prompt = await session.tokens.chat(question.prompt)
        params = {**session.greedy, **session.client.extra, "logprobs": 5}
        answers = await asyncio.gather(
            *(
                session.client.post(
                    "/inference/v1/generate",
                    {"model": session.client.model, "token_ids": prompt, "sampling_params": params, **mode},
                )
                for mode in ({}, {"output_mode": "text"})
            )
        )
        return worst([await session.check(answer, subject) for answer in answers])

    return await session.each(subject, ask)


async def cohere(session: Session, subject: Subject) -> Outcome:
    """Asks over the Cohere-style chat route, whole and streamed."""
    body = {"messages": user(subject.questions[0].prompt), **session.greedy}
    answers = await asyncio.gather(
        *(session.client.generate("/cohere/v2/chat", {**body, "stream": stream}) for stream in (False, True))
    )
    return worst([await session.check(answer, subject) for answer in answers])


async def render(session: Session, subject: Subject) -> Outcome:
    """Has the prompt rendered by every route that does so: nothing may be added to it."""
    prompt = subject.questions[0].prompt
    bodies: dict[str, dict[str, Any]] = {
        CHAT: {"messages": user(prompt)},
        COMPLETIONS: {"prompt": prompt},
        MESSAGES: {"messages": user(prompt), "max_tokens": 8},
        RESPONSES: {"input": prompt},
        "/cohere/v2/chat": {"messages": user(prompt)},
    }
    answers = await asyncio.gather(
        *(session.client.generate(f"{path}/render", body) for path, body in bodies.items())
    )
    return worst([await session.check(answer, subject) for answer in answers])


async def tokenizer(session: Session, subject: Subject) -> Outcome:
    """Has the question tokenised and read back: nothing may be added to it."""
    prompt = subject.questions[0].prompt
    body = {"model": session.client.model, "messages": user(prompt), "return_token_strs": True}
    answer = await session.client.post("/tokenize", body)
    if not answer.ok:
        return await session.check(answer, subject)
    back = await session.client.post(
        "/detokenize", {"model": session.client.model, "tokens": answer.body["tokens"]}
    )
    return worst([await session.check(found, subject) for found in (answer, back)])


async def unknown(session: Session) -> Row:
    """Reads the server's OpenAPI document: a route that no attack tries is a surface that nobody judged."""
    answer = await session.client.get("/openapi.json")
    paths = answer.body.get("paths") if answer.ok and isinstance(answer.body, dict) else None
    if not isinstance(paths, dict):
        return Row("route.unknown", Status.NOT_OFFERED, note="the server has no /openapi.json")
    posts = [path for path, methods in paths.items() if "post" in methods]
    strange = [path for path in posts if path not in TRIED | SILENT and not path.startswith(OWN)]
    if strange:
        return Row("route.unknown", Status.ERROR, note=f"no attack tries {', '.join(strange)}")
    return Row("route.unknown", Status.PASS)


TRIED = frozenset(
    {CHAT, COMPLETIONS, RESPONSES, MESSAGES, CHAT + "/batch", "/invocations", "/inference/v1/generate"}
    | {"/cohere/v2/chat", "/tokenize", "/detokenize", "/generative_scoring", "/v1/score", "/v1/systemone"}
    | {f"{path}/render" for path in (CHAT, COMPLETIONS, RESPONSES, MESSAGES, "/cohere/v2/chat")}
)
OWN = "/lethe/v1/"  # administration, behind keys
# vLLM's routes that give no text: numbers, or the running of the server.
SILENT = frozenset(
    f"/{path}"
    for path in """
    abort_requests classify collective_rpc finish_weight_update fault_tolerance/apply
    inference/v1/abort_requests init_weight_transfer_engine is_scaling_elastic_ep pause ping pooling
    release_kv_cache_memory rerank reset_encoder_cache reset_mm_cache reset_prefix_cache resume
    scale_elastic_ep score shutdown_weight_transfer_engine sleep start_draft_weight_update start_profile
    start_weight_update stop_profile update_weight_version update_weights v1/embeddings v1/load_lora_adapter
    v1/messages/count_tokens v1/rerank v1/responses/{response_id}/cancel v1/unload_lora_adapter v2/embed
    v2/rerank wake_up weight_checker
    """.split()
)

ROUTES = {
    "route.responses": Surface("the Responses API, with logprobs", responses),
    "route.messages": Surface("the messages route", messages),
    "route.batch": Surface("a batch of chats", batch),
    "route.invocations": Surface("/invocations", invocations),
    "route.tokens": Surface("/inference/v1/generate: token ids in, token ids out", tokens),
    "route.cohere": Surface("/cohere/v2/chat", cohere),
    "route.render": Surface("the routes that render a prompt", render),
    "route.unknown": Surface("routes that the server lists and no attack tries", survey=unknown),
    "route.tokenize": Surface("/tokenize and /detokenize", tokenizer),
}
