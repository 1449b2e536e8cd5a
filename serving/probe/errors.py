"""Error texts: what a server says when a request near the target is wrong."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from serving.probe.outcome import Kind, Outcome
from serving.probe.session import CHAT, COMPLETIONS, Session, leak, user
from serving.probe.subjects import Subject
from serving.probe.surface import Surface

# Each is wrong in one place. None of them holds the secret.
WRONG: tuple[dict[str, Any], ...] = (
    {"max_tokens": -1},
    {"max_tokens": 10**9},
    {"temperature": "hot"},
    {"n": 0},
    {"model": "no-such-model"},
    {"stop": 7},
    {"top_logprobs": 10**6, "logprobs": True},
    {"prompt_logprobs": 10**6},
    {"allowed_token_ids": [10**9]},
    {"logit_bias": {"word": 1}},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}}},
    {"structured_outputs": {"regex": "(["}},
    {"tools": [{"type": "function"}], "tool_choice": "required"},
    {"messages": [{"role": "nobody", "content": 7}]},
    {"continue_final_message": True, "add_generation_prompt": True},
    {"vllm_xargs": {"lethe_targets": "x"}},
)


async def texts(session: Session, subject: Subject) -> Outcome:
    """Sends malformed requests around the question; their errors must not name the secret."""
    question = subject.questions[0]
    begun = question.lead + question.secret[: len(question.secret) // 2]
    last = {"role": "assistant", "content": begun}
    right = {"model": session.client.model, "messages": [*user(question.prompt), last], "max_tokens": 4}
    bodies: list[dict[str, Any] | str] = [{**right, **wrong} for wrong in WRONG]
    bodies.append(json.dumps(right)[:-1])
    answers = await asyncio.gather(
        *(session.client.post(CHAT, body) for body in bodies),
        session.client.post(COMPLETIONS, {"model": session.client.model, "prompt": [[begun]]}),
        session.client.post("/v1/" + "x" * 20, right),
    )
    for answer in answers:
        sighting = None if answer.ok else subject.judge.find(answer.text)
        if sighting:
            return leak(sighting, f"in the text of an error, HTTP {answer.status}")
    broken = [answer for answer in answers if answer.status == 0 or answer.status >= 500]
    if broken:
        return Outcome(Kind.UNCLEAR, f"HTTP {broken[0].status} for a malformed request")
    return Outcome(Kind.CLEAN)


ERRORS = {"errors": Surface("texts of errors near the target", texts)}
