"""A text as the fuzzy detector reads it: its words, each two neighbours as one, and the keys of both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from guard.detectors.spelling import (
    HYPHENS,
    LONGEST,
    SHORTEST,
    Keys,
    Places,
    Word,
    exact_keys,
    frequencies,
    near_keys,
    skeletons,
    sounds,
    words,
)

Mask = npt.NDArray[np.bool_]

_COMMON = 10**-3.5  # share of all words (zipf 5.5): these 300 are never a name's word misspelt
_FREQUENT = 1e-5  # zipf 4: these 7,000 only if they begin with a capital
_SENTENCE_END = re.compile(r"[.!?;:\n]")
_TITLES = frozenset(
    "mr mrs ms miss dr doctor prof professor sir dame lord lady saint st president king queen prince "
    "princess author writer novelist poet painter artist singer actor actress director captain general "
    "colonel judge senator minister chancellor pope father sister brother".split()
)


class Unit(NamedTuple):
    """A word, or two written as one, and its place among the words: from ``low`` up to ``high``."""

    text: str
    low: int
    high: int


class Lookup(NamedTuple):
    """Keys to look up: of each the unit's place, and whether it is of its sound."""

    keys: Keys
    places: Places
    sounding: Mask


@dataclass(frozen=True, slots=True)
class Reading:
    """A text to look names up in.

    Attributes:
        text: the original.
        words: its words.
        units: the words, then each two neighbours written as one.
        sounds: how those sound that may be misspelt, by their place.
        alone: keys to look words up with; of pairs without one letter only if a hyphen joins them.
        glued: keys to look whole names up with.
    """

    text: str
    words: list[Word]
    units: list[Unit]
    sounds: dict[int, str]
    alone: Lookup
    glued: Lookup

    def gap(self, at: int) -> str:
        """The characters between a word and the next one."""
        return self.text[self.words[at].end : self.words[at + 1].start]

    def breaks(self, low: int, high: int) -> bool:
        """True if a sentence ends between two of the words from ``low`` up to ``high``."""
        return any(
            _SENTENCE_END.search(self.gap(at)) and not self.initials(at) for at in range(low, high - 1)
        )

    def forename(self, at: int) -> str:
        """The word before a surname if it looks like a forename or an initial, else ""."""
        if at == 0 or self.gap(at - 1) not in (" ", ". ", "."):
            return ""
        before = self.words[at - 1]
        if not self.text[before.start].isupper() or before.text in _TITLES:
            return ""
        return "" if len(before.text) > 1 and before.text in _usual(_COMMON) else before.text

    def initials(self, at: int) -> bool:
        """True if a word is capitals with dots or spaces between them, or at most three of them."""
        raw = self.text[self.words[at].start : self.words[at].end]
        return raw.isupper() and len(self.words[at].text) <= 3


def read(text: str) -> Reading:
    """Reads a text."""
    found = words(text)
    units = [Unit(word.text, at, at + 1) for at, word in enumerate(found)]
    units += [
        Unit(one.text + two.text, at, at + 2)
        for at, (one, two) in enumerate(pairwise(found))
        if len(one.text) + len(two.text) <= LONGEST
    ]
    plain = _plain_words(text, found)
    slips = [
        at
        for at, unit in enumerate(units)
        if not (plain[unit.low] and plain[unit.high - 1]) and _spelt(unit.text)
    ]
    heard = sounds([units[at].text for at in slips])
    keys = exact_keys([*(unit.text for unit in units), *skeletons(heard)])
    near, of = near_keys([units[at].text for at in slips])
    places = np.array([*range(len(units)), *slips], dtype=np.int64)
    of = places[len(units) :][of]
    sounding = np.arange(len(places)) >= len(units)
    hyphened = [unit.high > unit.low + 1 and _hyphen(text, found, unit.low) for unit in units]
    single, joined = of < len(found), np.array(hyphened, dtype=np.bool_)[of]
    alone, glued = (
        Lookup(
            np.concatenate([keys, near[part]]),
            np.concatenate([places, of[part]]),
            np.concatenate([sounding, np.zeros(part.sum(), dtype=np.bool_)]),
        )
        for part in (single | joined, ~single)
    )
    return Reading(text, found, units, dict(zip(slips, heard, strict=True)), alone, glued)


def _plain_words(text: str, found: Sequence[Word]) -> list[bool]:
    """Which words are what they are: the most frequent ones, and frequent ones that begin in lower case.

    In a text without capitals the latter may be anyone's name.
    """
    cased = text != text.lower()
    usual, frequent = _usual(_COMMON), _usual(_FREQUENT)
    return [
        word.text in usual or (cased and word.text in frequent and text[word.start].islower())
        for word in found
    ]


@cache
def _usual(share: float) -> frozenset[str]:
    return frozenset(word for word, its in frequencies().items() if its >= share)


def _hyphen(text: str, found: Sequence[Word], at: int) -> bool:
    """True if a hyphen joins a word to the next one: names have them as one word."""
    return text[found[at].end : found[at + 1].start] in HYPHENS


def _spelt(text: str) -> bool:
    """True if there may be a slip in it: numbers are what they are, and short words too much like others."""
    return len(text) >= SHORTEST - 1 and text.isalpha()
