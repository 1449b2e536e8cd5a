r"""Text as a reader of JSON or of source code sees it: ``\u004d`` is the letter M, ``\n`` a line end.

The arguments of a tool call, and any structured output, leave the server as JSON that the client decodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEX = "[0-9a-fA-F]"
_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_PAIR = f"{_HIGH}{_LOW}"  # a letter beyond the first plane, as JSON writes it
_ESCAPE = re.compile(rf"{_PAIR}|\\u{_HEX}{{4}}|\\U{_HEX}{{8}}|\\x{_HEX}{{2}}|\\[nrtbf\"'/\\]")
# What may become an escape with the next piece.
_OPEN = re.compile(
    rf"(?:{_HIGH}(?:\\(?:u(?:[dD](?:[c-fC-F]{_HEX}?)?)?)?)?|\\(?:u{_HEX}{{0,3}}|U{_HEX}{{0,7}}|x{_HEX}?)?)\Z"
)
_SHORT = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: what is written, and what it says."""

    written: str
    said: str


class Unescaper:
    """Reads a text that comes in parts. ``pending`` is what may be the beginning of an escape."""

    def __init__(self, pending: str = "") -> None:
        self.pending = pending

    def copy(self) -> Unescaper:
        """Another one at the same place."""
        return Unescaper(self.pending)

    def read(self, text: str) -> Iterator[Piece]:
        """The pieces that the next part completes: one for each escape, one for what stands between them."""
        text, self.pending = self.pending + text, ""
        start = 0
        while (found := _ESCAPE.search(text, start)) is not None:
            if _OPEN.fullmatch(text, found.start()):
                break  # the first half of a pair, perhaps
            if found.start() > start:
                yield _plain(text[start : found.start()])
            yield Piece(found[0], _said(found[0]))
            start = found.end()
        rest = text[start:]
        tail = _OPEN.search(rest)
        if tail is not None:
            rest, self.pending = rest[: tail.start()], tail[0]
        if rest:
            yield _plain(rest)


def _plain(text: str) -> Piece:
    return Piece(text, text)


def _said(escape: str) -> str:
    kind, digits = escape[1], escape[2:]
    if kind not in "uUx":
        return _SHORT.get(kind, kind)
    if len(escape) == 12:
        halves = escape[2:6], escape[8:12]
        return bytes.fromhex("".join(halves)).decode("utf-16-be")
    code = int(digits, 16)
    return chr(code) if code <= 0x10FFFF else escape
