"""Encodings that keep letters as letters: rotated, reversed, spaced, initials, digits for letters."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from itertools import combinations

from guard.encodings.forms import Encoded, alphanumeric, folded, letters

MIN_WORDS = 3  # two initials are a pair of letters that any text has
# Characters of all words, and of those in which digits stand beside letters: "15mm" and "5th avenue" are
# ordinary. So are words that turn into numbers ("I, Robot") and those that a number follows ("plane7").
MIN_LEET = 5
MIN_MIXED = 4

# The substitutions on which all tables of "leet" agree. Symbols ("@", "$", "!") are folded as punctuation.
_DIGITS = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7"}


def rot13(phrase: str) -> Iterator[Encoded]:
    """Latin letters moved by 13 places, those with accents left alone or moved without their accents."""
    for text in (phrase, folded(phrase)):
        if any(char.isascii() and char.isalpha() for char in text):
            yield Encoded(codecs.encode(text, "rot13"), False)


def reversed_(phrase: str) -> Iterator[Encoded]:
    """The letters from last to first."""
    yield Encoded("".join(reversed(letters(phrase))), False)


def spaced(phrase: str) -> Iterator[Encoded]:
    """Single letters; folding makes any separators between them one space."""
    found = alphanumeric(phrase)
    if len(found) > 1:
        yield Encoded(" ".join(found), False)


def initials(phrase: str) -> Iterator[Encoded]:
    """First letters of the words, apart and together."""
    words = [alphanumeric(word) for word in phrase.split()]
    firsts = [word[0] for word in words if word]
    if len(firsts) >= MIN_WORDS:
        yield Encoded(" ".join(firsts), False)
        yield Encoded("".join(firsts), False)


def leet(phrase: str) -> Iterator[Encoded]:
    """Digits that look like letters, for each choice of letters that are replaced wherever they stand."""
    text = folded(phrase)
    found = sorted(_DIGITS.keys() & set(text))
    for count in range(len(found), 0, -1):
        for chosen in combinations(found, count):
            digits = "".join(_DIGITS[letter] for letter in chosen)
            form = text.translate(str.maketrans("".join(chosen), digits))
            if len(form) >= MIN_LEET and _mixed(text, form) >= MIN_MIXED:
                yield Encoded(form, False)


def _mixed(text: str, form: str) -> int:
    """Characters of the words that changed and have letters left, 0 if no letter follows a change."""
    first = next(i for i, (old, new) in enumerate(zip(text, form, strict=True)) if old != new)
    if not any(map(str.isalpha, form[first:])):
        return 0
    words = zip(text.split(), form.split(), strict=True)
    return sum(len(new) for old, new in words if old != new and any(map(str.isalpha, new)))
