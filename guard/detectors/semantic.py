"""Similarity to a target's examples, beside that to prompts which are allowed.

A question about another person in the same frame is almost as similar to an example as a paraphrase is, so
similarity alone decides nothing: `guard.relevance` weighs it with what the other detectors see.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from guard.detectors.examples import Examples, nearest
from guard.detectors.findings import Values
from guard.detectors.layers import Layers
from guard.encoder import Encoder, Vectors
from guard.types import ForgetTarget

REPETITION = 0.995  # cosine from which a text repeats an example


@dataclass(frozen=True, slots=True)
class SemanticConfig:
    """How far the detector looks."""

    candidates: int = 64  # nearest examples looked at per text


@dataclass(frozen=True)
class _Knowledge:
    """What there is to compare texts with.

    Attributes:
        examples: vectors of the examples of all targets.
        allowed: vectors of the neighbors of all targets.
        contrasts: for each target with neighbors their vectors, float16 [c, d].
    """

    examples: Layers[Examples]
    allowed: Layers[Examples]
    contrasts: Mapping[str, npt.NDArray[np.float16]]


class Near:
    """Findings on one text: cosine of the target's nearest example, of its nearest neighbor, of any's."""

    def __init__(
        self,
        vector: Vectors,
        near: Sequence[tuple[float, str]],
        allowed: float,
        known: _Knowledge,
        looked_at: int,
    ) -> None:
        """Takes what was found.

        Args:
            vector: of the text.
            near: cosine and target of the nearest examples, nearest first.
            allowed: cosine of the nearest neighbor of any target.
            known: what there was to compare with.
            looked_at: how many examples were looked for.
        """
        self.vector, self._allowed, self._contrasts = vector, allowed, known.contrasts
        self._scores: dict[str, float] = {}
        for cosine, target_id in near:
            self._scores.setdefault(target_id, cosine)  # the first is the nearest
        # Of targets that are not among the nearest, no example is nearer than the last that is. If fewer were
        # found than looked for, those were all, and no other target has any.
        self._rest = near[-1][0] if len(near) >= looked_at else 0.0

    @property
    def targets(self) -> Collection[str]:
        """See Findings."""
        return self._scores.keys()

    def repeats(self, target_id: str) -> bool:
        """True if the text is one of the target's examples, or next to it."""
        return self._scores.get(target_id, 0.0) >= REPETITION

    def of(self, target_id: str) -> Values:
        """See Findings."""
        contrasts = self._contrasts.get(target_id)
        own = 0.0 if contrasts is None else float((contrasts.astype(np.float32) @ self.vector).max())
        return max(self._scores.get(target_id, self._rest), 0.0), own, self._allowed


class SemanticDetector:
    """Nearest examples and nearest neighbors of all targets."""

    name = "semantic"
    features = ("example", "own_neighbor", "any_neighbor")

    def __init__(
        self,
        targets: Sequence[ForgetTarget],
        encoder: Encoder,
        config: SemanticConfig | None = None,
        known: _Knowledge | None = None,
    ) -> None:
        """Encodes examples and neighbors, unless ``known`` holds them."""
        self._config = config or SemanticConfig()
        self._encoder = encoder
        self._known = known or _read(targets, encoder)

    def scan(self, texts: Sequence[str]) -> list[Near]:
        """See Detector."""
        if not texts:
            return []
        known, looked_at = self._known, self._config.candidates
        if not any(part.owners for layers in (known.examples, known.allowed) for part, _ in layers.parts):
            return [Near(np.empty(0, dtype=np.float32), (), 0.0, known, looked_at) for _ in texts]
        vectors = self._encoder.encode(texts)
        found = nearest(known.examples, vectors, looked_at)
        allowed = nearest(known.allowed, vectors, 1)
        return [
            Near(vector, near, max(best[0][0], 0.0) if best else 0.0, known, looked_at)
            for vector, near, best in zip(vectors, found, allowed, strict=True)
        ]

    def changed(self, put: Sequence[ForgetTarget], gone: Collection[str]) -> SemanticDetector:
        """See Detector."""
        new, known = _read(put, self._encoder), self._known
        ids = [target.id for target in put]
        kept = {i: vectors for i, vectors in known.contrasts.items() if i not in gone}
        return self._with(
            _Knowledge(
                known.examples.changed(new.examples.base, ids, gone),
                known.allowed.changed(new.allowed.base, ids, gone),
                {**kept, **new.contrasts},
            )
        )

    def compacted(self) -> SemanticDetector:
        """See Detector."""
        known = self._known
        return self._with(_Knowledge(known.examples.compacted(), known.allowed.compacted(), known.contrasts))

    def _with(self, known: _Knowledge) -> SemanticDetector:
        return SemanticDetector((), self._encoder, self._config, known)


def _read(targets: Sequence[ForgetTarget], encoder: Encoder) -> _Knowledge:
    """What targets are compared by, with one call of the encoder: a live change waits for it."""
    own = [[example.prompt for example in target.examples] for target in targets]
    allowed = [[neighbor.prompt for neighbor in target.neighbors] for target in targets]
    vectors = encoder.encode([text for group in (*own, *allowed) for text in group])
    owners = [target.id for target, group in zip(targets, own, strict=True) for _ in group]
    others = [target.id for target, group in zip(targets, allowed, strict=True) for _ in group]
    rest, contrasts, start = vectors[len(owners) :], {}, 0
    for target, group in zip(targets, allowed, strict=True):
        if group:
            contrasts[target.id] = rest[start : start + len(group)].astype(np.float16)
        start += len(group)
    examples = Layers(Examples(owners, vectors[: len(owners)]))
    return _Knowledge(examples, Layers(Examples(others, rest)), contrasts)
