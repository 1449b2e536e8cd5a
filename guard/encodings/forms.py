"""What an encoded form is, and the ways to write a phrase that an encoding hides from folding."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from guard.normalize import PHRASES, fold

_ASCII_WORDS = re.compile("[a-z0-9]+")


@dataclass(frozen=True)
class Encoded:
    """One form of a phrase.

    Attributes:
        text: the string to forbid.
        exact: True compares it letter by letter, case included, anywhere in the text and across blanks and
            punctuation; False compares it like the phrase itself, folded and from the start of a word.
    """

    text: str
    exact: bool


def spellings(phrase: str) -> list[str]:
    """The phrase in its usual cases, as given and composed; encoding hides them from folding."""
    cases = (phrase, phrase.lower(), phrase.upper(), phrase.title())
    texts = (form for text in cases for form in (text, unicodedata.normalize("NFC", text)))
    return list(dict.fromkeys(texts))


def letters(text: str) -> list[str]:
    """Characters, each with the combining marks behind it."""
    found: list[str] = []
    for char in text:
        if found and unicodedata.category(char).startswith("M"):
            found[-1] += char
        else:
            found.append(char)
    return found


def alphanumeric(text: str) -> list[str]:
    """The letters and digits among the characters."""
    return [letter for letter in letters(text) if letter[0].isalnum()]


def folded(text: str) -> str:
    """The text as phrases are compared by default."""
    if text.isascii():  # nearly every form is, and this is 30 times faster
        return " ".join(_ASCII_WORDS.findall(text.lower()))
    return fold(text, PHRASES).text.strip()
