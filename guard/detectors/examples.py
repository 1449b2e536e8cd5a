"""Vectors of example prompts, and which of them lie nearest to a text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from guard.detectors import index as indexes
from guard.detectors.layers import Layers
from guard.encoder import Vectors

Numbers = npt.NDArray[np.int32]
_BLOCK = 65_536  # vectors handed to the index at once


class Examples:
    """An index of unit vectors, exact up to 20,000 of them; see `guard.detectors.index` for more.

    A million vectors of d = 384 take 0.78 GB here, and a list with their targets' ids.

    Attributes:
        owners: the targets that have vectors, each once, in order.
    """

    def __init__(self, owners: Sequence[str], vectors: Vectors) -> None:
        """Copies the vectors, float32 [n, d]; ``owners`` are their n targets."""
        self.owners = sorted(set(owners))
        numbers = {owner: number for number, owner in enumerate(self.owners)}
        self._numbers = np.fromiter((numbers[owner] for owner in owners), dtype=np.int32, count=len(owners))
        self._index: Any = None
        self._kept: tuple[Collection[str], indexes.Mask] | None = None
        if self.owners:
            self._index = indexes.build(lambda: _blocks(vectors), *vectors.shape)

    @classmethod
    def join(cls, *given: tuple[Self, Collection[str]]) -> Self:
        """See Part."""
        masks = [(part, part._mask(gone)) for part, gone in given if part.owners]
        joined = cls((), np.empty((0, 0), dtype=np.float32))
        if not any(mask.any() for _, mask in masks):
            return joined
        held = [(part, np.unique(part._numbers[mask]).tolist()) for part, mask in masks]
        joined.owners = sorted({part.owners[number] for part, numbers in held for number in numbers})
        renumbered = []
        for (part, mask), (_, numbers) in zip(masks, held, strict=True):
            table = np.zeros(len(part.owners), dtype=np.int32)
            table[numbers] = [bisect_left(joined.owners, part.owners[number]) for number in numbers]
            renumbered.append(table[part._numbers[mask]])
        joined._numbers = np.concatenate(renumbered)
        joined._index = indexes.join([(part._index, mask) for part, mask in masks])
        return joined

    def nearest(
        self, vectors: Vectors, count: int, gone: Collection[str] = ()
    ) -> list[list[tuple[float, str]]]:
        """Cosine and target of the ``count`` nearest examples to each vector, or of as many as there are.

        Args:
            vectors: float32 [m, d], unit vectors.
            count: how many are needed.
            gone: targets whose examples do not count.
        """
        if self._index is None:
            return [[] for _ in vectors]
        kept = self._remembered(gone) if gone else None
        cosines, rows = indexes.search(self._index, vectors, min(count, self._numbers.size), kept)
        owners = self._numbers[rows]
        return [
            [(c, self.owners[number]) for c, number, row in zip(*line, strict=True) if row >= 0]
            for line in zip(cosines.tolist(), owners.tolist(), rows.tolist(), strict=True)
        ]

    def _remembered(self, gone: Collection[str]) -> indexes.Mask:
        """`_mask`, made once per set: between two changes every search asks for the same one."""
        known = self._kept
        if known is None or known[0] is not gone:
            known = self._kept = (gone, self._mask(gone))
        return known[1]

    def _mask(self, gone: Collection[str]) -> indexes.Mask:
        """Which vectors are left without these targets' ones: bool [n]."""
        places = ((bisect_left(self.owners, target_id), target_id) for target_id in gone)
        found = [place for place, target_id in places if self.owners[place : place + 1] == [target_id]]
        left = np.ones(len(self.owners), dtype=np.bool_)
        left[found] = False
        return left[self._numbers]


def nearest(layers: Layers[Examples], vectors: Vectors, count: int) -> list[list[tuple[float, str]]]:
    """Cosine and target of the ``count`` nearest examples to each vector, nearest first.

    What one index over all examples finds, save for examples that are equally near as the last one, and for
    the few that an index of more than 20,000 vectors overlooks.
    """
    found = [part.nearest(vectors, count, gone) for part, gone in layers.parts]
    return [
        sorted((near for layer in row for near in layer), key=lambda near: -near[0])[:count]
        for row in zip(*found, strict=True)
    ]


def _blocks(vectors: Vectors) -> Iterator[tuple[indexes.Rows, Vectors]]:
    for start in range(0, len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK], dtype=np.float32)
        yield np.arange(start, start + len(block)), block
