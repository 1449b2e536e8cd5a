"""The in-context unlearning prompt, put into request bodies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from guard.errors import InputError
from guard.incontext import InContext, Injected
from guard.pipeline import Pipeline
from guard.types import Action
from serving.check import segments_of


def rewrites(pipeline: Pipeline) -> bool:
    """True if any target asks for rewriting."""
    return any(target.action == "rewrite" for target in pipeline.snapshot.targets.values())


def rewrite_body(body: dict[str, Any], path: str, pipeline: Pipeline, config: InContext) -> Injected | None:
    """Rewrites a conversation whose verdict is ``rewrite``; what was put into it, or None if nothing was.

    Bodies without a conversation stay as they are, and malformed ones too: vLLM explains what is wrong.
    """
    # Not `instructions` under Responses: that route sends them back to the client.
    name = "input" if path == "/v1/responses" else "messages"
    messages: Any = body.get(name)
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    beside = path == "/v1/messages"  # the route that keeps the system text beside the messages
    system: list[dict[str, object]] = (
        [{"role": "system", "content": body.get("system") or ""}] if beside else []
    )
    try:
        segments = segments_of([*system, *messages] if isinstance(messages, list) else messages)
    except InputError:
        return None
    verdict = pipeline.inspect(segments)
    if verdict.action is not Action.REWRITE:
        return None
    if beside:
        # No system message may stand among the others there.
        config = replace(config, place="system")
    injected = pipeline.rewrite([*system, *messages], verdict, config)
    if not injected.tokens:
        return None
    if beside:
        body["system"] = injected.messages[0]["content"]
    else:
        body[name] = injected.messages
    return injected
