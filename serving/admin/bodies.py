"""What a request carries: its body, read within bounds and parsed whatever it is said to be."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import Depends, Request

from serving.admin.errors import NotJson, TooLarge

BODY_BYTES = 64 << 20  # some 100,000 targets in one import


async def _read(request: Request) -> bytes:
    """The body. Raises TooLarge."""
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_BYTES:
            raise TooLarge(f"the body is longer than {BODY_BYTES >> 20} MiB; send it in parts")
        chunks.append(chunk)
    return b"".join(chunks)


Raw = Annotated[bytes, Depends(_read)]
"""The bytes of the body."""


def _text(raw: Raw) -> str:
    """The body as text. Raises NotJson."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise NotJson("the body is not UTF-8 text") from None


Text = Annotated[str, Depends(_text)]
"""The body as text."""


def _json(raw: Raw) -> Any:
    """The body as JSON. Raises NotJson."""
    try:
        return json.loads(raw)
    except ValueError:
        raise NotJson("the body is not JSON") from None
    except RecursionError:
        raise NotJson("the body is JSON that is nested too deeply") from None


Json = Annotated[Any, Depends(_json)]
"""The body as parsed JSON; its Content-Type does not matter, because `curl -d` says nothing true."""
