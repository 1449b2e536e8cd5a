"""What the fuzzy detector finds, and what it scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FUZZY = 5  # letters below which a name must stand there as it is
LONG = 8  # letters from which on a name bears more slips


@dataclass(frozen=True, slots=True)
class FuzzyConfig:
    """What a hit scores. Scores are shares of letters that agree (rapidfuzz's ratio / 100), unless said."""

    long: float = 0.82  # threshold for names of 8 letters or more: one slip in 5 letters
    short: float = 0.88  # ... of 5 to 7 letters: one letter too many or too few; shorter ones must be exact
    word: float = 0.7  # from which on one word stands for another
    sounding: float = 0.9  # what a word of the same sound scores at least
    other: float = 0.7  # at most, where a known word of another sound stands for one of the name's
    apart: float = 0.8  # factor where another word, but no initial, or the end of a sentence lies between
    ends: float = 0.9  # factor where words between the first and the last one are missing
    part: float = 0.75  # factor where other words than these are missing
    initial: float = 0.7  # factor for a surname after the right initial
    surname: float = 0.6  # ... for a surname alone
    namesake: float = 0.5  # ... for a surname after another forename or initial
    surname_letters: int = 5  # that a surname must have to count alone
    surname_word: float = 0.85  # from which on a misspelt surname counts alone
    rare: float = 10**-5.5  # share of all words (zipf 3.5) below which a surname counts alone
    shared: int = 8  # targets whose surname a word may be, up to which it counts alone
    report: float = 0.5  # score from which on a hit is reported

    def threshold(self, letters: int) -> float:
        """The score from which on a name of so many letters counts as found."""
        return self.long if letters >= LONG else self.short if letters >= FUZZY else 1.0


class Hit(NamedTuple):
    """A name found at the words from ``low`` up to ``high``."""

    target_id: str
    score: float
    threshold: float
    low: int
    high: int

    def better(self, other: Hit) -> bool:
        """True if it says more: by how far it is from its threshold, then by its place."""
        mine, its = self.score - self.threshold, other.score - other.threshold
        return mine > its or (mine == its and (self.low, self.high) < (other.low, other.high))


class Seen(NamedTuple):
    """A word of a name seen in a text."""

    low: int
    high: int
    likeness: float
    other: bool  # it is another known word


class Sight(NamedTuple):
    """What a text shows of names.

    Attributes:
        seen: the places where each word is seen, by its number.
        words: these numbers, in order.
        names: names that end in one of the words.
        of: for each of these names the place of its last word in ``words``.
    """

    seen: dict[int, list[Seen]]
    words: npt.NDArray[np.int32]
    names: npt.NDArray[np.int32]
    of: npt.NDArray[np.int32]
