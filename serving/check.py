"""Verdicts on prompts without an engine: the rows of ``lethe check`` and of the check route."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard.errors import InputError
from guard.pipeline import Pipeline
from guard.types import Verdict

BATCH = 256  # prompts whose sentences are encoded in one call


@dataclass(frozen=True, slots=True)
class CheckRow:
    """A prompt to judge, as its messages, and optionally what the model would answer."""

    id: str | int
    segments: tuple[str, ...]
    response: str | None = None

    @classmethod
    def parse(cls, data: Any) -> CheckRow:
        """The row described by a JSON object; fields it does not know are ignored.

        Raises:
            InputError: a field is missing or malformed; the message names it.
        """
        if not isinstance(data, dict):
            raise InputError("not a JSON object")
        key = data.get("id", "")
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise InputError("field 'id' is neither text nor a whole number")
        if isinstance(key, str):
            _require_text(key, "id")
        if ("prompt" in data) == ("messages" in data):
            raise InputError("give exactly one of the fields 'prompt' and 'messages'")
        response = data.get("response")
        if response is not None:
            _require_text(response, "response")
        if "messages" in data:
            segments = segments_of(data["messages"])
            for text in segments:
                _require_text(text, "messages")
            return cls(key, segments, response)
        _require_text(data["prompt"], "prompt")
        return cls(key, (data["prompt"],), response)


def segments_of(messages: Any) -> tuple[str, ...]:
    """The text of each chat message, in order; messages without text are left out.

    Raises:
        InputError: a message is not as the chat API has it; the message names the field.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise InputError("field 'messages' is not a list")
    texts = []
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise InputError(f"field 'messages.{index}' is not an object")
        texts.append(_text(message.get("content"), f"messages.{index}.content"))
    return tuple(text for text in texts if text)


def check_rows(
    pipeline: Pipeline, rows: Sequence[CheckRow], advance: Callable[[int], None] = lambda count: None
) -> Iterator[dict[str, Any]]:
    """One result per row, in order; ``advance`` is told the number of rows done since its last call."""
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        # One encoder call for the batch; the encoder remembers, so judging row by row then costs no encoding.
        pipeline.classifier.matches_each([row.segments for row in batch])
        for row in batch:
            yield check_row(pipeline, row)
        advance(len(batch))


def check_row(pipeline: Pipeline, row: CheckRow) -> dict[str, Any]:
    """The verdict on a row; ``released`` is what a client would get had the model answered ``response``."""
    if row.response is None:
        return _result(row, pipeline.inspect(row.segments))
    verdict, released = pipeline.release(row.segments, row.response)
    return _result(row, verdict) | {"released": released}


def read_rows(path: Path | str) -> list[CheckRow]:
    """The rows of a JSON Lines file; blank lines are skipped.

    Raises:
        InputError: the file cannot be read, or a line is no row; names the line and the field.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text ({type(error).__name__})") from None
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            if isinstance(data, dict) and "id" not in data:
                raise InputError("field 'id' is missing")
            rows.append(CheckRow.parse(data))
        except json.JSONDecodeError as error:
            raise InputError(
                f"{path} line {number}: no JSON at column {error.colno}; write one object a line"
            ) from None
        except RecursionError:
            raise InputError(f"{path} line {number}: JSON that is nested too deeply") from None
        except InputError as error:
            raise InputError(f"{path} line {number}: {error}") from None
    return rows


def _result(row: CheckRow, verdict: Verdict) -> dict[str, Any]:
    matches = [
        {"target_id": m.target_id, "detector": m.detector, "score": m.score, "threshold": m.threshold}
        for m in verdict.matches
    ]
    watched = {"watched": list(verdict.watched)} if verdict.watched else {}
    return {"id": row.id, "action": verdict.action.value, "matches": matches, **watched}


def _require_text(value: Any, field: str) -> None:
    """Passes text that can be written as UTF-8. Raises InputError."""
    if not isinstance(value, str):
        raise InputError(f"field {field!r} is not text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"field {field!r} has half a surrogate pair at character {error.start}") from None


def _text(content: Any, field: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence) or not all(isinstance(part, Mapping) for part in content):
        raise InputError(f"field {field!r} is neither text nor a list of parts")
    # Parts of other types (images, audio) carry no text.
    texts = [part["text"] for part in content if isinstance(part.get("text"), str)]
    return "\n".join(texts)
