"""Checked input of the heads: rows to learn from, and rows to judge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from guard.encoder import Vectors
from guard.errors import InputError

Labels = npt.NDArray[np.bool_]


def training_rows(vectors: Vectors, labels: Labels, owners: Sequence[str]) -> tuple[Vectors, Labels]:
    """The rows as contiguous float32 [n, d] and bool [n].

    Raises:
        InputError: the three do not belong together, a number is not finite, or there are rows to forget and
            none beside them: from one class alone a head can only learn to refuse everything.
    """
    rows, truth = np.ascontiguousarray(vectors, dtype=np.float32), np.asarray(labels, dtype=np.bool_)
    if rows.ndim != 2 or truth.shape != (len(rows),) or len(owners) != len(rows):
        raise InputError(
            f"vectors {rows.shape}, labels {truth.shape} and {len(owners)} owners do not belong together; "
            "give one label and one owner per row of float32 [n, d]"
        )
    if not np.isfinite(rows).all():
        raise InputError("a vector to learn from has a number that is not finite; leave that row out")
    if truth.any() and truth.all():
        raise InputError(
            f"all {len(rows)} rows to learn from are in the forget scope; add background rows, labelled False"
        )
    return rows, truth


def asked_rows(vectors: Vectors, width: int) -> Vectors:
    """The rows to judge as contiguous float32 [n, d]; a width of 0 stands for a head that takes any.

    Raises:
        InputError: the rows are not as wide as those learned from.
    """
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    if len(rows) == 0:
        return np.empty((0, width), dtype=np.float32)
    if rows.ndim != 2 or (width and rows.shape[1] != width):
        raise InputError(
            f"vectors {rows.shape} do not fit a head for [n, {width or 'd'}]; use the encoder of its fit"
        )
    return rows


def sigmoid(logits: npt.NDArray[np.floating]) -> Vectors:
    """Probabilities, float32; no overflow."""
    positive = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1 / (1 + positive), positive / (1 + positive)).astype(np.float32)
