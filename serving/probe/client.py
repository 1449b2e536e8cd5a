"""HTTP to the server under test: what was sent, what came back, when."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from guard.errors import LetheError

AT_ONCE = 8  # requests in flight


class Unreachable(LetheError, ConnectionError):
    """The server under test does not answer, or offers no model."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered request.

    Attributes:
        status: HTTP status; 0 if no answer came.
        body: the parsed JSON, None if the body is none.
        text: the body as it came; the reason if no answer came.
        events: the parsed events of a stream, without the closing one.
        closed: True if a stream ended with ``[DONE]``.
        sent: the request's body.
        headers: lower-case names.
        first: seconds to the first event of a stream, else to the whole answer.
        seconds: seconds to the end.
    """

    status: int
    body: Any = None
    text: str = ""
    events: tuple[Any, ...] = ()
    closed: bool = False
    sent: str = ""
    headers: tuple[str, ...] = ()
    first: float = 0.0
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """True for success: an answer, or a stream without an error in it."""
        return 200 <= self.status < 300 and not (self.events and self.error)

    @property
    def error(self) -> dict[str, Any]:
        """The OpenAI error, of a stream the first one in it; empty if there is none."""
        for item in (self.body, *self.events):
            error = item.get("error") if isinstance(item, dict) else None
            if isinstance(error, dict):
                return error
        return {}

    @property
    def error_type(self) -> str:
        """The type of the error, "" if there is none."""
        kind = self.error.get("type")
        return kind if isinstance(kind, str) else ""

    @property
    def error_status(self) -> int:
        """The HTTP status, or the one that an error inside a stream names."""
        code = self.error.get("code")
        return code if 200 <= self.status < 300 and isinstance(code, int) else self.status

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The choices of a chat or completion, none if it is malformed."""
        found = self.body.get("choices") if isinstance(self.body, dict) else None
        return [choice for choice in found if isinstance(choice, dict)] if isinstance(found, list) else []


@dataclass
class Client:
    """Sends requests, counts them, and keeps only a few in flight."""

    http: httpx.AsyncClient
    model: str
    extra: Mapping[str, Any] = field(default_factory=dict)  # merged into each generating request
    requests: int = 0
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def generate(self, path: str, body: Mapping[str, Any]) -> Answer:
        """The answer to a request that generates; the model's name and the extra fields are added."""
        return await self.post(path, {"model": self.model, **self.extra, **body})

    async def post(self, path: str, body: Mapping[str, Any] | str) -> Answer:
        """The answer to a request as it stands; text is sent without being JSON."""
        sent = body if isinstance(body, str) else json.dumps(body)
        async with self._slots:
            self.requests += 1
            started = time.perf_counter()
            try:
                return await self._post(path, sent, started)
            except httpx.HTTPError as error:
                return Answer(0, text=type(error).__name__, sent=sent, seconds=time.perf_counter() - started)

    async def get(self, path: str) -> Answer:
        """The answer to a plain request."""
        self.requests += 1
        try:
            response = await self.http.get(path)
        except httpx.HTTPError as error:
            return Answer(0, text=type(error).__name__)
        return Answer(response.status_code, _parsed(response.text), response.text)

    async def _post(self, path: str, sent: str, started: float) -> Answer:
        headers = {"content-type": "application/json"}
        async with self.http.stream("POST", path, content=sent, headers=headers) as response:
            names = tuple(sorted(response.headers))
            streams = response.headers.get("content-type", "").startswith("text/event-stream")
            lines: list[str] = []
            first = 0.0
            if streams:
                async for line in response.aiter_lines():
                    first = first or time.perf_counter() - started
                    lines.append(line)
                text = "\n".join(lines)
            else:
                text = (await response.aread()).decode("utf-8", "replace")
        data = [line[5:].strip() for line in lines if line.startswith("data:")]
        events = tuple(_parsed(item) for item in data if item != "[DONE]")
        seconds = time.perf_counter() - started
        body = None if streams else _parsed(text)
        closed = data[-1:] == ["[DONE]"]
        return Answer(
            response.status_code, body, text, events, closed, sent, names, first or seconds, seconds
        )


async def first_model(http: httpx.AsyncClient) -> str:
    """The name of the first model that a server lists.

    Raises:
        Unreachable: there is no answer, or no model in it.
    """
    url = str(http.base_url).rstrip("/")
    try:
        response = await http.get("/v1/models")
        listed = response.json()["data"][0]["id"]
    except httpx.HTTPError as error:
        raise Unreachable(f"{url} does not answer ({type(error).__name__}); is the server running?") from None
    except (ValueError, LookupError, TypeError):
        raise Unreachable(
            f"{url}/v1/models lists no model (HTTP {response.status_code}); give --model and, if the server "
            "wants one, --api-key"
        ) from None
    return str(listed)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
