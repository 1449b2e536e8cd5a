"""Moments that are given from outside."""

from __future__ import annotations

from datetime import UTC, datetime

from guard.errors import InputError


def moment(name: str, given: datetime | str) -> datetime:
    """A moment in UTC from one with a time zone, such as ISO 8601 text; ``name`` is for the message.

    Raises:
        InputError: it is no moment or has no time zone.
    """
    if isinstance(given, str):
        try:
            read = datetime.fromisoformat(given.strip())
        except ValueError:
            read = None
    else:
        read = given
    if read is None or read.tzinfo is None:
        raise InputError(
            f"{name!r} is {str(given)[:40]!r}; give a time with its zone, as 2026-01-31T12:00:00Z"
        )
    try:
        return read.astimezone(UTC)
    except OverflowError:
        raise InputError(f"{name!r} is {str(given)[:40]!r}, which is out of range") from None
