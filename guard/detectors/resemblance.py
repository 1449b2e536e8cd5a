"""How well whole names, and several words of them, fit a text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from rapidfuzz.fuzz import ratio
from rapidfuzz.process import cpdist

from guard.detectors.hit import FUZZY, LONG, FuzzyConfig, Hit, Seen, Sight
from guard.detectors.names import Mask, Names, Numbers
from guard.detectors.reading import Lookup, Reading
from guard.detectors.spelling import Places, frequencies, sounds

_SPELT = 0.6  # share of letters in which words that sound the same agree ("hsiao", "xiao": 0.67)
_HEARD = 80  # similarity of their sounds, 0..100 ("mohammed", "muhammad": 83)
_FUNCTION = 1e-3  # share of all words, zipf 6: "the", "of" and 100 more say nothing about who is meant


def sight(names: Names, gone: Collection[str], reading: Reading, config: FuzzyConfig) -> Sight:
    """The words of names that occur in a text, and the names that end in one."""
    places, numbers, sounding = _pairs(reading.alone, *names.similar(reading.alone.keys))
    alike, same = _alike(names, reading, places, numbers, sounding, config)
    kept = np.flatnonzero(alike >= config.word)
    lines = (places[kept], numbers[kept], alike[kept], same[kept])
    seen: dict[int, list[Seen]] = {}
    for place, number, likeness, sound in zip(*map(np.ndarray.tolist, lines), strict=True):
        text, low, high = reading.units[place]
        other = not sound and high == low + 1 and text in frequencies()
        seen.setdefault(number, []).append(Seen(low, high, likeness, other))
    words = np.array(sorted(seen), dtype=np.int32)
    return Sight(seen, words, *names.ending_in(words, gone))


def _alike(
    names: Names, reading: Reading, places: Places, numbers: Places, sounding: Mask, config: FuzzyConfig
) -> tuple[npt.NDArray[np.float64], Mask]:
    """`_likeness` of units and words, pair by pair."""
    stand = [reading.units[place].text for place in places.tolist()]
    alike = cpdist(stand, names.spelt(numbers), scorer=ratio).astype(np.float64) / 100
    close = np.flatnonzero(sounding & (alike >= _SPELT))
    heard = [reading.sounds[place] for place in places[close].tolist()]
    same = alike == 1
    same[close] |= cpdist(heard, names.heard(numbers[close]), scorer=ratio) >= _HEARD
    alike[same] = np.maximum(alike[same], config.sounding)
    return alike, same


def several(names: Names, sight: Sight, reading: Reading, config: FuzzyConfig) -> Iterator[Hit]:
    """Hits of names of which all words or several are there, the last one among them."""
    if sight.names.size:
        for name in sight.names[names.with_others(sight.names, sight.words)].tolist():
            yield from _placed(names, name, sight.seen, reading, config)


def glued(names: Names, gone: Collection[str], reading: Reading, config: FuzzyConfig) -> Iterator[Hit]:
    """Hits of names that are written as one word, or as two whose gap is elsewhere, or that are short."""
    at, numbers = names.glued(reading.glued.keys)
    if gone:
        left = names.alive(gone)[numbers]
        at, numbers = at[left], numbers[left]
    for place, name, sounding in zip(
        *map(np.ndarray.tolist, _pairs(reading.glued, at, numbers)), strict=True
    ):
        unit, own = reading.units[place], names.spelt(names.words(name))
        text = "".join(own)
        # The sound of a short name written as one is that of too many ordinary words.
        heard = reading.sounds[place] if sounding and len(text) >= LONG else ""
        score, _ = _likeness(unit.text, text, heard, config)
        stand = [word.text for word in reading.words[unit.low : unit.high]]
        if score < 1 and len(stand) > 1 and not _each(stand, own):
            continue
        if score < 1 and all(word in own for word in stand):
            continue  # a surname without its initial: other evidence, judged by `surnames`
        if score < 1 and any(word in frequencies() and word not in own for word in stand):
            score = min(score, config.other)
        if reading.breaks(unit.low, unit.high):
            score *= config.apart
        if len(text) >= FUZZY or score == 1:
            yield Hit(names.target(name), score, config.threshold(len(text)), unit.low, unit.high)


def _each(stand: Sequence[str], own: Sequence[str]) -> bool:
    """True if two words are like a name's two: a name as a whole may be like one with another forename."""
    return len(own) == len(stand) and all(ratio(*two) >= 60 for two in zip(stand, own, strict=True))


def _pairs(lookup: Lookup, at: Numbers, numbers: Numbers) -> tuple[Places, Places, Mask]:
    """Each unit's place with each number found for it, and whether their sounds share a key; all once."""
    found = lookup.places[at] << 32 | numbers
    pairs = np.unique(found)
    sounding = np.zeros(len(pairs), dtype=np.bool_)
    sounding[np.searchsorted(pairs, found[lookup.sounding[at]])] = True
    return pairs >> 32, pairs & 0xFFFFFFFF, sounding


def _likeness(one: str, two: str, heard: str, config: FuzzyConfig) -> tuple[float, bool]:
    """The share of letters that agree, or more if the words sound the same; whether they do.

    Args:
        one: a word.
        two: another.
        heard: the sound of the first one if it shares a key with that of the second, else "".
        config: what counts.
    """
    if one == two:
        return 1.0, True
    alike = ratio(one, two) / 100
    if heard and alike >= _SPELT and ratio(heard, *sounds([two])) >= _HEARD:
        return max(alike, config.sounding), True
    return alike, False


def _placed(
    names: Names, name: int, seen: dict[int, list[Seen]], reading: Reading, config: FuzzyConfig
) -> Iterator[Hit]:
    """Hits of a name around each place where its last word is seen."""
    numbers = names.words(name)
    lengths = [*map(len, names.spelt(numbers))]
    threshold = config.threshold(sum(lengths))
    for last in seen[numbers[-1]]:
        found = _around(numbers, last, seen)
        score = _score(names, name, found, lengths, config)
        there = [one for one in found if one]
        low, high = min(one.low for one in there), max(one.high for one in there)
        between = set(range(low, high)).difference(*(range(one.low, one.high) for one in there))
        breaks = reading.breaks(low, high)
        if len(between) > 1 or (breaks and there != sorted(there)):
            continue
        if breaks or any(len(reading.words[at].text) > 1 for at in between):
            score *= config.apart
        if sum(lengths) >= FUZZY or (score == 1 and there == sorted(there)):
            yield Hit(names.target(name), score, threshold, low, high)


def _around(numbers: Sequence[int], last: Seen, seen: dict[int, list[Seen]]) -> list[Seen | None]:
    """Where each word of a name is seen nearest to its last one, if it is within reach."""
    found: list[Seen | None] = []
    taken = [last]
    for number in reversed(numbers[:-1]):
        free = [
            one
            for one in seen.get(number, ())
            if abs(one.low - last.low) <= len(numbers) + 1
            and all(one.high <= other.low or other.high <= one.low for other in taken)
        ]
        nearest = min(free, key=lambda one: (abs(one.low - last.low), -one.likeness), default=None)
        taken += [nearest] if nearest else []
        found.append(nearest)
    return [*reversed(found), last]


def _score(
    names: Names, name: int, found: Sequence[Seen | None], lengths: Sequence[int], config: FuzzyConfig
) -> float:
    """The share of a name's letters that agree, or more if it is of several words that may be left out."""
    agreeing = [length * one.likeness if one else 0.0 for one, length in zip(found, lengths, strict=True)]
    score = sum(agreeing) / sum(lengths)
    if None in found and names.partial[name]:
        telling = [
            one
            for one, word in zip(found, names.spelt(names.words(name)), strict=True)
            if frequencies().get(word, 0) < _FUNCTION
        ]
        if sum(one is not None for one in telling) > 1:
            there = sum(length for one, length in zip(found, lengths, strict=True) if one)
            share = config.ends if telling[0] and telling[-1] else config.part
            score = max(score, share * sum(agreeing) / there)
    return min(score, config.other) if any(one and one.other for one in found) else score
