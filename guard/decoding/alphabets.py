"""Codes that have a sign or a word for each letter: Morse code, the spelling alphabet, letters one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from guard.decoding.english import looks_english
from guard.decoding.gaps import parted, spelt
from guard.decoding.reading import MIN_LENGTH, Change

_MIN_MARKS = 8  # dots and dashes, of both kinds: ". . . ." is a leader and "--- --- ---" a table

# ITU-R M.1677-1 as a tree, level by level: a dot goes left, a dash right. Signs without a letter are "*".
_TREE = "**ETIANMSURWDKGOHVFÜLÄPJBXCYZQÖ*54*3É**2**È+**À*16=/***(*7***8*90".lower()
_MARKS = str.maketrans("·•∙−–—_‐", "...-----")
_MARK = "[.·•∙−–—_‐-]"
_MORSE = re.compile(
    rf"{_MARK}(?<![\w.-].){_MARK}{{0,6}}(?:(?:\s{{0,3}}[/|]\s{{0,3}}|\s{{1,7}}){_MARK}{{1,7}}){{3,}}(?!\w)"
)
_CODE = re.compile(f"{_MARK}+")

_SPELLING = (
    "alfa alpha bravo charlie delta echo foxtrot golf hotel india juliett juliet kilo lima mike november "
    "oscar papa quebec romeo sierra tango uniform victor whiskey whisky x-ray xray yankee zulu"
).split()
_FIGURES = dict(zip("zero one two three four five six seven eight nine".split(), "0123456789", strict=True))
_WORD = re.compile(rf"\b(?:{'|'.join((*_SPELLING, *_FIGURES))})\b", re.IGNORECASE)
_SIGNALS = {*_SPELLING, *_FIGURES}
_PUNCTUATION = {ord(sign): " " for sign in ",;.:/+-–\"'()"}
_AS = (" as in ", " is for ", " for ", " like ")
# A letter in front of its word, as in "M as in Mike".
_LETTER = r"(?:[A-Za-z][\s:=–-]+(?:as in|for|like)?\s*)?"
_NATO = re.compile(rf"{_WORD.pattern}(?:[\s,;./+–-]{{1,3}}{_LETTER}{_WORD.pattern}){{3,}}", re.IGNORECASE)
_EXPLAINED = re.compile(r"\b([A-Za-z])\s(?:as in|is for|for|like)\s+\w+", re.IGNORECASE)
_AS_IN = re.compile(
    rf"{_EXPLAINED.pattern}(?:[\s,;.]{{1,3}}(?:and\s)?{_EXPLAINED.pattern}){{3,}}", re.IGNORECASE
)

# Three letters alone behind one another: without them there cannot be four, and this is found out faster.
_THREE_ALONE = re.compile(r"[\W_][^\W_][\W_]{1,4}[^\W_][\W_]{1,4}[^\W_](?![^\W_])")
_ALONE = re.compile(r"(?<![^\W_])[^\W_](?:[\W_]{1,4}[^\W_](?![^\W_])){3,}")
_MIN_SHARE = 0.6  # of letters among the signs that stand one by one
_SIGN = re.compile(r"[^\W_]")


def morse(text: str) -> Iterator[Change]:
    """Morse code in ASCII or typographic signs, with slashes or wider gaps between words."""
    for found in _MORSE.finditer(text):
        codes = list(_CODE.finditer(text, *found.span()))
        marks = [code[0].translate(_MARKS) for code in codes]
        said = [_letter(code) for code in marks]
        row = "".join(marks)
        if len(row) >= _MIN_MARKS and len(set(row)) > 1 and "*" not in said:
            yield from parted(*found.span(), spelt(said, _between(codes)))


def _letter(code: str) -> str:
    node = 1
    for mark in code:
        node = 2 * node + (mark == "-")
    return _TREE[node] if node < len(_TREE) else "*"


def nato(text: str) -> Iterator[Change]:
    """Words of the spelling alphabet, alone or each with its letter, and letters explained by any word."""
    lowered = text.lower()
    if len(_SIGNALS.intersection(lowered.translate(_PUNCTUATION).split())) > 1:
        for found in _NATO.finditer(text):
            words = list(_WORD.finditer(text, *found.span()))
            said = [_FIGURES.get(word[0].lower(), word[0][0].lower()) for word in words]
            if any(map(str.isalpha, said)):
                gaps = [gap[: _indent(gap)] for gap in _between(words)]
                yield from parted(*found.span(), spelt(said, gaps))
    if sum(map(lowered.count, _AS)) >= MIN_LENGTH:
        for found in _AS_IN.finditer(text):
            letters = list(_EXPLAINED.finditer(text, *found.span()))
            yield from parted(*found.span(), spelt([one[1].lower() for one in letters], _between(letters)))


def spaced(text: str) -> Iterator[Change]:
    """Letters and figures that stand one by one, whatever parts them; wider or other gaps part words."""
    if not _THREE_ALONE.search(text):
        return
    for found in _ALONE.finditer(text):
        letters = list(_SIGN.finditer(text, *found.span()))
        said = [letter[0] for letter in letters]
        word = "".join(said)
        if sum(map(str.isalpha, word)) >= max(MIN_LENGTH, _MIN_SHARE * len(word)) and looks_english(word):
            yield from parted(*found.span(), spelt(said, _between(letters)))


def _between(found: list[re.Match[str]]) -> list[str]:
    return [one.string[one.end() : other.start()] for one, other in pairwise(found)]


def _indent(gap: str) -> int:
    """Signs in front of the first letter."""
    return next((place for place, sign in enumerate(gap) if sign.isalnum()), len(gap))
