"""How surely a text concerns a target: one calibrated number from what all detectors see.

A small network over the detectors' values, fitted once on a training part of public benchmarks and on the
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

from guard.errors import InputError

SHIPPED = Path(__file__).with_name("relevance.json")
FORMAT = 2

Matrix = npt.NDArray[np.float64]
Layer = tuple[Matrix, Matrix]


@dataclass(frozen=True)
class Relevance:
    """A network with ReLU between its layers; with one layer, a logistic model.

    Attributes:
        features: names of its inputs, in order.
        layers: weight float64 [in, out] and bias [out] of each; the last has one output, a logit.
        threshold: logit above which a text concerns a target, unless a calibration says more.
        watch: logit above which the target's strings are kept out of the response.
    """

    features: tuple[str, ...]
    layers: tuple[Layer, ...]
    threshold: float
    watch: float

    def logits(self, values: Matrix) -> Matrix:
        """One logit a row, float64 [n], of values [n, f]."""
        hidden = values
        for weight, bias in self.layers[:-1]:
            hidden = np.maximum(hidden @ weight + bias, 0.0)
        weight, bias = self.layers[-1]
        return np.asarray((hidden @ weight + bias)[:, 0], dtype=np.float64)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; ``parse`` reads them back."""
        return {
            "format": FORMAT,
            "features": list(self.features),
            "layers": [
                {"weight": np.round(weight, 5).tolist(), "bias": np.round(bias, 5).tolist()}
                for weight, bias in self.layers
            ],
            "threshold": round(self.threshold, 5),
            "watch": round(self.watch, 5),
        }

    @classmethod
    def parse(cls, data: Mapping[str, Any], features: Sequence[str]) -> Relevance:
        """The model described by a JSON object, for detectors that have these features.

        Raises:
            InputError: it is damaged, of another format, or was fitted to other features.
        """
        given = data.get("format")
        if given != FORMAT:
            raise InputError(f"the relevance model has format {given!r}, not {FORMAT}; fit it anew")
        try:
            learned = [str(name) for name in data["features"]]
            layers = tuple((np.array(layer["weight"]), np.array(layer["bias"])) for layer in data["layers"])
            bars = float(data["threshold"]), float(data["watch"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the relevance model is damaged ({type(error).__name__}); fit it anew"
            ) from None
        if learned != list(features):
            other = ", ".join(sorted(set(learned) ^ set(features))) or "in another order"
            raise InputError(f"the relevance model was fitted to other features ({other}); fit it anew")
        return cls(tuple(features), layers, *bars)


@cache
def shipped(features: tuple[str, ...]) -> Relevance:
    """The model that comes with the package.

    Raises:
        InputError: see `Relevance.parse`.
    """
    return Relevance.parse(json.loads(SHIPPED.read_text()), features)


def probability(logit: float) -> float:
    """The logistic function, from 0 to 1."""
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0
