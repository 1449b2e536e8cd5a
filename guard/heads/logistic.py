"""A linear head: logistic regression on the prompt's vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from guard.encoder import Vectors
from guard.heads import layers as dense
from guard.heads.rows import Labels, training_rows


@dataclass(frozen=True, slots=True)
class LogisticConfig:
    """How the linear head is fitted."""

    inverse_penalty: float = 10.0  # C of scikit-learn: larger fits the rows more closely
    iterations: int = 2000  # at most; MiniLM rows converge within some hundred


@dataclass(frozen=True)
class LogisticHead:
    """Class-balanced logistic regression.

    Attributes:
        config: how it is fitted.
        layers: one layer [d, 1]; none if there was nothing to forget.
    """

    config: LogisticConfig = LogisticConfig()
    layers: tuple[dense.Layer, ...] = dense.NOTHING

    def fit(self, vectors: Vectors, labels: Labels, owners: Sequence[str], seed: int = 0) -> Self:
        """See Head; the solution is unique, so the seed changes nothing."""
        rows, truth = training_rows(vectors, labels, owners)
        if not truth.any():
            return replace(self, layers=dense.NOTHING)
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(
            C=self.config.inverse_penalty, class_weight="balanced", max_iter=self.config.iterations
        )
        model.fit(rows.astype(np.float64), truth)
        weight, bias = model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32)
        return replace(self, layers=((np.ascontiguousarray(weight), bias),))

    def probability(self, vectors: Vectors) -> Vectors:
        """See Head."""
        return dense.probability(self.layers, vectors)

    def with_layers(self, layers: Sequence[dense.Layer]) -> Self:
        """The same head with other weights."""
        return replace(self, layers=tuple(layers))

    def to_arrays(self) -> dict[str, Any]:
        """See Head."""
        return dense.to_arrays(self.layers)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """See Head."""
        return cls(layers=dense.from_arrays(arrays))
