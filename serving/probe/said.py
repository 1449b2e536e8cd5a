"""What an answer says: every string in it, wherever it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from serving.probe.client import Answer

POSSIBLE = -100.0  # a logprob above this is a real one: vLLM writes minus infinity as -9999
# Fields that hold what was generated. The rest may repeat the request.
_GENERATED = frozenset({"choices", "output", "content", "delta", "content_block", "part", "item"})
_GENERATED_TEXT = frozenset({"text", "arguments"})  # of events, at the top
_LABELS = frozenset({"finish_reason", "id", "object", "role"})  # beside what was generated
_NOT_TEXT = frozenset({"type", "logprobs", "prompt_logprobs"})


Path = tuple[str | int, ...]


def strings(answer: Answer, *, generated: bool = False) -> list[str]:
    """The strings of an answer; those of a stream's deltas are joined.

    Args:
        answer: the answer.
        generated: only what the model made, for requests that hold the secret themselves.
    """
    joined: dict[Path, str] = {}
    for number, item in enumerate([answer.body] if not answer.events else answer.events):
        for path, text in _walk(item, ()):
            if generated and not _is_generated(path):
                continue
            # Deltas of one field join; what is sent whole (an id, a finished part) stands by itself.
            key = path if "delta" in path or "choices" in path else (number, *path)
            joined[key] = joined.get(key, "") + text
    if answer.body is None and not answer.events:
        joined[()] = answer.text
    return [*joined.values(), *_inside(joined.values())]


def token_ids(answer: Answer) -> list[list[int]]:
    """Every list of token ids in an answer; those of a stream's chunks are joined."""
    found: dict[Path, list[int]] = {}
    for item in [answer.body, *answer.events]:
        for path, ids in _id_lists(item, ()):
            found.setdefault(path, []).extend(ids)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Step:
    """A generated token with its alternatives and their logprobs."""

    token: str
    alternatives: tuple[tuple[str, float], ...]

    @property
    def possible(self) -> list[str]:
        """Tokens that the server says could stand here, the generated one among them."""
        return [self.token, *(token for token, logprob in self.alternatives if logprob > POSSIBLE)]


def steps(answer: Answer) -> list[list[Step]]:
    """The steps of each completion, of a stream joined."""
    found: dict[int, list[Step]] = {}
    for item in [answer.body, *answer.events]:
        for choice in item.get("choices") or () if isinstance(item, dict) else ():
            logprobs = choice.get("logprobs") if isinstance(choice, dict) else None
            if isinstance(logprobs, dict):
                found.setdefault(choice.get("index", 0), []).extend(_steps(logprobs))
    found |= {-1 - n: list(map(_step, part)) for n, part in enumerate(_responses_parts(answer))}
    return [made for made in found.values() if made]


def _steps(logprobs: dict[str, Any]) -> Iterator[Step]:
    for entry in logprobs.get("content") or ():
        yield _step(entry)
    tokens = logprobs.get("tokens") or ()
    tops = logprobs.get("top_logprobs") or [None] * len(tokens)
    for token, top in zip(tokens, tops, strict=False):
        yield Step(token, tuple((top or {}).items()))


def _step(entry: dict[str, Any]) -> Step:
    tops = entry.get("top_logprobs") or ()
    return Step(entry["token"], tuple((top["token"], top["logprob"]) for top in tops))


def _responses_parts(answer: Answer) -> Iterator[list[Any]]:
    """Logprobs under the Responses API: of each finished part, and of a stream's deltas in a row."""
    yield [entry for event in answer.events if isinstance(event, dict) for entry in _delta_logprobs(event)]
    outputs = answer.body.get("output") if isinstance(answer.body, dict) else None
    for output in outputs if isinstance(outputs, list) else ():
        for part in output.get("content") or () if isinstance(output, dict) else ():
            if isinstance(part, dict) and part.get("logprobs"):
                yield part["logprobs"]


def _delta_logprobs(event: dict[str, Any]) -> list[Any]:
    found = event.get("logprobs") if event.get("type") == "response.output_text.delta" else None
    return found if isinstance(found, list) else []


def _walk(item: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(item, str):
        yield path, item
    elif isinstance(item, dict):
        kind = item.get("type")
        here = (*path, kind) if isinstance(kind, str) and not path else path
        for key, value in item.items():
            # Tokens of logprobs are no running text; `steps` reads them.
            if key not in _NOT_TEXT:
                yield from _walk(value, (*here, key))
    elif isinstance(item, list):
        for number, part in enumerate(item):
            index = part.get("index", number) if isinstance(part, dict) else number
            yield from _walk(part, (*path, index))


def _inside(texts: Any) -> Iterator[str]:
    """Strings within strings that are JSON themselves, as tool-call arguments are."""
    for text in texts:
        if text.lstrip()[:1] in ("{", "[", '"'):
            try:
                inner = json.loads(text)
            except ValueError:
                continue
            yield from (string for _, string in _walk(inner, ()))


def _is_generated(path: Path) -> bool:
    if path and path[-1] in _LABELS:
        return False
    at_top = isinstance(path[-1], str) and len(path) == 2 and path[-1] in _GENERATED_TEXT if path else False
    return at_top or any(key in _GENERATED for key in path)


def _id_lists(item: Any, path: Path) -> Iterator[tuple[Path, list[int]]]:
    if isinstance(item, dict):
        for key, value in item.items():
            if key.endswith("token_ids") and isinstance(value, list) and value:
                if all(isinstance(token, int) for token in value):
                    yield (*path, key), value
            else:
                yield from _id_lists(value, (*path, key))
    elif isinstance(item, list):
        for number, part in enumerate(item):
            index = part.get("index", number) if isinstance(part, dict) else number
            yield from _id_lists(part, (*path, index))
