"""Rates with intervals, and receiver operating characteristics."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""False positive rates and recalls, both from 0 to 1."""

Z = 1.959964  # of a 95 % interval


def count(flags: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """How many of the flags are set, with Wilson's 95 % interval of the rate."""
    n, k = len(flags), int(np.sum(flags))
    if not n:
        return {"k": 0, "n": 0, "rate": 0.0, "interval": [0.0, 1.0]}
    low, high = wilson(k, n)
    return {"k": k, "n": n, "rate": round(k / n, 4), "interval": [round(low, 4), round(high, 4)]}


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate of which k in n were seen."""
    rate, scale = k / n, 1 + Z**2 / n
    middle = (rate + Z**2 / (2 * n)) / scale
    spread = Z / scale * math.sqrt(rate * (1 - rate) / n + Z**2 / (4 * n**2))
    return max(0.0, middle - spread), min(1.0, middle + spread)


def curve(positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]) -> Curve:
    """One point for each distinct score, from none routed to all; scores that are NaN do not count."""
    positive, negative = positive[~np.isnan(positive)], negative[~np.isnan(negative)]
    bars = np.unique(np.concatenate([positive, negative]))[::-1]
    above = np.sort(positive), np.sort(negative)
    recall, false = (1 - np.searchsorted(one, bars, side="left") / max(len(one), 1) for one in above)
    return np.concatenate([[0.0], false]), np.concatenate([[0.0], recall])


def reached(drawn: Curve, fpr: float) -> float:
    """The highest recall of a point that has at most this false positive rate."""
    return float(drawn[1][drawn[0] <= fpr].max())


def auc(drawn: Curve) -> float:
    """The area under the curve."""
    return float(np.trapezoid(drawn[1], drawn[0]))
