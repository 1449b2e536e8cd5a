"""An inverted index: which texts of which targets hold a term."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from guard.terms import terms

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

COMMON = 2000  # texts from which on a term says too little to look them all up


@dataclass(frozen=True, slots=True)
class Overlap:
    """What targets share with a text.

    Attributes:
        names: ids of all targets, by number.
        owners: numbers of those that share something, ascending.
        best: weight of the terms that the best text of each of them has.
        union: weight of the terms that all its texts together have.
    """

    names: Sequence[str]
    owners: npt.NDArray[np.int64]
    best: npt.NDArray[np.float64]
    union: npt.NDArray[np.float64]

    def of(self, number: int | None) -> tuple[float, float]:
        """Best and union of a target's number."""
        place = None if number is None else int(np.searchsorted(self.owners, number))
        if place is None or place >= self.owners.size or self.owners[place] != number:
            return 0.0, 0.0
        return float(self.best[place]), float(self.union[place])

    def above(self, least: float) -> list[tuple[float, str]]:
        """Best and id of the targets whose best is above a weight."""
        kept = np.flatnonzero(self.best > least)
        return [
            (best, self.names[owner])
            for best, owner in zip(self.best[kept].tolist(), self.owners[kept].tolist(), strict=True)
        ]


class Postings:
    """The terms of many texts. 12 bytes a term of a text, and 12 a distinct term.

    Attributes:
        owners: the targets that have texts, each once, in the order of their first text.
        numbers: the place of each in ``owners``.
    """

    def __init__(
        self, owners: Sequence[str], rows: Ints, row_owners: Ints, keys: npt.NDArray[np.uint64]
    ) -> None:
        """Files terms.

        Args:
            owners: distinct targets.
            rows: text of each term, int32 [p].
            row_owners: index in ``owners`` of each text, int32 [n].
            keys: the terms, uint64 [p].
        """
        self.owners = owners
        self.numbers = {owner: number for number, owner in enumerate(owners)}
        self._row_owners = row_owners
        order = np.argsort(keys, kind="stable")
        self._rows = rows[order]
        self._keys, self._starts = np.unique(keys[order], return_index=True)
        self._ends = np.append(self._starts[1:], keys.size)

    @classmethod
    def of(cls, texts: Iterable[tuple[str, str]]) -> Self:
        """The postings of (target, text) pairs."""
        owners: dict[str, int] = {}
        row_owners: list[int] = []
        keys: list[int] = []
        rows: list[int] = []
        for target_id, text in texts:
            found = terms(text)
            keys += found
            rows += [len(row_owners)] * len(found)
            row_owners.append(owners.setdefault(target_id, len(owners)))
        return cls(
            list(owners), np.array(rows, np.int32), np.array(row_owners, np.int32), np.array(keys, np.uint64)
        )

    @classmethod
    def join(cls, *given: tuple[Self, Collection[str]]) -> Self:
        """See Part."""
        owners: dict[str, int] = {}
        rows, row_owners, keys, count = [], [], [], 0
        for part, gone in given:
            kept = np.array([owner not in gone for owner in part.owners], dtype=bool)
            number = np.array(
                [
                    owners.setdefault(o, len(owners)) if k else -1
                    for o, k in zip(part.owners, kept, strict=True)
                ],
                np.int32,
            )
            if not kept.any():
                continue
            alive = kept[part._row_owners]
            numbers = np.cumsum(alive) - 1 + count
            held = alive[part._rows]
            rows.append(numbers[part._rows[held]])
            keys.append(np.repeat(part._keys, part._ends - part._starts)[held])
            row_owners.append(number[part._row_owners[alive]])
            count += int(alive.sum())
        if not rows:
            return cls.of(())
        return cls(
            list(owners),
            np.concatenate(rows).astype(np.int32),
            np.concatenate(row_owners),
            np.concatenate(keys),
        )

    def look_up(self, wanted: Mapping[int, float]) -> list[tuple[float, Ints]]:
        """Weight and texts of each wanted term that is here, and not in very many texts."""
        if not self._keys.size or not wanted:
            return []
        keys = np.fromiter(wanted, dtype=np.uint64, count=len(wanted))
        places = np.minimum(np.searchsorted(self._keys, keys), self._keys.size - 1)
        found = []
        for place, key, weight in zip(places.tolist(), keys.tolist(), wanted.values(), strict=True):
            start, end = self._starts[place], self._ends[place]
            if int(self._keys[place]) == key and end - start <= COMMON:
                found.append((weight, self._rows[start:end]))
        return found

    def overlaps(self, found: Sequence[tuple[float, Ints]]) -> Overlap:
        """What each target's texts share with the terms that were found."""
        if not found:
            return Overlap(self.owners, np.empty(0, np.int64), np.empty(0), np.empty(0))
        rows = np.concatenate([rows for _, rows in found])
        weights = np.repeat(np.array([w for w, _ in found], np.float32), [r.size for _, r in found])
        texts, inverse = np.unique(rows, return_inverse=True)
        sums = np.bincount(inverse, weights)
        owners, places = np.unique(self._row_owners[texts], return_inverse=True)
        best = np.zeros(owners.size)
        np.maximum.at(best, places, sums)
        union = np.zeros(owners.size)
        for weight, of_term in found:
            union[np.searchsorted(owners, self._row_owners[of_term])] += weight
        return Overlap(self.owners, owners, best, union)
