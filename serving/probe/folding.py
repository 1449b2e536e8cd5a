"""Text without what a reader overlooks: case, marks, width, look-alikes, invisible characters, separators.

Written apart from `guard.normalize` on purpose: a judge that shares the guard's code shares its mistakes.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import cache

# Letters that no Unicode decomposition takes apart.
_WHOLE = {
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "ħ": "h",
    "ı": "i",
    "ŧ": "t",
    "æ": "ae",
    "œ": "oe",
    "þ": "th",
    "ð": "d",
}
# Blank or ignorable although their category says letter, mark or symbol.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_NO_SPACES = 0x0E00  # from here on, scripts mostly write words without spaces between them


@dataclass(frozen=True, slots=True)
class Letters:
    """The letters and digits of a text in folded form, in order.

    Attributes:
        text: the letters, nothing between them.
        places: for each letter, the index in the original of the character it came from.
        starts: indices in ``text`` at which a word starts.
        words: for each letter, the number of its word.
    """

    text: str
    places: tuple[int, ...]
    starts: frozenset[int]
    words: tuple[int, ...]


def letters(text: str) -> Letters:
    """The folded letters of a text."""
    found: list[str] = []
    places: list[int] = []
    words: list[int] = []
    starts: set[int] = set()
    fresh = True
    for index, char in enumerate(text):
        if invisible(char):
            continue
        for piece in _pieces(char):
            if not piece.isalnum():
                fresh = True
                continue
            if fresh or ord(piece) >= _NO_SPACES:
                starts.add(len(found))
            words.append(words[-1] + fresh if words else 0)
            fresh = False
            found.append(piece)
            places.append(index)
    return Letters("".join(found), tuple(places), frozenset(starts), tuple(words))


@cache
def _pieces(char: str) -> str:
    """What a character becomes; a space stands for anything that separates."""
    folded = char.casefold()
    if not char.isascii() and unicodedata.category(char)[0] in "LNS":
        folded = _WHOLE.get(folded) or _looks_like(char) or folded
    plain = unicodedata.normalize("NFKD", folded).casefold()
    kept = "".join(c for c in plain if unicodedata.category(c)[0] != "M")
    kept = "".join(_WHOLE.get(c) or (_looks_like(c) if not c.isascii() else "") or c for c in kept)
    return kept.casefold() if kept or _marks(char) else " "


def _marks(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def invisible(char: str) -> bool:
    """True for characters that no reader sees."""
    return unicodedata.category(char) == "Cf" or char in _BLANK


@cache
def _looks_like(char: str) -> str:
    """The ASCII letter that looks like a letter of another script; "" if there is none."""
    from confusable_homoglyphs.confusables import confusables_data

    if unicodedata.normalize("NFKD", char)[0].isascii():
        return ""  # an accented or styled letter: what it decomposes to says more than its looks
    for known in (char, char.casefold(), char.upper()):
        twins = [str(twin["c"]) for twin in confusables_data.get(known, ())]
        likes = sorted(twin for twin in twins if len(twin) == 1 and twin.isascii() and twin.isalpha())
        if likes:
            # Unicode gives "l" for every upright stroke, capitals that look like "I" among them.
            return "i" if likes[-1] == "l" and known.isupper() else likes[-1].casefold()
    return ""
