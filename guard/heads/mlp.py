"""GUARD's head: a small network on the prompt's vector (arXiv 2505.13312).

The paper gives no widths; these are the ones of its independent re-implementation: d -> 256 -> 256 -> 2,
ReLU, dropout, cross-entropy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from guard.encoder import Vectors
from guard.heads import layers as dense
from guard.heads.rows import Labels, training_rows

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class MlpConfig:
    """How the network is made and trained."""

    hidden: tuple[int, ...] = (256, 256)  # widths of the hidden layers
    dropout: float = 0.1  # share of hidden values dropped while training, 0..1
    learning_rate: float = 1e-3  # of Adam
    epochs: int = 50  # passes over the rows
    batch: int = 32  # rows per step
    balanced: bool = True  # weigh classes by inverse frequency: background rows outnumber the others by far


@dataclass(frozen=True)
class MlpHead:
    """The network; trained with torch, asked in numpy.

    Attributes:
        config: how it is trained.
        layers: its layers; none if there was nothing to forget.
    """

    config: MlpConfig = MlpConfig()
    layers: tuple[dense.Layer, ...] = dense.NOTHING

    def fit(self, vectors: Vectors, labels: Labels, owners: Sequence[str], seed: int = 0) -> Self:
        """See Head."""
        rows, truth = training_rows(vectors, labels, owners)
        if not truth.any():
            return replace(self, layers=dense.NOTHING)
        import torch

        # Forked: training must not move the generator that anyone else draws from.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = _network(rows.shape[1], self.config)
            _train(model, rows, truth, self.config)
        linear = [part for part in model if isinstance(part, torch.nn.Linear)]
        return replace(
            self,
            layers=tuple(
                (part.weight.detach().T.contiguous().numpy(), part.bias.detach().numpy()) for part in linear
            ),
        )

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


def _network(width: int, config: MlpConfig) -> torch.nn.Sequential:
    from torch import nn

    parts: list[nn.Module] = []
    for size in config.hidden:
        parts += [nn.Linear(width, size), nn.ReLU(), nn.Dropout(config.dropout)]
        width = size
    return nn.Sequential(*parts, nn.Linear(width, 2))


def _train(model: torch.nn.Sequential, vectors: Vectors, truth: Labels, config: MlpConfig) -> None:
    import torch

    rows, classes = torch.from_numpy(vectors.copy()), torch.from_numpy(truth).long()
    counts = torch.bincount(classes, minlength=2)
    weights = len(rows) / (2 * counts) if config.balanced else torch.ones(2)
    loss = torch.nn.CrossEntropyLoss(weight=weights)
    adam = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    model.train()
    for _ in range(config.epochs):
        for picked in torch.split(torch.randperm(len(rows)), config.batch):
            adam.zero_grad()
            loss(model(rows[picked]), classes[picked]).backward()
            adam.step()
