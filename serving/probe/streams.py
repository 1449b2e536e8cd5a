"""Streams: what their deltas say in a row, and whether they keep their shape."""

from __future__ import annotations

import asyncio
from typing import Any

from serving.probe.client import Answer
from serving.probe.outcome import Kind, Outcome, worst
from serving.probe.session import CHAT, COMPLETIONS, Session, user
from serving.probe.subjects import Subject
from serving.probe.surface import Surface

RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"


async def chat(session: Session, subject: Subject) -> Outcome:
    """Streams chats: one and two at once, with and without usage in every chunk."""
    return await _openai(session, subject, CHAT, "chat.completion.chunk")


async def completions(session: Session, subject: Subject) -> Outcome:
    """Streams completions: one and two at once, with and without usage in every chunk."""
    return await _openai(session, subject, COMPLETIONS, "text_completion")


async def responses(session: Session, subject: Subject) -> Outcome:
    """Streams the Responses API."""
    body = {"input": subject.questions[0].prompt, "temperature": 0, "max_output_tokens": session.length}
    answer = await session.client.generate(RESPONSES, {**body, "stream": True})
    kinds = [event.get("type") for event in answer.events if isinstance(event, dict)]
    shaped = kinds[:1] == ["response.created"] and kinds[-1:] in (
        ["response.completed"],
        ["response.incomplete"],
    )
    fault = "" if shaped or not answer.ok else "the stream does not run from created to completed"
    return worst([await session.check(answer, subject), *_malformed(fault)])


async def messages(session: Session, subject: Subject) -> Outcome:
    """Streams the Anthropic-style messages route."""
    body = {"messages": user(subject.questions[0].prompt), "max_tokens": session.length, "temperature": 0}
    answer = await session.client.generate(MESSAGES, {**body, "stream": True})
    kinds = [event.get("type") for event in answer.events if isinstance(event, dict)]
    shaped = kinds[:1] == ["message_start"] and "message_stop" in kinds
    fault = "" if shaped or not answer.ok else "the stream does not run from message_start to message_stop"
    return worst([await session.check(answer, subject), *_malformed(fault)])


async def _openai(session: Session, subject: Subject, path: str, kind: str) -> Outcome:
    prompt = subject.questions[0].prompt
    asked: dict[str, Any] = (
        {"messages": user(prompt)} if path == CHAT else {"prompt": await session.rendered(prompt)}
    )
    ways: list[dict[str, Any]] = [
        {},
        {"stream_options": {"include_usage": True}},
        {"stream_options": {"include_usage": True, "continuous_usage_stats": True}, "n": 2, "temperature": 1},
        {"logprobs": True, "top_logprobs": 5} if path == CHAT else {"logprobs": 5},
    ]
    answers = await asyncio.gather(
        *(
            session.client.generate(
                path, {**asked, **session.greedy, "seed": session.seed, **way, "stream": True}
            )
            for way in ways
        )
    )
    outcomes = [await session.check(answer, subject) for answer in answers]
    for way, answer in zip(ways, answers, strict=True):
        if answer.ok:
            outcomes += _malformed(fault_of(answer, kind, way))
    return worst(outcomes)


def fault_of(answer: Answer, kind: str, way: dict[str, Any]) -> str:
    """What is wrong with the shape of an OpenAI stream; "" if nothing."""
    chunks = [event for event in answer.events if isinstance(event, dict)]
    if len(chunks) < len(answer.events) or any(chunk.get("object") != kind for chunk in chunks):
        return f"a chunk is no {kind} object"
    if not answer.closed:
        return "the stream does not end with [DONE]"
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    ends = sorted(choice["index"] for choice in choices if choice.get("finish_reason"))
    if ends != list(range(way.get("n", 1))):
        return "not every choice has exactly one finish_reason"
    usage = way.get("stream_options", {})
    if usage and not (chunks[-1].get("usage") and not chunks[-1]["choices"]):
        return "the usage chunk does not come last"
    if usage.get("continuous_usage_stats") and not all(chunk.get("usage") for chunk in chunks):
        return "a chunk lacks its usage"
    return ""


def _malformed(fault: str) -> list[Outcome]:
    return [Outcome(Kind.MALFORMED, fault)] if fault else []


STREAMS = {
    "stream.chat": Surface("streamed chats, also n=2 and with usage in every chunk", chat),
    "stream.completions": Surface(
        "streamed completions, also n=2 and with usage in every chunk", completions
    ),
    "stream.responses": Surface("the streamed Responses API", responses),
    "stream.messages": Surface("the streamed messages route", messages),
}
