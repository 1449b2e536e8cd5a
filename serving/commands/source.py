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
    except (json.JSONDecodeError, RecursionError):
        if given:
            raise InputError(
                f"{source_of(file)} is not one JSON object, which options could complete"
            ) from None
        return parse_jsonl(text, source_of(file))
    return [ForgetTarget.parse(_completed(data, given) if isinstance(data, dict) else data)]


def given_patch(file: str | None, **fields: Any) -> dict[str, Any]:
    """A merge patch from a JSON object, the options or both; options win.

    Raises:
        InputError: the file cannot be read or holds something else, or nothing is given.
    """
    from guard.errors import InputError

    given = {name: value for name, value in fields.items() if value is not None}
    if file is not None:
        try:
            data = json.loads(read_text(file))
        except (json.JSONDecodeError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise InputError(f"{source_of(file)} is not one JSON object; give the fields to change")
        given = _completed(data, given)
    if not given:
        raise InputError("nothing to change: give options, or a merge patch with --file")
    return given


def _completed(data: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """An object with options in it; those about matching win field by field."""
    held = data.get("matching")
    if "matching" in given and isinstance(held, dict):
        given = given | {"matching": held | given["matching"]}
    return data | given


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
