"""A likelihood ratio test between two samples of scores, fitted on some people and tried on the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.metrics import roc_auc_score, roc_curve

LEAST_SPREAD = 1e-3  # of a fitted normal: equal scores have none
RESAMPLES = 200


@dataclass(frozen=True)
class Ratios:
    """Log likelihood ratios "unlearned" : "never trained" of held-out facts of both kinds, by person."""

    unlearned: np.ndarray
    never: np.ndarray
    unlearned_people: np.ndarray
    never_people: np.ndarray

    @property
    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """False and true positive rates."""
        false, true, _ = roc_curve(*_labelled(self.unlearned, self.never), drop_intermediate=False)
        return false, true

    @property
    def auc(self) -> float:
        """Area under the curve; 0.5: nobody can tell."""
        return _area(self.unlearned, self.never)

    def tpr(self, fpr: float) -> float:
        """True positive rate at a false positive rate; on a random guess they are equal."""
        return float(np.interp(fpr, *self.curve))

    def interval(self, seed: int) -> tuple[float, float]:
        """95 % of the area when people are drawn anew, with replacement, on both sides."""
        draw, areas = np.random.default_rng(seed), []
        for _ in range(RESAMPLES):
            picked = (
                _resampled(self.unlearned, self.unlearned_people, draw),
                _resampled(self.never, self.never_people, draw),
            )
            areas.append(_area(*picked))
        low, high = np.quantile(areas, (0.025, 0.975))
        return float(low), float(high)


def compare(
    unlearned: np.ndarray, unlearned_people: np.ndarray, never: np.ndarray, never_people: np.ndarray
) -> Ratios:
    """The ratios of normals fitted on half of the people and applied to the other half, both ways."""
    ratios = {"unlearned": np.zeros(len(unlearned)), "never": np.zeros(len(never))}
    held_out = {"unlearned": _half(unlearned_people), "never": _half(never_people)}
    scores = {"unlearned": unlearned, "never": never}
    for fold in (False, True):
        fitted = {name: scores[name][held_out[name] != fold] for name in scores}
        for name in scores:
            tried = held_out[name] == fold
            ratios[name][tried] = _density(scores[name][tried], fitted["unlearned"]) - _density(
                scores[name][tried], fitted["never"]
            )
    return Ratios(ratios["unlearned"], ratios["never"], unlearned_people, never_people)


def _half(people: np.ndarray) -> np.ndarray:
    """For each row whether its person is of the second half; the same people, the same halves."""
    order = {person: index for index, person in enumerate(np.unique(people))}
    return np.array([order[person] % 2 == 1 for person in people])


def _density(scores: np.ndarray, sample: np.ndarray) -> np.ndarray:
    return np.asarray(norm.logpdf(scores, sample.mean(), max(float(sample.std()), LEAST_SPREAD)))


def _resampled(scores: np.ndarray, people: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    known = np.unique(people)
    return np.concatenate([scores[people == person] for person in draw.choice(known, len(known))])


def _labelled(unlearned: np.ndarray, never: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat([1, 0], [len(unlearned), len(never)]), np.concatenate([unlearned, never])


def _area(unlearned: np.ndarray, never: np.ndarray) -> float:
    return float(roc_auc_score(*_labelled(unlearned, never)))
