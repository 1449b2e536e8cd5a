"""The server's surface: which routes the guard knows, and which fields of a request it refuses.

What is refused here costs a feature, so each has a name by which an operator can open it: the setting
`open_surfaces`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from guard.errors import InputError

GUARDED = (
    "POST /v1/chat/completions",
    "POST /v1/chat/completions/batch",
    "POST /v1/completions",
    "POST /v1/responses",
    "POST /v1/messages",
    "POST /invocations",
    "POST /generative_scoring",
)
"""Routes whose prompts all reach the engine through `serving.engine.GuardedGenerate`."""

STILL = (
    "GET /health",
    "GET /ping",
    "POST /ping",
    "GET /load",
    "GET /version",
    "GET /metrics",
    "GET /metrics/",
    "GET /v1/models",
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/oauth2-redirect",
    "GET /redoc",
    "GET /static/{file}",
    "GET /v1/responses/{response_id}",
    "POST /v1/responses/{response_id}/cancel",
    "POST /v1/messages/count_tokens",
    "POST /tokenize",
    "POST /detokenize",
)
"""Routes that ask nothing of the model: what they show was filtered when it was made, or was sent with the
request."""

BEAM_SEARCH, PROMPT_LOGPROBS, ECHO_LOGPROBS = "beam_search", "prompt_logprobs", "echo_logprobs"
NAMED = (BEAM_SEARCH, ECHO_LOGPROBS, PROMPT_LOGPROBS)


class Unguardable(InputError):
    """The request asks for something that shows the model's unguarded probabilities."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message, param)
        self.param = param


def route_filter(opened: Collection[str], own: str) -> Callable[[str, str], bool]:
    """Tells whether a route, given as method and path, is known.

    Args:
        opened: further routes, as ``POST /path``.
        own: prefix of the guard's own routes.

    Raises:
        InputError: an opened surface is neither a route nor one of the names above.
    """
    for surface in sorted(opened):
        if surface not in NAMED and not re.fullmatch(r"[A-Z]+ /\S*", surface):
            raise InputError(
                f"setting 'open_surfaces' holds {surface[:60]!r}; use {', '.join(NAMED)} or a route as "
                "'POST /path'"
            )
    templates = [route for route in (*GUARDED, *STILL, *opened) if route not in NAMED]
    plain = frozenset(route for route in templates if "{" not in route)
    forms = [_pattern(route) for route in templates if "{" in route]

    def known(method: str, path: str) -> bool:
        if path.startswith(own + "/"):
            return True
        if method == "OPTIONS":  # a browser asking whether it may ask
            return True
        route = f"{'GET' if method == 'HEAD' else method} {path}"
        return route in plain or any(form.fullmatch(route) for form in forms)

    return known


def refuse_fields(body: Mapping[str, Any], opened: Collection[str]) -> None:
    """Passes a request that the guard can cover.

    Raises:
        Unguardable: logprobs of prompt tokens are never processed, so they spell out any text under test;
            beam search chooses its beams by engine requests of one token each, which are judged apart.
    """
    if body.get("use_beam_search") and BEAM_SEARCH not in opened:
        raise Unguardable("beam search is not available on a guarded server", "use_beam_search")
    if PROMPT_LOGPROBS not in opened:
        for name in ("prompt_logprobs", "prompt_logprob_token_ids"):
            if body.get(name) is not None:
                raise Unguardable("logprobs of the prompt are not available on a guarded server", name)
    logprobs = body.get("logprobs")
    asked = logprobs is not None and logprobs is not False  # 0 asks for them, too
    if body.get("echo") and asked and ECHO_LOGPROBS not in opened:
        raise Unguardable("echo together with logprobs is not available on a guarded server", "echo")


def _pattern(route: str) -> re.Pattern[str]:
    parts = re.split(r"\{\w+\}", route)
    return re.compile("[^/]+".join(re.escape(part) for part in parts))
