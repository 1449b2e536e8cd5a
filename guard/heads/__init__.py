"""Learned heads of the prompt classifier. One more head = one file with a `Head` and one line in `HEADS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self

from guard.encoder import Vectors
from guard.heads.bottleneck import BottleneckHead
from guard.heads.kernel import KernelHead
from guard.heads.logistic import LogisticHead
from guard.heads.mlp import MlpHead
from guard.heads.rows import Labels


class Head(Protocol):
    """Says how likely a prompt's vector is in the forget scope. Immutable: fitting makes another head.

    A head that had no row to forget gives probability 0 to everything.
    """

    def fit(self, vectors: Vectors, labels: Labels, owners: Sequence[str], seed: int = 0) -> Self:
        """A head of the same configuration, learned from the rows alone: nothing of this one's is kept.

        Args:
            vectors: float32 [n, d].
            labels: bool [n], True for rows in the forget scope.
            owners: id of the target that each row came from, "" for background.
            seed: the same rows and seed give the same head.

        Raises:
            InputError: the rows do not fit together, or all of them are to be forgotten.
        """

    def probability(self, vectors: Vectors) -> Vectors:
        """P(in the forget scope) of each row of float32 [n, d], float32 [n].

        Raises:
            InputError: the rows are not as wide as those learned from.
        """

    def to_arrays(self) -> dict[str, Any]:
        """What judges rows, as arrays by name, for a safetensors file; may be empty."""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Self:
        """The head of these arrays; it judges as the one that gave them did."""


HEADS: dict[str, Callable[[], Head]] = {
    "logistic": LogisticHead,
    "mlp": MlpHead,
    "kernel": KernelHead,
    "bottleneck": BottleneckHead,
}
