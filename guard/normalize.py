"""Text folding, character by character: what counts as the same letter, with offsets back to the original.

A folding maps each character by itself, so that folding a text is joining what its characters fold to. The
byte automaton relies on that: it folds while the text is still being written.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from guard.errors import InputError


class Fold(StrEnum):
    """One kind of difference between texts that folding removes."""

    CASE = "case"  # upper and lower case
    WIDTH = "width"  # compatibility forms (NFKC): full width, ligatures, mathematical letters
    ACCENTS = "accents"  # combining marks, and letters with a stroke
    INVISIBLE = "invisible"  # zero-width and other characters that show nothing
    CONFUSABLES = "confusables"  # letters of other scripts that look like Latin ones (Unicode TR 39)
    SEPARATORS = "separators"  # any run of white space, punctuation and symbols is one space
    SPACING = "spacing"  # white space, punctuation and symbols are nothing, also between letters


Folding = frozenset[Fold]

EXACT: Folding = frozenset()
PHRASES: Folding = frozenset(Fold) - {Fold.SPACING}
PROMPTS: Folding = PHRASES - {Fold.SEPARATORS}
"""Nothing; what forbidden phrases are compared by unless a target says otherwise; what detectors compare."""

# Letters that NFKD leaves whole although readers write them with a base letter.
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"}
)
# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties 16.0), and the blank Braille pattern.
_IGNORABLE = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800),
    (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
_WITHOUT_SPACES = 0x0E00  # from Thai on, scripts mostly write words without spaces between them


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


def folding(names: Iterable[str]) -> Folding:
    """The folding with these names.

    Raises:
        InputError: a name is unknown.
    """
    try:
        return frozenset(Fold(name) for name in names)
    except ValueError as error:
        raise InputError(f"{error}; known foldings are {', '.join(Fold)}") from None


def fold(text: str, kinds: Folding = PROMPTS) -> Folded:
    """The folded text; runs of white space become one space, and with SEPARATORS those of punctuation too."""
    if kinds == PROMPTS and text.isascii():
        return _fold_ascii(text)
    folded: list[str] = []
    offsets: list[int] = []
    for index, char in enumerate(text):
        for piece in _SPACE if char.isspace() and Fold.SPACING not in kinds else fold_char(char, kinds):
            if piece == " " and folded and folded[-1] == " ":
                continue
            folded.append(piece)
            offsets.append(index)
    return Folded("".join(folded), (*offsets, len(text)))


_SPACE = " "


def _fold_ascii(text: str) -> Folded:
    """`fold` for the common case, where every character folds to one character."""
    lowered = "".join(" " if char.isspace() else char for char in text.lower())
    if "  " not in lowered:
        return Folded(lowered, tuple(range(len(text) + 1)))
    kept = [i for i, char in enumerate(lowered) if char != " " or i == 0 or lowered[i - 1] != " "]
    return Folded("".join(lowered[i] for i in kept), (*kept, len(text)))


def fold_char(char: str, kinds: Folding) -> str:
    """What one character becomes; "" if nothing. Runs of spaces are left to the caller."""
    if not kinds:
        return char
    if Fold.INVISIBLE in kinds and _invisible(char):
        return ""
    letters = _letters(char, kinds)
    if Fold.SPACING in kinds:
        return "".join(letter for letter in letters if not _separates(letter))
    if Fold.SEPARATORS in kinds:
        return "".join(" " if _separates(letter) else letter for letter in letters)
    return letters


def joins(char: str) -> bool:
    """True if words go on across the character: letters and digits of scripts that write spaces."""
    return char.isalnum() and ord(char) < _WITHOUT_SPACES


def _letters(char: str, kinds: Folding) -> str:
    """The character without case, width, accents and foreign looks, as far as asked for."""
    case, accents = Fold.CASE in kinds, Fold.ACCENTS in kinds
    if Fold.CONFUSABLES in kinds and not (accents and char.casefold().translate(_LETTERS) != char.casefold()):
        twin = _twin(char, case)
        plain = unicodedata.normalize("NFKC", char) if Fold.WIDTH in kinds else ""
        if twin and not plain.isascii():
            return twin.casefold() if case else twin
    text = char.casefold() if case else char
    if Fold.WIDTH in kinds:
        text = unicodedata.normalize("NFKD" if accents else "NFKC", text)
    elif accents:
        text = unicodedata.normalize("NFD", text)
    if accents:
        # Mn: combining marks.
        text = "".join(c for c in text if unicodedata.category(c) != "Mn").translate(_LETTERS)
    if Fold.INVISIBLE in kinds:
        text = "".join(c for c in text if not _invisible(c))
    text = text.casefold() if case else text
    if Fold.CONFUSABLES in kinds and text != char:
        text = "".join(_twin(c, case) or c for c in text)
        text = text.casefold() if case else text
    return text


def _invisible(char: str) -> bool:
    # Cf: format characters, of which the table of ignorable ones leaves some out.
    return not char.isascii() and (
        unicodedata.category(char) == "Cf" or any(low <= ord(char) <= high for low, high in _IGNORABLE)
    )


def _separates(char: str) -> bool:
    return unicodedata.category(char)[0] in "ZPS" or unicodedata.category(char) == "Cc"


def _twin(char: str, case: bool) -> str:
    """The ASCII letter that looks like the character, or like its other case if case does not count."""
    if char.isascii():
        return ""
    known = twins()
    # A letter's own looks come first; its other case follows it, so that the two stay the same letter.
    candidates = (char, char.lower(), char.upper()) if case else (char,)
    return next((known[c] for c in candidates if c in known), "")


@cache
def twins() -> dict[str, str]:
    """The ASCII letter that each look-alike of another script looks like."""
    from confusable_homoglyphs.confusables import confusables_data

    found = {}
    for char, likes in confusables_data.items():
        letters = sorted(like["c"] for like in likes if len(like["c"]) == 1 and like["c"].isascii())
        letters = [letter for letter in reversed(letters) if letter.isalpha()]  # lower case first
        if letters[:1] == ["l"] and char.isupper():
            letters = ["I"]  # which the table lists under l
        if letters and len(char) == 1 and not char.isascii():
            found[char] = letters[0]
    return found
