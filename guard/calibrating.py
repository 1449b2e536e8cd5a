"""Thresholds for the targets in force, made from what must not be flagged.

Two kinds of prompts must not be: the benign background, alone and as long streams, and the neighbors that the
targets name themselves. A group's threshold keeps the bound for both. Neighbors are scored by detectors that
do not know them (cross-fitting, `FOLDS` times), else each would be its own excuse; that is no longer exactly
split conformal, but errs on the side of a higher threshold, since those detectors know fewer neighbors.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from guard.background import texts
from guard.calibration import DEFAULT, SCOPE, Calibration, Threshold, conformal, fingerprint, needed, streams
from guard.classifier import Classifier
from guard.detectors import FEATURES
from guard.detectors.learned import group_of
from guard.encoder import Encoder
from guard.snapshot import compile_snapshot
from guard.types import Example, ForgetTarget

FOLDS = 5
NEIGHBORS = 2000  # looked at, at most
PROMPTS = 1000  # of the background: enough for an alpha of 0.1 %
BATCH = 50  # prompts judged between two signs of progress
PADDED = 0.25  # share of padded streams
LOWEST = -50.0  # statistic of a prompt in which nothing speaks against a target

Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Scored:
    """Benign statistics.

    Attributes:
        texts: the prompts.
        relevance: by group, one statistic a prompt.
        scope: by group, the probabilities of being in scope.
    """

    texts: Sequence[str]
    relevance: Mapping[str, Sequence[float]]
    scope: Mapping[str, Sequence[float]]


def calibrate(
    classifier: Classifier,
    encoder: Encoder,
    alpha: float,
    prompts: Sequence[str] | None = None,
    tick: Tick = lambda done: None,
) -> Calibration:
    """Thresholds that flag a share of alpha at most, by group of targets.

    Args:
        classifier: with the targets in force; its own calibration does not matter.
        encoder: the classifier's.
        alpha: bound of the share of benign prompts that are flagged, of each kind.
        prompts: benign prompts; None takes the first `PROMPTS` of the shipped background.
        tick: is told of prompts done.

    Raises:
        InputError: alpha is no share, or the prompts are too few for it.
    """
    benign = texts()[:PROMPTS] if prompts is None else prompts
    alone = _background(classifier, [(text,) for text in benign], tick)
    long = _background(classifier, streams(benign, random.Random(0), PADDED), tick)
    near = _neighbors(classifier, encoder, tick)
    thresholds = {DEFAULT: _strictest(DEFAULT, alpha, alone, long, near)}
    for group in sorted({*alone.relevance} - {DEFAULT}):
        thresholds[group] = _strictest(group, alpha, alone, long, near)
    for group, scores in near.scope.items():
        if len(scores) >= needed(alpha):
            thresholds[SCOPE + group] = _threshold(scores, alpha, near)
    return Calibration(thresholds, ",".join(FEATURES), classifier.version)


def _strictest(group: str, alpha: float, alone: Scored, *others: Scored) -> Threshold:
    """The highest threshold of those that there is enough to make from; of ``alone`` there must be."""
    made = [_threshold(alone.relevance.get(group, ()), alpha, alone)]
    for scored in others:
        scores = scored.relevance.get(group, ())
        if len(scores) >= needed(alpha):
            made.append(_threshold(scores, alpha, scored))
    return max(made, key=lambda threshold: threshold.value)


def _threshold(scores: Sequence[float], alpha: float, scored: Scored) -> Threshold:
    return Threshold(conformal(scores, alpha), alpha, len(scores), fingerprint(scored.texts))


def _background(classifier: Classifier, conversations: Sequence[Sequence[str]], tick: Tick) -> Scored:
    """Statistics of benign conversations; one that happens to name a target concerns it and is left out."""
    targets = classifier.targets
    groups = {group_of(target) for target in targets.values()} | {DEFAULT}
    scores: dict[str, list[float]] = {group: [] for group in groups}
    for start in range(0, len(conversations), BATCH):
        batch = conversations[start : start + BATCH]
        for against in classifier.suspicions_each(batch):
            highest = dict.fromkeys(groups, LOWEST)
            for target_id, suspicion in against.items():
                statistic = suspicion.statistic(classifier.relevance.watch)
                for group in (group_of(targets[target_id]), DEFAULT):
                    highest[group] = max(highest[group], statistic)
            for group, statistic in highest.items():
                if not math.isinf(statistic):
                    scores[group].append(statistic)
        tick(len(batch))
    return Scored(["\n".join(turns) for turns in conversations], scores, {})


def _neighbors(classifier: Classifier, encoder: Encoder, tick: Tick) -> Scored:
    """Statistics of the targets' neighbors, each judged for its own target by one that does not know it."""
    targets = [target for target in classifier.targets.values() if target.neighbors]
    pairs = [(target, neighbor) for target in targets for neighbor in target.neighbors]
    random.Random(0).shuffle(pairs)
    pairs = pairs[:NEIGHBORS]
    relevance: dict[str, list[float]] = defaultdict(list)
    scope: dict[str, list[float]] = defaultdict(list)
    for fold in range(FOLDS if pairs else 0):
        held = pairs[fold::FOLDS]
        without = _without(targets, held)
        judge = Classifier(compile_snapshot(without), encoder, relevance=classifier.relevance)
        prompts = [(neighbor.prompt,) for _, neighbor in held]
        for (target, _), against in zip(held, judge.suspicions_each(prompts), strict=True):
            suspicion = against.get(target.id)
            group = group_of(target)
            if suspicion is not None and suspicion.scope is not None:
                scope[group].append(suspicion.scope)
                continue
            statistic = LOWEST if suspicion is None else suspicion.statistic(classifier.relevance.watch)
            if not math.isinf(statistic):
                for name in {group, DEFAULT}:
                    relevance[name].append(statistic)
        tick(len(held))
    return Scored([neighbor.prompt for _, neighbor in pairs], relevance, scope)


def _without(
    targets: Sequence[ForgetTarget], held: Sequence[tuple[ForgetTarget, Example]]
) -> list[ForgetTarget]:
    """The targets without the neighbors that are held out."""
    left_out: dict[str, set[str]] = defaultdict(set)
    for target, neighbor in held:
        left_out[target.id].add(neighbor.prompt)
    return [
        target.model_copy(
            update={"neighbors": tuple(n for n in target.neighbors if n.prompt not in left_out[target.id])}
        )
        for target in targets
    ]
