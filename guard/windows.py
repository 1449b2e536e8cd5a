"""The pieces in which a conversation is judged, so that nothing around a question dilutes it.

Every sentence is a piece by itself, and so is each run of two or three in a row, also where another message
begins. What a code in a message says is cut into pieces as well. Some of the pieces, `Piece.cover`, cover
everything once: they are always compared by meaning, the others only where words give a reason to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from guard import decoding

LONGEST = 320  # characters of a piece; a longer sentence is cut, each cut overlapping half of the one before
SHORTEST = 16  # characters of a sentence that is judged by itself; a shorter one joins the next
RUN = 3  # sentences in a run
_BLOCK, _OVERLAP, _LEAST = 4000, 400, 500  # characters of a message that are decoded at once
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"'”’)\]]*\s+|(?<=[。！？])|\n+")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Passage:
    """A message, or what a code in it says.

    Attributes:
        text: the message or the decoded text.
        segment: index of the message.
        span: characters of the message that the code stands in; None for the message itself.
    """

    text: str
    segment: int
    span: Span | None = None

    def place(self, span: Span) -> Span:
        """Where in the message characters of the passage stand; of decoded ones, the whole code."""
        return self.span or span


@dataclass(frozen=True, slots=True)
class Piece:
    """One or more sentences.

    Attributes:
        text: what they say.
        passage: index of the passage they begin in.
        span: characters of that passage.
        sentences: how many.
        cover: it is one of those that cover everything once.
        rest: further passages that it goes on into, with the characters there.
    """

    text: str
    passage: int
    span: Span
    sentences: int = 1
    cover: bool = False
    rest: tuple[tuple[int, Span], ...] = ()


def passages(segments: Sequence[str]) -> list[Passage]:
    """The messages, then what their codes say."""
    found = [Passage(text, segment) for segment, text in enumerate(segments)]
    coded = (one for segment, text in enumerate(segments) for one in _decoded(text, segment))
    return [*found, *dict.fromkeys(coded)]


def pieces(found: Sequence[Passage]) -> list[Piece]:
    """The pieces of the passages, in order, no text twice in a passage."""
    sentences = [
        Piece(one.text[low:high], number, (low, high))
        for number, one in enumerate(found)
        for low, high in _sentences(one.text)
    ]
    covering = set(_cover(sentences))
    kept: dict[tuple[int, str], Piece] = {}
    for index in range(len(sentences)):
        for piece in _runs(sentences[index : index + RUN]):
            key = piece.passage, piece.text
            if (index, piece.sentences) in covering:
                kept[key] = replace(piece, cover=True)
            else:
                kept.setdefault(key, piece)
    return list(kept.values())


def _runs(sentences: Sequence[Piece]) -> Iterator[Piece]:
    """The first sentence, and runs from it on that are not too long."""
    first = sentences[0]
    yield first
    for count in range(2, len(sentences) + 1):
        run = sentences[:count]
        if sum(len(piece.text) for piece in run) > LONGEST:
            return
        places: dict[int, Span] = {}
        for piece in run:
            low, high = places.get(piece.passage, piece.span)
            places[piece.passage] = low, max(high, piece.span[1])
        text = " ".join(piece.text for piece in run)
        yield Piece(text, first.passage, places.pop(first.passage), count, rest=tuple(places.items()))


def _cover(sentences: Sequence[Piece]) -> Iterator[tuple[int, int]]:
    """First sentence and length of runs within a passage, one after the other."""
    index = 0
    while index < len(sentences):
        count = 1
        for piece in _runs(sentences[index : index + RUN]):
            run = sentences[index : index + piece.sentences]
            if all(one.passage == sentences[index].passage for one in run):
                count = piece.sentences
        yield index, count
        index += count


def _sentences(text: str) -> Iterator[Span]:
    start = 0
    for match in (*_SENTENCE_END.finditer(text), None):
        end = match.start() if match else len(text)
        if match and len(text[start:end].strip()) < SHORTEST:
            continue
        yield from _cut(text, start, end)
        start = match.end() if match else end


def _cut(text: str, start: int, end: int) -> Iterator[Span]:
    while end - start > LONGEST:
        yield start, start + LONGEST
        start += LONGEST // 2
    if text[start:end].strip():
        yield start, end


def _decoded(text: str, segment: int) -> Iterator[Passage]:
    """What the codes of a message say. A message full of codes is decoded in smaller parts, not in part."""
    if len(text) <= _BLOCK:
        yield from _block(text, segment, 0)
    else:
        for start in range(0, len(text), _BLOCK - _OVERLAP):
            yield from _block(text[start : start + _BLOCK], segment, start)


def _block(text: str, segment: int, start: int) -> Iterator[Passage]:
    found = decoding.readings(text)
    if decoding.capped(found) and len(text) > _LEAST:
        middle = len(text) // 2
        yield from _block(text[: middle + _OVERLAP // 4], segment, start)
        yield from _block(text[middle:], segment, start + middle)
        return
    for reading in found:
        low, high = reading.span
        yield Passage(reading.text, segment, (start + low, start + high))
