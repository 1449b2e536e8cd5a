"""Surnames without the rest of the name: weak evidence, and only if they are rare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from guard.detectors.hit import FuzzyConfig, Hit, Seen, Sight
from guard.detectors.names import Names
from guard.detectors.reading import Reading
from guard.detectors.spelling import frequencies

Place = tuple[int, int, bool]
"""Words of a text from the first number up to the second, and whether they are a surname as it is."""
Surnames = dict[Place, tuple[int, list[Hit]]]
"""How many targets have a surname that stands there (once for each such surname), and the hits if few."""


def surnames(
    names: Names, gone: Collection[str], sight: Sight, reading: Reading, config: FuzzyConfig
) -> Surnames:
    """Hits of surnames alone; none where more targets have the surname than may share it."""
    exact: dict[int, list[Seen]] = {}
    near: dict[int, list[Seen]] = {}
    for word, surname in zip(sight.words.tolist(), names.spelt(sight.words), strict=True):
        if len(surname) >= config.surname_letters and frequencies().get(surname, 0) < config.rare:
            for one in sight.seen[word]:
                if one.likeness == 1:
                    exact.setdefault(word, []).append(one)
                elif _tells(one, reading, config):
                    near.setdefault(word, []).append(one)
    told = _told(names, gone, exact, reading, config)
    taken = {(low, high) for low, high, _ in told}
    near = {word: [one for one in seen if (one.low, one.high) not in taken] for word, seen in near.items()}
    return told | _told(names, gone, {word: seen for word, seen in near.items() if seen}, reading, config)


def _told(
    names: Names, gone: Collection[str], seen: dict[int, list[Seen]], reading: Reading, config: FuzzyConfig
) -> Surnames:
    words = [*seen]
    found, of = names.ending_in(np.array(words, dtype=np.int32), gone)
    part = names.partial[found] & names.several(found)
    found, of = found[part], of[part]
    # A surname of thousands of targets is only counted.
    pairs = np.unique(of.astype(np.int64) << 32 | names.owner[found])
    holders = np.bincount(pairs >> 32, minlength=len(words))
    counts = Counter[Place]()
    for at in np.flatnonzero(holders).tolist():
        counts.update({_place(one): int(holders[at]) for one in seen[words[at]]})
    told: Surnames = {place: (count, []) for place, count in counts.items()}
    few = holders[of] <= config.shared
    for name, at in zip(found[few].tolist(), of[few].tolist(), strict=True):
        for one in seen[words[at]]:
            count, hits = told[_place(one)]
            if count <= config.shared:
                hits.append(_alone(names, name, one, reading, config))
    return told


def rare(found: Sequence[Surnames], config: FuzzyConfig) -> Iterator[Hit]:
    """The hits that count where several layers were asked: others say nothing about one target."""
    holders = Counter[Place]()
    for part in found:
        holders.update({place: count for place, (count, _) in part.items()})
    for part in found:
        for (low, high, exact), (_, hits) in part.items():
            nearer = not exact and holders[low, high, True]
            if not nearer and holders[low, high, exact] <= config.shared:
                yield from hits


def _place(surname: Seen) -> Place:
    return surname.low, surname.high, surname.likeness == 1


def _tells(surname: Seen, reading: Reading, config: FuzzyConfig) -> bool:
    """True if a misspelt surname may count alone: it is nearly the same, and no other known word."""
    stand = (reading.words[at].text for at in range(surname.low, surname.high))
    return surname.likeness >= config.surname_word and not any(word in frequencies() for word in stand)


def _alone(names: Names, name: int, surname: Seen, reading: Reading, config: FuzzyConfig) -> Hit:
    """The hit of a surname; before it there may be an initial, or the forename of another person."""
    words = names.spelt(names.words(name))
    before = reading.forename(surname.low)
    factor = config.surname
    if before:
        initial = len(before) == 1 or len(words[0]) == 1 or reading.initials(surname.low - 1)
        factor = config.initial if initial and before[0] == words[0][0] else config.namesake
    low = surname.low - 1 if factor == config.initial else surname.low
    threshold = config.threshold(sum(map(len, words)))
    return Hit(names.target(name), factor * surname.likeness, threshold, low, surname.high)
