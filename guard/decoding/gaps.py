"""Where words end in text that came letter by letter."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

from guard.decoding.reading import Change

_INNER_CAPITAL = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])")
# Natural logarithms: what a word costs that the list lacks, and each of its letters.
_UNKNOWN, _UNKNOWN_LETTER = 8.0, 3.0
_LONGEST = 20
_IN_WORDS = "-'’"
_MOST = 2000  # letters that are parted


def spelt(letters: Sequence[str], gaps: Sequence[str]) -> str:
    """The letters in a row, with a space, a hyphen or an apostrophe for each gap that is not the usual one.

    Args:
        letters: signs that stand for one letter each, in order.
        gaps: what stands between each two of them.
    """
    usual = Counter(gaps).most_common(1)[0][0] if gaps else ""
    return letters[0] + "".join(
        letter if gap == usual else _sign(gap, usual) + letter
        for gap, letter in zip(gaps, letters[1:], strict=True)
    )


def _sign(gap: str, usual: str) -> str:
    """What an unusual gap says: the sign in it if words hold such signs, else that a word ends."""
    sign = gap.strip().strip(usual)
    if sign and sign in _IN_WORDS and gap in (sign, usual + sign + usual):
        return sign
    return " "


def parted(start: int, end: int, said: str) -> Iterator[Change]:
    """What a code says, as a change; if its words are not parted, also with spaces where they seem to end.

    That is in front of capitals, or else as common words go, which may break a name.
    """
    yield Change(start, end, said)
    if " " not in said and len(said) <= _MOST:
        by_case = _INNER_CAPITAL.sub(" ", said)
        apart = by_case if by_case != said or not said.isalpha() else _by_words(said)
        if apart != said:
            yield Change(start, end, apart, 1)


def _by_words(text: str) -> str:
    """The likeliest row of words, those that the list lacks included."""
    frequencies, lowered = _frequencies(), text.lower()
    costs = [0.0]
    starts = [0]
    for end in range(1, len(text) + 1):
        best = min(
            (costs[start] + _cost(lowered[start:end], frequencies), start)
            for start in range(max(0, end - _LONGEST), end)
        )
        costs.append(best[0])
        starts.append(best[1])
    words: list[str] = []
    end = len(text)
    while end:
        words.append(text[starts[end] : end])
        end = starts[end]
    return " ".join(reversed(words))


def _cost(word: str, frequencies: dict[str, float]) -> float:
    known = frequencies.get(word)
    if known and (len(word) > 1 or word in "ai"):
        return -math.log(known)
    return _UNKNOWN + _UNKNOWN_LETTER * len(word)


@cache
def _frequencies() -> dict[str, float]:
    from wordfreq import get_frequency_dict

    return dict(get_frequency_dict("en", wordlist="small"))
