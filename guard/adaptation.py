"""Test-time adaptation of a learned head to the prompts it meets, without their labels.

EATA-C (Tan et al., "Uncertainty-Calibrated Test-Time Model Adaptation without Forgetting", arXiv 2403.11491)
on EATA (Niu et al. 2022, arXiv 2204.02610), carried over from vision networks to the heads that have layers.
EATA learns only from rows that are reliable (low entropy) and not redundant (unlike those it learned from
lately), and holds every weight near its first value, the harder the more the weight mattered. EATA-C sets the
head beside a sub-head with inputs dropped: their divergence is made small, and so is entropy where the
two agree; where they do not, entropy is made large, so that confidence stays earned.

Off by default, for a reason. Whoever can send prompts can choose what the head learns from: many confident
prompts of one kind, each batch a little closer to a target than the last, move the boundary their way, and no
label says so. On two synthetic classes, 60 such batches took the recall of a network without anchor from 1 to
0.78 or 0.37; with the anchor as it is here it stayed at 1, but a patient sender has more than 60 batches. The
gain is small too: 0.1 to 0.5 points of accuracy under a shift, and a linear head whose classes overlap lost
0.2. Adapt only on trusted traffic, keep the frozen head where a miss is worse than a false alarm, and `reset`
when in doubt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

import numpy as np

from guard.encoder import Vectors
from guard.errors import InputError
from guard.heads.layers import Layer
from guard.heads.rows import Labels, asked_rows

if TYPE_CHECKING:
    import torch

    Weights = list[tuple[torch.Tensor, torch.Tensor]]


class Layered(Protocol):
    """A head that is made of dense layers."""

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its layers (`guard.heads.layers`); none if it had nothing to forget."""

    def with_layers(self, layers: Sequence[Layer]) -> Self:
        """The same head with other weights."""

    def probability(self, vectors: Vectors) -> Vectors:
        """See Head."""


H = TypeVar("H", bound=Layered)


@dataclass(frozen=True, slots=True)
class AdaptationConfig:
    """Whether and how a head adapts."""

    enabled: bool = False  # off: observing changes nothing
    reliable: float = 0.4 * math.log(2)  # entropy below which a row counts, nats; EATA's 0.4 ln C
    redundant: float = (
        0.8  # |cosine| to the mean of what was learned from lately, from which a row is left out
    )
    memory: float = 0.9  # share of the past in that mean, per step
    learning_rate: float = 0.2  # of plain gradient descent
    anchor: float = 0.1  # weight of the penalty on leaving the first weights; 0 lets the head be led anywhere
    entropy: float = 1.0  # weight of the entropy term beside the consistency term
    dropout: float = 0.2  # share of the last layer's inputs that the sub-head lacks, 0..1


@dataclass(frozen=True)
class Observed(Generic[H]):
    """What came of one batch.

    Attributes:
        head: the head from now on.
        seen: rows in the batch.
        reliable: of these, how many the head was sure enough of.
        used: of these, how many it learned from, unlike enough to the latest.
    """

    head: H
    seen: int
    reliable: int
    used: int


class Adapter(Generic[H]):
    """Holds a head, its first weights and one mean vector; no row and no text. One caller at a time."""

    def __init__(
        self, head: H, source: Vectors, config: AdaptationConfig | None = None, seed: int = 0
    ) -> None:
        """Measures how much each weight matters.

        Args:
            head: the head as it was fitted.
            source: float32 [n, d], rows like those it was fitted on; no labels are needed, and none is kept.
            config: off unless given.
            seed: of the sub-heads.

        Raises:
            InputError: there is no row to measure on, though adaptation is on.
        """
        self._config = config or AdaptationConfig()
        self._first = self._head = head
        self._seed = seed
        self._mean: Vectors | None = None
        self._steps = 0
        self._active = self._config.enabled and bool(head.layers)
        if self._active and not len(source):
            raise InputError(
                "adaptation needs source rows to measure which weights matter; give some prompts"
            )
        self._importance = _importance(head.layers, source) if self._active else []

    @property
    def head(self) -> H:
        """The head as it is now."""
        return self._head

    def reset(self) -> H:
        """The head as it was first, bit for bit; what was learned and remembered since is gone."""
        self._head, self._mean, self._steps = self._first, None, 0
        return self._head

    def observe(self, vectors: Vectors) -> Observed[H]:
        """Learns one step from a batch of prompts float32 [n, d], as far as they are fit for it."""
        if not self._active or not len(vectors):
            return Observed(self._head, len(vectors), 0, 0)
        rows = asked_rows(vectors, self._first.layers[0][0].shape[0])
        sure = entropy(self._head.probability(rows)) < self._config.reliable
        used = rows[sure & ~self._redundant(rows)]
        if len(used):
            past = 0.0 if self._mean is None else self._config.memory * self._mean
            share = 1.0 if self._mean is None else 1.0 - self._config.memory
            self._mean = np.asarray(past + share * used.mean(axis=0), dtype=np.float32)
            self._head = self._head.with_layers(self._step(used))
        return Observed(self._head, len(rows), int(sure.sum()), len(used))

    def _redundant(self, rows: Vectors) -> Labels:
        """EATA compares predictions; those of two classes are all alike, so the prompts are compared."""
        if self._mean is None:
            return np.zeros(len(rows), dtype=np.bool_)
        sizes = np.linalg.norm(rows, axis=1) * np.linalg.norm(self._mean)
        cosines = rows @ self._mean / np.maximum(sizes, np.finfo(np.float32).tiny)
        return np.asarray(np.abs(cosines) >= self._config.redundant)

    def _step(self, rows: Vectors) -> list[Layer]:
        """The layers after one step of descent and the pull back to the first weights."""
        import torch

        weights = _tensors(self._head.layers)
        # Every step draws another sub-head, and the same prompts in the same order give the same head.
        random = torch.Generator().manual_seed(self._seed + self._steps)
        self._steps += 1
        loss = _loss(weights, torch.from_numpy(rows), self._config, random)
        slopes = torch.autograd.grad(loss, [part for layer in weights for part in layer])
        rate, firm = self._config.learning_rate, self._config.anchor
        moved = []
        firsts = [torch.from_numpy(part) for layer in self._first.layers for part in layer]
        now = [part.detach() for layer in weights for part in layer]
        for part, slope, first, matters in zip(now, slopes, firsts, self._importance, strict=True):
            # The penalty's step is taken implicitly: explicit descent would overshoot where it is large.
            pull = 2 * rate * firm * matters
            moved.append(((part - rate * slope + pull * first) / (1 + pull)).numpy())
        return list(zip(moved[::2], moved[1::2], strict=True))


def entropy(probability: Vectors) -> Vectors:
    """Entropy of the two classes, nats, 0..ln 2."""
    p = np.clip(probability.astype(np.float64), 1e-12, 1 - 1e-12)
    return np.asarray(-(p * np.log(p) + (1 - p) * np.log1p(-p)), dtype=np.float32)


def _tensors(layers: Sequence[Layer]) -> Weights:
    import torch

    return [
        (torch.tensor(weight, requires_grad=True), torch.tensor(bias, requires_grad=True))
        for weight, bias in layers
    ]


def _logits(weights: Weights, rows: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
    """Logit of forgetting, [n]; ``keep`` multiplies the last layer's inputs."""
    hidden = rows
    for weight, bias in weights[:-1]:
        hidden = (hidden @ weight + bias).relu()
    weight, bias = weights[-1]
    ends = (hidden if keep is None else hidden * keep) @ weight + bias
    return ends[:, -1] if ends.shape[1] == 1 else ends[:, 1] - ends[:, 0]


def _loss(
    weights: Weights, rows: torch.Tensor, config: AdaptationConfig, random: torch.Generator
) -> torch.Tensor:
    """Mean over the rows of weight * (divergence of the sub-head + signed entropy of the head)."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    shape = (len(rows), weights[-1][0].shape[0])
    keep = (torch.rand(shape, generator=random) >= config.dropout) / (1 - config.dropout)
    full, part = _logits(weights, rows), _logits(weights, rows, keep)
    belief = full.sigmoid()
    doubt = cross_entropy(full, belief, reduction="none")  # of a distribution with itself: the entropy
    # KL(head || sub-head) up to the head's entropy, which is a constant here: only the sub-head shall move.
    apart = cross_entropy(part, belief.detach(), reduction="none") - doubt.detach()
    sign = torch.where((full > 0) == (part > 0), 1.0, -1.0)
    surer = (config.reliable - doubt.detach()).exp()
    return (surer * (apart + config.entropy * sign * doubt)).mean()


def _importance(layers: Sequence[Layer], source: Vectors) -> list[torch.Tensor]:
    """How much each weight matters, mean 1: half of it alike, half by its diagonal Fisher information.

    That is the mean squared slope of log P(own decision), as in EATA.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    weights = _tensors(layers)
    parts = [part for layer in weights for part in layer]
    sums = [torch.zeros_like(part) for part in parts]
    for row in torch.from_numpy(np.asarray(source, dtype=np.float32)):
        logit = _logits(weights, row[None])
        loss = cross_entropy(logit, (logit > 0).float())
        for total, slope in zip(sums, torch.autograd.grad(loss, parts), strict=True):
            total += slope.detach() ** 2
    # A network that is sure of its own rows has next to no Fisher information anywhere, and the anchor would
    # hold nothing: up to a weight of 1,000 the drift stayed as it was. So shares count, and each has some.
    mean = sum(float(total.sum()) for total in sums) / sum(total.numel() for total in sums)
    return [0.5 + 0.5 * total / max(mean, 1e-30) for total in sums]
