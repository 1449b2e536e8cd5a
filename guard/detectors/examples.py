"""Vectors of example prompts, and which of them lie nearest to a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Self

import numpy as np

from guard.detectors.layers import Layers
from guard.encoder import Vectors


class Examples:
    """A faiss index of unit vectors.

    Attributes:
        owners: target of each of the n vectors.
    """

    def __init__(self, owners: Sequence[str], vectors: Vectors) -> None:
        """Copies the vectors, float32 [n, d]."""
        self.owners = owners
        self._counts = Counter(owners)
        self._index: Any = None
        if owners:
            import faiss

            self._index = faiss.IndexFlatIP(vectors.shape[1])
            self._index.add(np.ascontiguousarray(vectors))

    @classmethod
    def join(cls, *given: tuple[Self, Collection[str]]) -> Self:
        """See Part."""
        owners: list[str] = []
        vectors = []
        for part, gone in given:
            rows = [row for row, owner in enumerate(part.owners) if owner not in gone]
            if rows:
                owners += [part.owners[row] for row in rows]
                vectors.append(part._index.reconstruct_n(0, len(part.owners))[rows])
        return cls(owners, np.concatenate(vectors) if vectors else np.empty((0, 0), dtype=np.float32))

    def nearest(
        self, vectors: Vectors, count: int, gone: Collection[str] = ()
    ) -> list[list[tuple[float, str]]]:
        """Cosine and target of at least the ``count`` nearest examples to each vector, if there are as many.

        Args:
            vectors: float32 [m, d], unit vectors.
            count: how many are needed.
            gone: targets whose examples do not count.
        """
        if self._index is None:
            return [[] for _ in vectors]
        more = sum(self._counts[target_id] for target_id in gone)
        similarities, rows = self._index.search(vectors, min(count + more, len(self.owners)))
        return [
            [(s, self.owners[row]) for s, row in zip(*pair, strict=True) if self.owners[row] not in gone]
            for pair in zip(similarities.tolist(), rows.tolist(), strict=True)
        ]


def nearest(layers: Layers[Examples], vectors: Vectors, count: int) -> list[list[tuple[float, str]]]:
    """Cosine and target of the ``count`` nearest examples to each vector, nearest first.

    What one index over all examples finds, save for examples that are equally near as the last one.
    """
    found = [part.nearest(vectors, count, gone) for part, gone in layers.parts]
    return [
        sorted((near for layer in row for near in layer), key=lambda near: -near[0])[:count]
        for row in zip(*found, strict=True)
    ]
