"""What the detectors see in many prompts, recorded once, to be judged by any relevance model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from guard.classifier import Classifier, Detectors
from guard.detectors import FEATURES
from guard.encoder import Encoder
from guard.judgement import Seen, Suspicion
from guard.relevance import Matrix, Relevance
from guard.snapshot import compile_snapshot
from guard.types import ForgetTarget

BATCH = 64  # prompts handed over at once


@dataclass(frozen=True)
class Evidence:
    """What speaks against which target in each prompt.

    Attributes:
        values: float64 [r, f], what the detectors see in a piece of a prompt concerning a target.
        against: for each prompt its suspicions; their logits are numbers of rows of ``values``.
    """

    values: Matrix
    against: tuple[Mapping[str, Suspicion], ...]

    def of(self, kept: Sequence[bool]) -> Evidence:
        """The evidence of some of the prompts."""
        return replace(self, against=tuple(one for one, keep in zip(self.against, kept, strict=True) if keep))

    def judged(self, relevance: Relevance) -> Iterator[dict[str, Suspicion]]:
        """For each prompt the suspicions that a classifier with this model would have."""
        logits = relevance.logits(self.values).tolist()
        for suspicions in self.against:
            yield {
                target_id: Suspicion(
                    one.named, one.repeated, [(logits[int(row)], seen) for row, seen in one.logits], one.scope
                )
                for target_id, one in suspicions.items()
            }


@dataclass(frozen=True)
class _Recorder(Relevance):
    """A model whose logits are the numbers of the rows that it was shown."""

    shown: list[Matrix] = field(default_factory=list)
    count: list[int] = field(default_factory=lambda: [0])

    def logits(self, values: Matrix) -> Matrix:
        start = self.count[0]
        self.shown.append(values)
        self.count[0] += len(values)
        return np.arange(start, start + len(values), dtype=np.float64)


def evidence(targets: Sequence[ForgetTarget], prompts: Sequence[Sequence[str]], encoder: Encoder) -> Evidence:
    """What detectors for these targets see in the prompts."""
    recorder = _Recorder(FEATURES, (), 0.0, 0.0)
    classifier = Classifier(compile_snapshot(targets), encoder, relevance=recorder)
    against: list[dict[str, Suspicion]] = []
    for start in range(0, len(prompts), BATCH):
        found = classifier.suspicions_each(prompts[start : start + BATCH])
        against += [{target_id: _bare(one) for target_id, one in each.items()} for each in found]
    shown = recorder.shown or [np.empty((0, len(FEATURES)))]
    return Evidence(np.concatenate(shown), tuple(against))


def _bare(suspicion: Suspicion) -> Suspicion:
    """The suspicion without what was seen: rows tell it, and ten thousand prompts would fill the memory."""
    return replace(suspicion, logits=[(row, Seen(seen.piece, ())) for row, seen in suspicion.logits])


def classifiers(
    targets: Sequence[ForgetTarget], encoder: Encoder, models: Sequence[Relevance]
) -> list[Classifier]:
    """Classifiers that differ in their relevance model only; the targets are encoded once."""
    snapshot, detectors = compile_snapshot(targets), Detectors.of(targets, encoder)
    return [Classifier(snapshot, encoder, detectors, relevance=model) for model in models]
