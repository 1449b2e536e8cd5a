"""The guard's log lines: one form for all of our modules, on standard error, beside vLLM's own.

Modules log with the standard library, ids and counts only. Set up here is the handler of our packages'
loggers; vLLM's loggers, the root logger and whatever vLLM's own logging file configures stay as they are.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import MutableMapping
from io import FileIO, TextIOWrapper
from typing import Any, Literal

import structlog
from structlog.typing import Processor

from serving import tracing
from serving.exchange import exchange

PACKAGES = ("guard", "serving", "sae")
STREAM = 2  # standard error, not sys.stderr: vLLM may wrap that

Event = MutableMapping[str, Any]


class GuardHandler(logging.StreamHandler[Any]):
    """The handler set up here; its class tells it from others."""


def configure(form: Literal["text", "json"]) -> None:
    """Has our packages log to standard error from INFO on, as text or as one JSON object a line.

    A package whose logger has a handler already, from vLLM's logging file, keeps it.
    """
    handler = GuardHandler(TextIOWrapper(FileIO(STREAM, "w", closefd=False), "utf-8", line_buffering=True))
    handler.setFormatter(formatter(form))
    for name in PACKAGES:
        logger = logging.getLogger(name)
        if any(not isinstance(old, GuardHandler) for old in logger.handlers):
            continue
        logger.handlers[:] = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False


def formatter(form: Literal["text", "json"]) -> logging.Formatter:
    """Formats records of the standard library, with the request's id on every line of a request."""
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _of_request,
        _without_message,
    ]
    last: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False, pad_level=False)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
    )


def _of_request(logger: Any, method: str, event: Event) -> Event:
    """Adds the id of the request at hand, and of its trace."""
    current = exchange.get()
    if current is not None and current.request_id:
        event["request_id"] = current.request_id
    trace = tracing.trace_id()
    if trace is not None:
        event["trace_id"] = trace
    return event


def _without_message(logger: Any, method: str, event: Event) -> Event:
    """Says an exception by its class and place: its message may quote a prompt, a target or a row."""
    found = event.pop("exc_info", None)
    if isinstance(found, tuple) and found[0] is not None:
        event["exception"] = found[0].__name__
        frames = traceback.extract_tb(found[2])
        event["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return event
