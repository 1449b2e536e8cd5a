"""A head that forgets a target exactly: the discrete key-value bottleneck.

After Träuble et al., "Discrete Key-Value Bottleneck" (ICML 2023), and the removal of a class by taking out
its keys, Shah et al., "Unlearning via Sparse Representations" (2023). A vector is projected once per codebook
and snaps to the nearest of that codebook's frozen keys; each key holds a value, and the values met are
averaged. Here a value is the log-odds of counts, so a row writes to exactly one key per codebook, and taking
its counts out leaves what would be there had it never come. Keys are random: they know no row at all.

Exactness has its price: keys that know no row tell rows apart worse than the other heads do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from guard.encoder import Vectors
from guard.heads.rows import Labels, asked_rows, sigmoid, training_rows

# Unit vectors are rounded to whole multiples of this. All sums are then of whole numbers far below 2^53, and
# float64 adds these without error in any order: a row's keys never depend on the rows it is computed with.
_GRAIN = 2.0**-14

Codes = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class BottleneckConfig:
    """Size of the bottleneck and how counts become values."""

    codebooks: int = 128  # C, independent votes
    keys: int = 64  # K per codebook, at most 65,536
    width: int = 8  # dimensions that a vector is projected to, per codebook
    smoothing: float = 0.5  # added to every count, so that a key nobody wrote to says nothing
    gain: float = 10.0  # independent votes that the codebooks are worth together: scales the mean log-odds


@dataclass(frozen=True)
class BottleneckHead:
    """Frozen keys, and what rows wrote to them.

    Attributes:
        config: its size.
        inputs: d, width of the vectors; 0 if it has seen none.
        seed: which keys it has.
        codes: uint16 [n, C], for each row learned from the key it wrote to in each codebook.
        labels: bool [n], whether the row is in the forget scope.
        owners: target that each row came from, "" for background.
    """

    config: BottleneckConfig = BottleneckConfig()
    inputs: int = 0
    seed: int = 0
    codes: Codes = field(default_factory=lambda: np.empty((0, 0), dtype=np.uint16))
    labels: Labels = field(default_factory=lambda: np.empty(0, dtype=np.bool_))
    owners: tuple[str, ...] = ()

    def fit(self, vectors: Vectors, labels: Labels, owners: Sequence[str], seed: int = 0) -> Self:
        """See Head."""
        rows, truth = training_rows(vectors, labels, owners)
        empty = type(self)(self.config, rows.shape[1], seed)
        return replace(empty, codes=empty.codes_of(rows), labels=truth, owners=tuple(owners))

    def without(self, target_id: str) -> Self:
        """The head as if this target's rows had never been among those it was fitted on, bit for bit."""
        kept = np.asarray([owner != target_id for owner in self.owners], dtype=np.bool_)
        return replace(
            self,
            codes=self.codes[kept],
            labels=self.labels[kept],
            owners=tuple(owner for owner in self.owners if owner != target_id),
        )

    def probability(self, vectors: Vectors) -> Vectors:
        """See Head."""
        if not self.labels.any():
            return np.zeros(len(vectors), dtype=np.float32)
        codes = self.codes_of(asked_rows(vectors, self.inputs))
        met = self.values[np.arange(self.config.codebooks), codes]
        return sigmoid(self.config.gain * met.mean(axis=1))

    def codes_of(self, rows: Vectors) -> Codes:
        """Nearest key of each row float32 [n, d] in each codebook, uint16 [n, C]; the first of equals."""
        if not rows.size:
            return np.empty((len(rows), self.config.codebooks), dtype=np.uint16)
        projection, keys = self._frozen
        wide = rows.astype(np.float64)
        norms = np.maximum(np.sqrt((wide**2).sum(axis=1, keepdims=True)), np.finfo(np.float32).tiny)
        whole = np.rint(wide / norms / _GRAIN)
        points = (whole @ projection).reshape(len(rows), self.config.codebooks, self.config.width)
        # argmin |p - k|^2 = argmax 2 p.k - |k|^2
        near = 2 * np.einsum("ncw,ckw->nck", points, keys, optimize=True) - (keys**2).sum(axis=2)
        return np.asarray(near.argmax(axis=2), dtype=np.uint16)

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """How many rows of each class {retain, forget} wrote to each key, int64 [2, C, K]."""
        books, keys = self.config.codebooks, self.config.keys
        counts = np.zeros((2, books, keys), dtype=np.int64)
        for label in (0, 1):
            codes = self.codes[self.labels == bool(label)]
            if codes.size:
                np.add.at(counts[label], (np.arange(books), codes), 1)
        return counts

    @cached_property
    def values(self) -> npt.NDArray[np.float64]:
        """Log-odds of each key [C, K]: how much more often rows to forget wrote to it than others did."""
        smoothed = self.counts + self.config.smoothing
        shares = np.log(smoothed) - np.log(smoothed.sum(axis=2, keepdims=True))
        return np.asarray(np.where(self.counts.sum(axis=0) > 0, shares[1] - shares[0], 0.0))

    @cached_property
    def _frozen(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Projection [d, C * width] of signs and keys [C, K, width], whole numbers, from the seed alone."""
        config, random = self.config, np.random.default_rng(self.seed)
        signs = random.choice((-1.0, 1.0), (self.inputs, config.codebooks * config.width))
        # A unit vector's projections on random signs have variance 1, so keys drawn so lie where rows do.
        keys = random.standard_normal((config.codebooks, config.keys, config.width))
        return np.asarray(signs, dtype=np.float64), np.asarray(np.rint(keys / _GRAIN), dtype=np.float64)

    def to_arrays(self) -> dict[str, Any]:
        """See Head."""
        described = {
            "config": asdict(self.config),
            "inputs": self.inputs,
            "seed": self.seed,
            "owners": self.owners,
        }
        written = np.frombuffer(json.dumps(described, sort_keys=True).encode(), dtype=np.uint8)
        return {"codes": self.codes, "labels": self.labels, "described": written}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """See Head."""
        described = json.loads(arrays["described"].tobytes())
        config = BottleneckConfig(**described.pop("config"))
        owners = tuple(described.pop("owners"))
        return cls(config, codes=arrays["codes"], labels=arrays["labels"], owners=owners, **described)
