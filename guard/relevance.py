"""How surely a text concerns a target: one calibrated number from what all detectors see.

A logistic model over the detectors' values, fitted once on a training part of public benchmarks and on the
background corpus (``make fit-routing``) and shipped as ``relevance.json``. It knows no target: its inputs are
scores, so it serves targets that it has never seen.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from guard.detectors.findings import Findings, Values
from guard.errors import InputError

SHIPPED = Path(__file__).with_name("relevance.json")
FORMAT = 1

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Relevance:
    """A logistic model.

    Attributes:
        features: names of its inputs, in order.
        weights: float64 [f].
        bias: logit where all inputs are 0.
        threshold: logit above which a text concerns a target, unless a calibration says more.
        watch: logit above which the target's strings are kept out of the response.
    """

    features: tuple[str, ...]
    weights: Matrix
    bias: float
    threshold: float
    watch: float

    def logits(self, values: Matrix) -> Matrix:
        """One logit a row, float64 [n], of values [n, f]."""
        return values @ self.weights + self.bias

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; ``parse`` reads them back."""
        return {
            "format": FORMAT,
            "weights": {n: round(float(w), 6) for n, w in zip(self.features, self.weights, strict=True)},
            "bias": round(self.bias, 6),
            "threshold": round(self.threshold, 6),
            "watch": round(self.watch, 6),
        }

    @classmethod
    def parse(cls, data: Mapping[str, Any], features: Sequence[str]) -> Relevance:
        """The model described by a JSON object, for detectors that have these features.

        Raises:
            InputError: it is of another format, or was fitted to other features.
        """
        if data.get("format") != FORMAT:
            raise InputError(
                f"the relevance model has format {data.get('format')!r}, not {FORMAT}; fit it anew"
            )
        weights = data["weights"]
        if set(weights) != set(features):
            other = ", ".join(sorted(set(weights) ^ set(features)))
            raise InputError(f"the relevance model was fitted to other features ({other}); fit it anew")
        array = np.array([weights[name] for name in features], dtype=np.float64)
        return cls(tuple(features), array, data["bias"], data["threshold"], data["watch"])


@cache
def shipped(features: tuple[str, ...]) -> Relevance:
    """The model that comes with the package.

    Raises:
        InputError: see `Relevance.parse`.
    """
    return Relevance.parse(json.loads(SHIPPED.read_text()), features)


def values(findings: Sequence[Findings], target_id: str) -> Values:
    """The inputs for one text and target: the values of every detector, in the table's order."""
    return tuple(value for found in findings for value in found.of(target_id))


def probability(logit: float) -> float:
    """The logistic function, from 0 to 1."""
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
