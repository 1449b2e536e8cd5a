"""A kernel head: logistic regression on likeness to landmarks, which are rows it was fitted on.

A question that was registered must match, and the same question about someone else need not: that boundary
is not straight, and a linear head misses some of it. Landmarks are vectors of the targets' rows, so a stored
head is as private as the targets are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from guard.encoder import Vectors
from guard.heads.rows import Labels, asked_rows, sigmoid, training_rows


@dataclass(frozen=True, slots=True)
class KernelConfig:
    """How the kernel head is fitted."""

    sharpness: float = 2.0  # gamma of exp(-gamma |x - landmark|^2); from 4 on unit vectors are memorised
    inverse_penalty: float = 100.0  # C of scikit-learn: larger fits the rows more closely
    landmarks: int = 1024  # at most; more rows than this are sampled
    iterations: int = 2000  # at most


@dataclass(frozen=True)
class KernelHead:
    """Nyström features of the Gaussian kernel (Williams & Seeger 2001) and a linear head on them.

    Attributes:
        config: how it is fitted.
        landmarks: float32 [m, d]; m = 0 if there was nothing to forget.
        weights: float32 [m], of the likeness to each landmark.
        bias: float32 [1].
        sharpness: float32 [1], gamma as it was when fitted.
    """

    config: KernelConfig = KernelConfig()
    landmarks: Vectors = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    weights: Vectors = field(default_factory=lambda: np.empty(0, dtype=np.float32))
    bias: Vectors = field(default_factory=lambda: np.zeros(1, dtype=np.float32))
    sharpness: Vectors = field(default_factory=lambda: np.zeros(1, dtype=np.float32))

    def fit(self, vectors: Vectors, labels: Labels, owners: Sequence[str], seed: int = 0) -> Self:
        """See Head."""
        rows, truth = training_rows(vectors, labels, owners)
        if not truth.any():
            return type(self)(self.config)
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import LogisticRegression

        config = self.config
        count = min(config.landmarks, len(rows))
        features = Nystroem(gamma=config.sharpness, n_components=count, random_state=seed)
        model = LogisticRegression(
            C=config.inverse_penalty, class_weight="balanced", max_iter=config.iterations
        )
        model.fit(features.fit_transform(rows.astype(np.float64)), truth)
        return replace(
            self,
            landmarks=features.components_.astype(np.float32),
            # The features are K(x, landmarks) times this matrix: one product less for every question.
            weights=(features.normalization_.T @ model.coef_[0]).astype(np.float32),
            bias=model.intercept_.astype(np.float32),
            sharpness=np.asarray([config.sharpness], dtype=np.float32),
        )

    def probability(self, vectors: Vectors) -> Vectors:
        """See Head."""
        if not len(self.landmarks):
            return np.zeros(len(vectors), dtype=np.float32)
        rows = asked_rows(vectors, self.landmarks.shape[1]).astype(np.float64)
        marks = self.landmarks.astype(np.float64)
        apart = (rows**2).sum(1)[:, None] + (marks**2).sum(1)[None, :] - 2 * rows @ marks.T
        return sigmoid(np.exp(-self.sharpness * apart) @ self.weights + self.bias)

    def to_arrays(self) -> dict[str, Any]:
        """See Head."""
        return {
            "landmarks": self.landmarks,
            "weights": self.weights,
            "bias": self.bias,
            "sharpness": self.sharpness,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """See Head."""
        return cls(**{name: arrays[name] for name in ("landmarks", "weights", "bias", "sharpness")})
