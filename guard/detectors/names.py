"""Names by their words, filed so that a text's words lead to the few names that may stand in it.

The distinct words of all names are filed under keys that similar words share (`guard.detectors.spelling`),
and each name under its last word. So a text is never compared with all names: its words lead to similar
words, those to the names that end in them, and of these only the ones of which another word is there too are
looked at, or the few that share a surname. Numbers in arrays keep a name at 200 to 300 bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from guard.detectors.spelling import (
    LONGEST,
    SHORTEST,
    Keys,
    Places,
    exact_keys,
    name_words,
    near_keys,
    skeletons,
    sounds,
)
from guard.types import ForgetTarget

Numbers = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Entry = tuple[str, bool, tuple[str, ...]]
"""A name: its target, whether it may be given in part, its words."""

_BLOCK = 200_000  # words whose keys are made at once: 100 MB
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


class Names:
    """Names of targets.

    Attributes:
        owners: the targets, each once, in order.
        owner: number of each name's target.
        partial: which names may be given in part.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        """Files the names."""
        held = sorted(entries)
        self.owners = list(dict.fromkeys(owner for owner, _, _ in held))
        numbers = {owner: number for number, owner in enumerate(self.owners)}
        self.owner = np.fromiter((numbers[owner] for owner, _, _ in held), np.int32, len(held))
        self.partial = np.fromiter((partial for _, partial, _ in held), np.bool_, len(held))
        spelt = sorted({word for _, _, words in held for word in words})
        places = {word: place for place, word in enumerate(spelt)}
        self._text = "".join(spelt)
        self._ends = np.cumsum([0, *map(len, spelt)], dtype=np.int32)
        heard = sounds(spelt)
        self._sounds = "".join(heard)
        self._sound_ends = np.cumsum([0, *map(len, heard)], dtype=np.int32)
        self._word_ends = np.cumsum([0, *(len(words) for _, _, words in held)], dtype=np.int32)
        self._words = np.fromiter(
            (places[word] for _, _, words in held for word in words), np.int32, self._word_ends[-1]
        )
        last = self._words[self._word_ends[1:] - 1]
        self._by_last = np.argsort(last, kind="stable").astype(np.int32)
        self._last_ends = np.searchsorted(last[self._by_last], np.arange(len(spelt) + 1)).astype(np.int32)
        self._similar = _filed(spelt, range(len(spelt)))
        glued = ["".join(words) if len(words) > 1 else "" for _, _, words in held]
        # A slip in a short word is found in the whole name: the word alone would be like too many others.
        short = {place for place, (_, _, words) in enumerate(held) if min(map(len, words)) < SHORTEST}
        self._glued = _filed(glued, short)
        self._alive: tuple[Collection[str], Mask] | None = None

    @classmethod
    def of(cls, targets: Iterable[ForgetTarget]) -> Self:
        """The names and aliases of targets; those of entities may be given in part."""
        return cls(
            (target.id, target.kind == "entity", words)
            for target in targets
            for words in dict.fromkeys(map(name_words, target.names))
            if words
        )

    @classmethod
    def join(cls, *given: tuple[Self, Collection[str]]) -> Self:
        """See Part."""
        return cls(entry for part, gone in given for entry in part._entries() if entry[0] not in gone)

    def similar(self, keys: Keys) -> tuple[Numbers, Numbers]:
        """Places in ``keys``, and numbers of the words filed under the key there."""
        return _found(self._similar, keys)

    def glued(self, keys: Keys) -> tuple[Numbers, Numbers]:
        """The same for names, whose words are written as one."""
        return _found(self._glued, keys)

    def spelt(self, numbers: Sequence[int] | npt.NDArray[Any]) -> list[str]:
        """Words by their numbers."""
        return _parts(self._text, self._ends, numbers)

    def heard(self, numbers: Sequence[int] | npt.NDArray[Any]) -> list[str]:
        """Their sounds."""
        return _parts(self._sounds, self._sound_ends, numbers)

    def words(self, name: int) -> list[int]:
        """Numbers of a name's words, in order."""
        numbers: list[int] = self._words[self._word_ends[name] : self._word_ends[name + 1]].tolist()
        return numbers

    def target(self, name: int) -> str:
        """The target that a name is of."""
        return self.owners[int(self.owner[name])]

    def several(self, names: Numbers) -> Mask:
        """Which of the names have more than one word."""
        longer: Mask = self._word_ends[names + 1] - self._word_ends[names] > 1
        return longer

    def ending_in(self, words: Numbers, gone: Collection[str]) -> tuple[Numbers, Numbers]:
        """The names that have one of the words as their last, and for each the place of that in ``words``."""
        starts = self._last_ends[words]
        of, places = ragged(starts, self._last_ends[words + 1] - starts)
        names = self._by_last[places]
        if gone:
            left = self.alive(gone)[names]
            names, of = names[left], of[left]
        return names, of.astype(np.int32)

    def with_others(self, names: Numbers, words: Numbers) -> Mask:
        """Which names have one of ``words`` (sorted, not empty) before their last word, or have only one."""
        starts = self._word_ends[names]
        counts = self._word_ends[names + 1] - 1 - starts
        of, places = ragged(starts, counts)
        others = self._words[places]
        there = words[np.minimum(np.searchsorted(words, others), len(words) - 1)] == others
        found: Mask = counts == 0
        found[of[there]] = True
        return found

    def alive(self, gone: Collection[str]) -> Mask:
        """Which names are left without these targets' ones; made once per set."""
        known = self._alive
        if known is None or known[0] is not gone:
            left = np.ones(len(self.owners), dtype=np.bool_)
            places = ((bisect_left(self.owners, target_id), target_id) for target_id in gone)
            left[[at for at, target_id in places if self.owners[at : at + 1] == [target_id]]] = False
            known = self._alive = (gone, left[self.owner])
        mask: Mask = known[1]
        return mask

    def _entries(self) -> Iterator[Entry]:
        spelt = self.spelt(np.arange(len(self._ends) - 1))
        numbers, ends = self._words.tolist(), self._word_ends.tolist()
        lines = zip(self.owner.tolist(), self.partial.tolist(), pairwise(ends), strict=True)
        for owner, partial, (start, end) in lines:
            yield self.owners[owner], partial, tuple(map(spelt.__getitem__, numbers[start:end]))


def _parts(text: str, ends: Numbers, numbers: Sequence[int] | npt.NDArray[Any]) -> list[str]:
    at = np.asarray(numbers)
    return [text[start:end] for start, end in zip(ends[at].tolist(), ends[at + 1].tolist(), strict=True)]


def _filed(texts: Sequence[str], misspelt: Container[int]) -> Keys:
    """Sorted: each key in the upper half of a number, the place of a text that has it in the lower.

    Args:
        texts: words in plain letters; empty ones are left out.
        misspelt: places of those that are filed without one letter too.
    """
    filed = []
    for start in range(0, len(texts), _BLOCK):
        places = [at for at in range(start, min(start + _BLOCK, len(texts))) if 0 < len(texts[at]) <= LONGEST]
        block, numbers = [texts[at] for at in places], np.array(places, dtype=np.uint64)
        filed += [
            exact_keys(block) << _SHIFT | numbers,
            exact_keys(skeletons(sounds(block))) << _SHIFT | numbers,
        ]
        long = [at for at in places if len(texts[at]) >= SHORTEST and at in misspelt]
        keys, of = near_keys([texts[at] for at in long])
        filed.append(keys << _SHIFT | np.array(long, dtype=np.uint64)[of])
    joined = np.concatenate(filed) if filed else np.empty(0, dtype=np.uint64)
    joined.sort()
    return joined[np.append(True, joined[1:] != joined[:-1])] if len(joined) else joined


def _found(filed: Keys, keys: Keys) -> tuple[Numbers, Numbers]:
    """Places in ``keys`` and what is filed under the key there."""
    order = np.argsort(keys)  # neighbours are searched one after the other, near each other in memory
    wanted = keys[order] << _SHIFT
    low = np.searchsorted(filed, wanted)
    hits = (
        np.flatnonzero(filed[np.minimum(low, len(filed) - 1)] >> _SHIFT == keys[order])
        if len(filed)
        else low[:0]
    )
    counts = np.searchsorted(filed, wanted[hits] | _LOW, side="right") - low[hits]
    of, places = ragged(low[hits], counts)
    return order[hits][of].astype(np.int32), (filed[places] & _LOW).astype(np.int32)


def ragged(starts: npt.NDArray[Any], counts: npt.NDArray[Any]) -> tuple[Places, Places]:
    """For ranges of places: which range each place is of, and the places."""
    of = np.repeat(np.arange(len(counts)), counts)
    return of, np.arange(len(of)) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
