"""Ciphers that leave letters letters: Caesar shifts with ROT13, Atbash, and text written backwards.

A stretch of words is read if its letters, so read, stand in a more English order than as they are written. A
short name in lower case may not show it; where a word of the prompt names the cipher, less is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from string import ascii_lowercase, ascii_uppercase

import numpy as np
import numpy.typing as npt

from guard.decoding.english import Costs, Words, backwards, costs, rearranged, words
from guard.decoding.reading import Change, left_edge, right_edge

# Half nats by which the order of letters must win over a stretch of words. By these numbers one in 100 of
# 10,000 ordinary English questions has a stretch, most of them backwards; so have 99 in 100 of the same
# questions encoded, and nine in ten names of two words inside a plain question.
_GAIN_ROT13 = 16
_GAIN_OTHER = 20
_GAIN_BACKWARDS = 20
_GAIN_WITH_CUE = 6
_MAX_GAIN = 3  # for each letter of a word: "YYYY" is no proof of anything
_MIN_LETTERS = 3  # of a word that counts for a cipher: "am" and "x" follow no order
_MAX_LETTERS, _WORDS_AT_ONCE = 1000, 256  # bound the memory for the keys
_READS_ENGLISH = 7  # half nats a pair of the stretch once it is read
_NEUTRAL = -2  # half nats of a word beside a stretch that does not tell
_MAX_KEYS = 3
_END = -(2**40)  # gain of a word behind the last one: it ends every stretch

_CUES_ROT13 = ("rot13", "rot-13", "rot 13")
_CUES = (*_CUES_ROT13, "caesar", "cipher", "cypher", "decrypt", "shift", "atbash")
_CUES_BACKWARDS = ("backward", "reverse", "reversing", "right to left", "right-to-left")

# Half nats a pair above which a word is tried with the keys: two in three of English prose lie below. Others
# are taken to lose what short plain words lose.
_ODD = 6
_PLAIN_GAIN = -4
_LAST_CAPITAL = re.compile("[A-Z](?<=[a-z]{2}[A-Z])(?![A-Za-z])")
_GAIN_CAPITAL = 15  # a word that ends as names begin

_ROT13 = 12
# From shift 1 to 25; key i moves letters i + 1 places. The last one is Atbash.
_KEYS = [*([(i + shift) % 26 for i in range(26)] for shift in range(1, 26)), list(range(25, -1, -1))]


def caesar(text: str) -> Iterator[Change]:
    """Stretches of words moved by any number of places or mirrored in the alphabet, for the best three keys.

    Each stretch is read by itself and together with the rest of its line. A text that speaks of ROT13 is
    also read as a whole.
    """
    found = words(text)
    lowered = text.lower()
    cue = any(cue in lowered for cue in _CUES)
    if any(cue in lowered for cue in _CUES_ROT13):
        yield Change(0, len(text), text.translate(_translation(_ROT13)))
    keys = _promising(found, found.cost(costs()), _GAIN_WITH_CUE if cue else None)
    for rank, (key, least) in enumerate(keys):
        table = _translation(key)
        for start, end in _stretches(found, _tables()[key], least):
            yield Change(start, end, text[start:end].translate(table), 2 * rank)
            low, high = left_edge(text, start), right_edge(text, end)
            if (low, high) != (start, end):
                yield Change(low, high, text[low:high].translate(table), 2 * rank + 1)


def reversed_(text: str) -> Iterator[Change]:
    """Stretches of words that read better backwards: the whole stretch, each word by itself, the whole line.

    A text that speaks of writing backwards is also read as a whole.
    """
    lowered = text.lower()
    cue = any(cue in lowered for cue in _CUES_BACKWARDS)
    if cue:
        yield Change(0, len(text), text[::-1])
        yield Change(0, len(text), _each_reversed(text), 1)
    found = words(text)
    bonus: Costs | None = None
    for capital in _LAST_CAPITAL.finditer(text):
        bonus = np.zeros(len(found.starts), np.int32) if bonus is None else bonus
        bonus[np.searchsorted(found.starts, capital.start(), side="right") - 1] = _GAIN_CAPITAL
    least = _GAIN_WITH_CUE if cue else _GAIN_BACKWARDS
    for start, end in _stretches(found, backwards(), least, bonus):
        yield Change(start, end, text[start:end][::-1])
        yield Change(start, end, _each_reversed(text[start:end]), 1)
        low, high = left_edge(text, start), right_edge(text, end)
        if (low, high) != (start, end):
            yield Change(low, high, text[low:high][::-1], 2)


def _each_reversed(text: str) -> str:
    return re.sub(r"\w+", lambda word: word[0][::-1], text)


def _promising(found: Words, plain: Costs, least: int | None) -> list[tuple[int, int]]:
    """The keys under which some stretch may win enough, best first, each with what is enough.

    Here only odd words are tried, so half of what is enough will do.
    """
    lengths = found.ends - found.starts
    counts = (lengths >= _MIN_LETTERS) & (lengths <= _MAX_LETTERS)
    odd = np.flatnonzero((plain > _ODD * (lengths + 1)) & counts)
    if not odd.size:
        return []
    gains = np.full((len(_KEYS), len(lengths) + 1), _PLAIN_GAIN, np.int32)
    gains[:, 0] = 0
    for at in range(0, len(odd), _WORDS_AT_ONCE):
        chosen = odd[at : at + _WORDS_AT_ONCE]
        some = found.some(chosen)
        sums = np.zeros((len(_KEYS), len(some.pairs) + 1), np.int32)
        np.cumsum(_tables()[:, some.pairs], axis=1, out=sums[:, 1:])
        won = plain[chosen] - (sums[:, some.ends + 1] - sums[:, some.starts])
        gains[:, chosen + 1] = np.minimum(won, _MAX_GAIN * lengths[chosen])
    totals = gains.cumsum(axis=1)
    best = (totals - np.minimum.accumulate(totals, axis=1)).max(axis=1)
    enough = np.full(len(_KEYS), least or _GAIN_OTHER)
    enough[_ROT13] = least or _GAIN_ROT13
    ranked = np.argsort(enough - best, kind="stable")[:_MAX_KEYS]
    return [(int(key), int(enough[key])) for key in ranked if 2 * best[key] >= enough[key]]


def _stretches(
    found: Words, table: Costs, least: int, bonus: Costs | None = None
) -> Iterator[tuple[int, int]]:
    """Places of the stretches of words that cost at least so much less under the table."""
    lengths = found.ends - found.starts
    most = _MAX_GAIN * lengths
    most[lengths < _MIN_LETTERS] = 0
    gains = np.minimum(found.cost(costs() - table), most)
    if bonus is not None:
        gains += bonus
    totals = np.zeros(len(gains) + 1, np.int64)
    gains.cumsum(out=totals[1:])
    if (totals - np.minimum.accumulate(totals)).max() < least:
        return
    read = found.cost(table)
    values = gains.tolist()
    done = first = run = peak = last = 0
    for word, gain in enumerate([*values, _END]):
        run += gain
        if run > peak:
            peak, last = run, word
        elif run <= 0:
            if peak >= least and _reads_english(read, lengths, first, last + 1):
                start, done = _widened(values, max(first, done), last, done)
                yield int(found.starts[start]), int(found.ends[done - 1])
            first, run, peak = word + 1, 0, 0


def _widened(gains: list[int], first: int, last: int, done: int) -> tuple[int, int]:
    """The first word of the stretch and the one behind it, those at its ends included that may be either."""
    while first > done and gains[first - 1] >= _NEUTRAL:
        first -= 1
    end = max(last + 1, first + 1)
    while end < len(gains) and gains[end] >= _NEUTRAL:
        end += 1
    return first, end


def _reads_english(read: Costs, lengths: npt.NDArray[np.intp], first: int, end: int) -> bool:
    pairs = int(lengths[first:end].sum()) + end - first
    return int(read[first:end].sum()) <= _READS_ENGLISH * pairs


@cache
def _tables() -> Costs:
    return np.stack([rearranged(key) for key in _KEYS])


@cache
def _translation(key: int) -> dict[int, int]:
    order = _KEYS[key]
    plain = ascii_lowercase + ascii_uppercase
    moved = [letters[i] for letters in (ascii_lowercase, ascii_uppercase) for i in order]
    return str.maketrans(plain, "".join(moved))
