"""One trial: targets, prompts about them and about other things, and what any router makes of these.

Every prompt belongs to one half of the world. A half is tested with thresholds, and with learned models, that
come from the other half; so each prompt is tested once, with nothing that was made from it or its like.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.routes.asked import Asked
from benchmarks.routes.curves import Curve, auc, count, curve, reached
from guard.calibration import conformal, needed
from guard.types import ForgetTarget

FPRS = (0.01, 0.05)
Scores = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Trial:
    """What is registered and asked.

    Attributes:
        name: of the results.
        title: says in words what is measured.
        targets: registered.
        asked: prompts, none registered.
        bar: kinds of benign prompts from which thresholds are made.
    """

    name: str
    title: str
    targets: tuple[ForgetTarget, ...]
    asked: tuple[Asked, ...]
    bar: frozenset[str]

    @property
    def forget(self) -> Flags:
        """Which prompts concern a target."""
        return np.array([asked.forget for asked in self.asked])

    def of(self, half: int) -> Flags:
        """Which prompts belong to a half."""
        return np.array([asked.half == half for asked in self.asked])

    def in_bar(self) -> Flags:
        """Which benign prompts thresholds are made from."""
        return np.array([not asked.forget and asked.kind in self.bar for asked in self.asked])

    def without(self, kind: str) -> Trial:
        """The trial without the prompts of a kind."""
        return replace(self, asked=tuple(asked for asked in self.asked if asked.kind != kind))

    def kinds(self, forget: bool) -> list[str]:
        """The kinds of prompts that concern a target, or of the others."""
        return list(dict.fromkeys(asked.kind for asked in self.asked if asked.forget == forget))


@dataclass(frozen=True)
class Routed:
    """What a router makes of a trial's prompts.

    Attributes:
        name: of the router.
        taught: scores of all prompts by what half 0 taught, and by what half 1 taught; higher is more like a
            target. NaN where a prompt was learned from.
        fixed: scores above which it routes as it comes, by the half that taught, if it has such a point.
        tuned: it also has thresholds for false positive rates.
        note: how it differs from what was published.
    """

    name: str
    taught: tuple[Scores, Scores]
    fixed: tuple[float, float] | None = None
    tuned: bool = True
    note: str = ""

    def tested(self, trial: Trial) -> Scores:
        """The score of every prompt by what the other half taught."""
        return np.where(trial.of(0), self.taught[1], self.taught[0])

    def points(self, trial: Trial) -> dict[str, tuple[float, float]]:
        """Thresholds by the half that taught, for each point at which the router is measured."""
        found = {"as it comes": self.fixed} if self.fixed else {}
        for fpr in FPRS if self.tuned else ():
            bars = tuple(self._bar(trial, half, fpr) for half in (0, 1))
            if None not in bars:
                found[f"{fpr:.0%} FPR"] = bars
        return found

    def _bar(self, trial: Trial, half: int, fpr: float) -> float | None:
        scores = self.taught[half][trial.in_bar() & trial.of(half)]
        scores = scores[~np.isnan(scores)]
        return conformal(scores.tolist(), fpr) if len(scores) >= needed(fpr) else None


def flags(routed: Routed, trial: Trial, bars: tuple[float, float]) -> Flags:
    """Which prompts are routed, each with the threshold from the other half."""
    return np.asarray(routed.tested(trial) > np.where(trial.of(0), bars[1], bars[0]))


def figures(trial: Trial, routed: Sequence[Routed]) -> dict[str, Any]:
    """The trial as JSON: its numbers of prompts, and every router at every point."""
    numbers: dict[str, int] = defaultdict(int)
    for asked in trial.asked:
        numbers[asked.kind] += 1
    return {
        "title": trial.title,
        "n": {"targets": len(trial.targets)} | numbers,
        "thresholds_from": sorted(trial.bar),
        "routers": {one.name: _of(trial, one) for one in routed},
    }


def roc(trial: Trial, routed: Routed) -> Curve:
    """Recall against false positives among the prompts that thresholds come from."""
    scores = routed.tested(trial)
    return curve(scores[trial.forget], scores[trial.in_bar()])


def _of(trial: Trial, routed: Routed) -> dict[str, Any]:
    points = {name: _at(trial, flags(routed, trial, bars)) for name, bars in routed.points(trial).items()}
    found: dict[str, Any] = {"points": points}
    if routed.tuned:
        drawn = roc(trial, routed)
        found["auc"] = round(auc(drawn), 4)
        # Of a threshold chosen on the tested prompts themselves: chosen thresholds do not carry over fully.
        found["roc_recall"] = {f"{fpr:.0%} FPR": round(reached(drawn, fpr), 4) for fpr in FPRS}
    return found | ({"note": routed.note} if routed.note else {})


def _at(trial: Trial, routed: Flags) -> dict[str, Any]:
    """Recall of all attacks, of each kind and of the worst, and false positives by kind of benign prompt."""
    kinds = np.array([asked.kind for asked in trial.asked])
    by_kind = {kind: count(routed[trial.forget & (kinds == kind)]) for kind in trial.kinds(True)}
    benign = {kind: count(routed[~trial.forget & (kinds == kind)]) for kind in trial.kinds(False)}
    worst = min(by_kind, key=lambda kind: float(by_kind[kind]["rate"]))
    return {
        "recall": count(routed[trial.forget]),
        "recall_by_kind": by_kind,
        "worst_kind": worst,
        "worst_recall": by_kind[worst]["rate"],
        "false_positives": count(routed[trial.in_bar()]),
        "false_positives_by_kind": benign,
    }
