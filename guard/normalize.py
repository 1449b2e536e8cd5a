"""Text folding with offsets: what a detector compares, and where it stood in the original."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

# Letters that NFKD leaves whole although readers write them with a base letter.
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"}
)


@dataclass(frozen=True, slots=True)
class Folded:
    """Folded text; ``offsets[i]`` is the index in the original of the character that ``text[i]`` came from.

    ``offsets`` has one more entry than ``text``: the length of the original.
    """

    text: str
    offsets: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The original characters from which ``text[start:end]`` came."""
        return self.offsets[start], self.offsets[end - 1] + 1 if end > start else self.offsets[start]


def fold(text: str) -> Folded:
    """The text without case, accents, width, invisible characters and runs of white space."""
    if text.isascii():
        return _fold_ascii(text)
    folded: list[str] = []
    offsets: list[int] = []
    for index, char in enumerate(text):
        for piece in _fold_char(char):
            if piece == " " and folded and folded[-1] == " ":
                continue
            folded.append(piece)
            offsets.append(index)
    return Folded("".join(folded), (*offsets, len(text)))


def _fold_ascii(text: str) -> Folded:
    """`fold` for the common case, where every character folds to one character."""
    lowered = "".join(" " if char.isspace() else char for char in text.lower())
    if "  " not in lowered:
        return Folded(lowered, tuple(range(len(text) + 1)))
    kept = [i for i, char in enumerate(lowered) if char != " " or i == 0 or lowered[i - 1] != " "]
    return Folded("".join(lowered[i] for i in kept), (*kept, len(text)))


def _fold_char(char: str) -> str:
    """What one character contributes to the folded text; "" for combining and invisible characters."""
    if char.isspace():
        return " "
    decomposed = unicodedata.normalize("NFKD", char.casefold())
    # Mn: combining marks; Cf: zero-width and other format characters.
    kept = "".join(c for c in decomposed if unicodedata.category(c) not in {"Mn", "Cf"})
    return kept.casefold().translate(_LETTERS)
