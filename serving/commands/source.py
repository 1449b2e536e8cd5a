"""Targets as a command receives them: from a file, from standard input or from options."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guard.types import ForgetTarget


def described(file: str | None, **fields: Any) -> list[ForgetTarget]:
    """Targets from a JSON object, JSON Lines or the options alone; options override a single object.

    Raises:
        InputError: the file cannot be read, or options meet several objects.
        TargetError: a target is malformed.
    """
    from guard.errors import InputError
    from guard.targets import parse_jsonl
    from guard.types import ForgetTarget

    given = {name: value for name, value in fields.items() if value is not None}
    if file is None:
        return [ForgetTarget.parse(given)]
    text = read_text(file)
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        if given:
            raise InputError(
                f"{source_of(file)} is not one JSON object, which options could complete"
            ) from None
        return parse_jsonl(text, source_of(file))
    if isinstance(data, dict):
        held = data.get("matching")
        if "matching" in given and isinstance(held, dict):
            given["matching"] = held | given["matching"]
        data |= given
    return [ForgetTarget.parse(data)]


def read_text(path: str) -> str:
    """The text of a file, or of standard input for '-'. Raises InputError."""
    from guard.errors import InputError

    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source_of(path)} cannot be read as UTF-8 text ({type(error).__name__})") from None


def source_of(path: str) -> str:
    """How a message calls a file argument."""
    return "standard input" if path == "-" else path
