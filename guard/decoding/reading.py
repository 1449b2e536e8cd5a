"""What a decoder finds, and how it becomes a text that detectors can read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

# Characters of the same line that stand around a code and are kept: a question with one word encoded is
# still a question.
CONTEXT = 200
MIN_SENTENCE = 4  # decoded words that are read without what stands around them

MIN_LENGTH = 4  # shorter decoded texts turn up by chance
_LONG = 16  # from here on chance is excluded, and digits may be a code inside the code
_MIN_LETTERS = 0.75
_MIN_PLAIN = 0.8


@dataclass(frozen=True, slots=True)
class Reading:
    """What a part of a text says once it is decoded.

    Attributes:
        text: the decoded text, together with what stands around it where it is only a few words.
        encoding: name of the code in the table; of a code inside a code, the outer one.
        span: the characters of the original that the code takes up.
    """

    text: str
    encoding: str
    span: tuple[int, int]


class Change(NamedTuple):
    """The original's ``[start:end]`` means ``text``; a decoder's variants are different ways to read it."""

    start: int
    end: int
    text: str
    variant: int = 0


Decoder = Callable[[str], Iterable[Change]]
"""The changes that a code calls for; those of a variant come in order and do not overlap."""


def composed(text: str, encoding: str, changes: Iterable[Change]) -> Iterator[Reading]:
    """The readings of a text's changes: whole sentences by themselves, and those near one another in place.

    In place means with what stands around and between them; a sentence that stands alone is not read so.
    """
    groups: dict[int, list[Change]] = {}
    for change in changes:
        if _is_sentence(change):
            yield Reading(change.text, encoding, (change.start, change.end))
        group = groups.setdefault(change.variant, [])
        if group and change.start - group[-1].end > CONTEXT:
            yield from _grouped(text, encoding, group)
            group.clear()
        group.append(change)
    for group in groups.values():
        yield from _grouped(text, encoding, group)


def _grouped(text: str, encoding: str, changes: list[Change]) -> Iterator[Reading]:
    if len(changes) > 1 or not _is_sentence(changes[0]):
        yield _in_place(text, encoding, changes)


def _is_sentence(change: Change) -> bool:
    return len(change.text.split(None, MIN_SENTENCE)) >= MIN_SENTENCE


def _in_place(text: str, encoding: str, changes: list[Change]) -> Reading:
    start, end = changes[0].start, changes[-1].end
    parts, at = [], left_edge(text, start)
    for change in changes:
        parts += [text[at : change.start], change.text]
        at = change.end
    parts.append(text[end : right_edge(text, end)])
    return Reading("".join(parts).strip(), encoding, (start, end))


def left_edge(text: str, start: int) -> int:
    """Where the line or, if that is far away, a word begins."""
    low = max(0, start - CONTEXT)
    line = text.rfind("\n", low, start) + 1
    return line if line or not low else text.find(" ", low, start) + 1 or start


def right_edge(text: str, end: int) -> int:
    """Where the line or, if that is far away, a word ends."""
    high = min(len(text), end + CONTEXT)
    line = text.find("\n", end, high)
    if line >= 0 or high == len(text):
        return line if line >= 0 else high
    return max(end, text.rfind(" ", end, high))


def as_text(data: bytes) -> str | None:
    """The bytes as UTF-8, UTF-16 of Latin letters or Latin-1; None if that is no legible text."""
    data = data.replace(b"\0", b"")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return text if legible(text) else None


def legible(text: str) -> bool:
    """True if nothing but letters, digits, spaces and some punctuation is in the text."""
    letters = sum(map(str.isalpha, text)) + text.count(" ")
    if len(text) < _LONG:
        return len(text) >= MIN_LENGTH and text.isprintable() and letters >= _MIN_LETTERS * len(text)
    return printable(text) and letters + sum(map(str.isdigit, text)) >= _MIN_PLAIN * len(text)


def printable(text: str) -> bool:
    """True if the text holds no control characters but line ends and tabs."""
    return text.isprintable() or text.translate(_BLANKS).isprintable()


_BLANKS = dict.fromkeys(map(ord, "\n\r\t"), " ")
