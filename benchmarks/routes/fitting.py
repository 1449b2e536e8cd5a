"""Fits `guard/relevance.json`: a small network over what the detectors see, blind to who the targets are.

Rows are pairs of a prompt and a target that it neither names nor repeats. A prompt's own target is the truth;
wrong ones are those of benign prompts, the own one and those that most evidence speaks against. Of a prompt's
pieces the one counts that is judged, so choosing it and fitting take turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.routes import rwku
from benchmarks.routes.asked import Asked
from benchmarks.routes.data import Data
from benchmarks.routes.evidence import Evidence, evidence
from benchmarks.routes.splits import drawn, halves
from benchmarks.routes.tofu import Tofu, tofu
from guard.background import background
from guard.calibration import conformal
from guard.detectors import FEATURES
from guard.encoder import Encoder
from guard.judgement import Suspicion
from guard.relevance import Matrix, Relevance
from guard.types import ForgetTarget

RETAIN, BACKGROUND = 800, 1600  # benign prompts of each that are learned from
HARD = 3  # other targets per benign prompt that it is learned not to concern
ROUNDS = 3
HIDDEN, SEEDS = 16, 4
FPR, WATCH_FPR = 0.01, 0.05  # of the benign prompts learned from
FIRST_LOOK = {"shared": 1.0, "example": 1.0}


@dataclass(frozen=True)
class Lesson:
    """Prompts, and what detectors for some targets see in them."""

    targets: tuple[ForgetTarget, ...]
    asked: tuple[Asked, ...]
    evidence: Evidence


def lessons(data: Data, encoder: Encoder) -> list[Lesson]:
    """One lesson per level of registration, so that the model knows targets with and without neighbors."""
    authors = tofu(data)
    benign = (*drawn(authors.retain, RETAIN, "retain learned from"), *_background())
    return [_lesson(rwku.level(data, number), authors, benign, encoder) for number in rwku.LEVELS]


def fit(given: Sequence[Lesson], half: int | None = None) -> Relevance:
    """The model that lessons teach; with a half, from that half's prompts and targets alone."""
    first = np.array([[FIRST_LOOK.get(name, 0.0)] for name in FEATURES])
    model = Relevance(FEATURES, ((first, np.zeros(1)),), 0.0, -np.inf)
    for _ in range(ROUNDS):
        rows, labels = _pairs(given, half, model)
        model = _network(rows, labels)
    peaks = [_highest(against, -np.inf) for against in _benign(given, half, model)]
    watch = conformal(peaks, WATCH_FPR)
    model = replace(model, watch=watch)
    statistics = [_highest(against, watch) for against in _benign(given, half, model)]
    return replace(model, threshold=watch + conformal(statistics, FPR))


def _lesson(level: rwku.Level, authors: Tofu, benign: Sequence[Asked], encoder: Encoder) -> Lesson:
    targets = (*level.targets, *authors.targets)
    asked = (*level.probes, *authors.probes, *level.neighbors, *benign)
    return Lesson(targets, asked, evidence(targets, [one.segments for one in asked], encoder))


def _background() -> Iterator[Asked]:
    texts = drawn([prompt.text for prompt in background()], BACKGROUND, "background learned from")
    half_of = halves(texts, "background")
    return (Asked((text,), "background", half_of[text]) for text in texts)


def _pairs(given: Sequence[Lesson], half: int | None, model: Relevance) -> tuple[Matrix, Matrix]:
    """Values float64 [n, f] of pairs, and whether the prompt concerns the target, [n]."""
    rows: list[Matrix] = []
    labels: list[float] = []
    for lesson in given:
        logits = model.logits(lesson.evidence.values)
        learned = _learned(lesson, half)
        for asked, against in zip(lesson.asked, lesson.evidence.against, strict=True):
            if half not in (None, asked.half):
                continue
            ranked = sorted(
                (-max((logits[int(row)], row) for row, _ in one.logits)[0], target_id, _best(one, logits))
                for target_id, one in against.items()
                if target_id in learned and one.logits and not (one.named or one.repeated)
            )
            own = [row for _, target_id, row in ranked if target_id == asked.owner]
            # Whom else an attack might concern does not matter: it is kept back anyway.
            hard = 0 if asked.forget else HARD
            others = [row for _, target_id, row in ranked if target_id != asked.owner][:hard]
            rows.append(lesson.evidence.values[own + others])
            labels += [float(asked.forget)] * len(own) + [0.0] * len(others)
    return np.concatenate(rows), np.array(labels)


def _learned(lesson: Lesson, half: int | None) -> set[str]:
    """Targets that may be learned from."""
    owners = {asked.owner for asked in lesson.asked if asked.owner and half in (None, asked.half)}
    return owners & {target.id for target in lesson.targets}


def _best(one: Suspicion, logits: Matrix) -> int:
    """Row of the piece that speaks most against the target."""
    return max((int(row) for row, _ in one.logits), key=lambda row: float(logits[row]))


def _network(rows: Matrix, labels: Matrix) -> Relevance:
    """The mean of networks from `SEEDS` seeds: one alone depends on its seed by some hundredths of recall."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(rows)
    scaled = scaler.transform(rows)
    learned = [
        MLPClassifier(
            (HIDDEN,), alpha=0.01, early_stopping=True, n_iter_no_change=20, max_iter=400, random_state=seed
        ).fit(scaled, labels)
        for seed in range(SEEDS)
    ]
    # Side by side they are one wider network, and the scaler is part of its first layer.
    first = np.concatenate([one.coefs_[0] for one in learned], axis=1) / scaler.scale_[:, None]
    bias = np.concatenate([one.intercepts_[0] for one in learned]) - scaler.mean_ @ first
    last = np.concatenate([one.coefs_[1] for one in learned]) / SEEDS
    return Relevance(
        FEATURES,
        ((first, bias), (last, np.mean([one.intercepts_[1] for one in learned], axis=0))),
        0.0,
        -np.inf,
    )


def _benign(given: Sequence[Lesson], half: int | None, model: Relevance) -> Iterator[dict[str, Suspicion]]:
    """What speaks against targets that the benign prompts do not name."""
    for lesson in given:
        judged = lesson.evidence.judged(model)
        for asked, against in zip(lesson.asked, judged, strict=True):
            if not asked.forget and half in (None, asked.half):
                yield {i: one for i, one in against.items() if not (one.named or one.repeated)}


def _highest(against: dict[str, Suspicion], watch: float) -> float:
    if watch == -np.inf:
        return max((logit for one in against.values() for logit, _ in one.logits), default=-np.inf)
    return max((one.statistic(watch) for one in against.values()), default=-np.inf)
