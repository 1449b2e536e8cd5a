"""What a probe is given, and the session that it opens."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from guard.errors import InputError
from serving.probe.client import Client, Unreachable, first_model
from serving.probe.session import LENGTH, LONG, Session
from serving.probe.subjects import Subject, names_of, read_subjects, subjects
from serving.probe.tokens import Tokens, local_tokenizer


@dataclass(frozen=True)
class Options:
    """Everything a probe can be told."""

    url: str
    targets: Path
    controls: Path | None = None
    strangers: Path | None = None
    registered: Path | None = None
    model: str | None = None  # default: the server's first
    api_key: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)  # merged into each generating request
    tokenizer: Path | None = None
    samples: int = 128
    timeout: float = 120.0  # of each request, seconds
    seed: int = 0


@asynccontextmanager
async def opened(options: Options) -> AsyncIterator[tuple[Session, list[Subject]]]:
    """A session with the server, and the subjects to ask about.

    Raises:
        InputError: a file cannot be used.
        Unreachable: the server does not answer.
    """
    targets = read_subjects(options.targets)
    controls = read_subjects(options.controls, control=True) if options.controls else []
    strangers = _lines(options.strangers) if options.strangers else ()
    names = tuple(dict.fromkeys(name for target in targets for name in names_of(target)))
    local = local_tokenizer(options.tokenizer) if options.tokenizer else None
    headers = {"authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    try:
        http = httpx.AsyncClient(base_url=options.url, headers=headers, timeout=options.timeout)
    except (httpx.InvalidURL, ValueError) as error:
        raise Unreachable(f"{options.url!r} is no URL ({error})") from None
    async with http:
        client = Client(http, options.model or await first_model(http), options.body)
        session = Session(
            client,
            Tokens(client, local),
            length=await _length(client),
            samples=options.samples,
            seed=options.seed,
            strangers=strangers,
            registered=_lines(options.registered) if options.registered else names,
        )
        yield session, subjects(targets, controls)


def parse_body(text: str) -> dict[str, Any]:
    """The object that a JSON text holds.

    Raises:
        InputError: it holds none.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"--body holds no JSON ({error})") from None
    if not isinstance(found, dict):
        raise InputError('--body is JSON but no object; give one such as \'{"bad_words": ["..."]}\'')
    return found


async def _length(client: Client) -> int:
    """Tokens an answer may have, so that a long one still fits into the window that the server tells."""
    answer = await client.get("/v1/models")
    listed = answer.body.get("data") if isinstance(answer.body, dict) else None
    windows = [entry.get("max_model_len") for entry in listed or () if isinstance(entry, dict)]
    window = next((size for size in windows if isinstance(size, int)), 2 * LONG * LENGTH)
    return max(16, min(LENGTH, window // (2 * LONG)))


def _lines(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text ({type(error).__name__})") from None
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
