"""The curves of every set, and recall by kind of attack, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.routes.routers import OURS, TRIVIAL
from benchmarks.routes.trial import Routed, Trial, flags, roc

LEAST_RATE = 1e-3  # drawn
Measured = tuple[Trial, Sequence[Routed]]


def curves(sets: Mapping[str, Measured], path: Path) -> None:
    """Recall against false positives, on a logarithmic axis; routers without a threshold to turn are dots."""
    figure = Figure(figsize=(4.6 * ((len(sets) + 1) // 2), 8.4), layout="constrained")
    grid = figure.subplots(2, (len(sets) + 1) // 2, squeeze=False)
    for axes, (title, (trial, routed)) in zip(grid.flat, sets.items(), strict=False):
        for one in routed:
            if one.tuned:
                false, recall = roc(trial, one)
                axes.step(
                    np.maximum(false, LEAST_RATE), recall, where="post", label=one.name,
                    linewidth=2.2 if one.name == OURS else 1.1,
                )  # fmt: skip
            elif one.fixed and one.name not in TRIVIAL:
                hit = flags(one, trial, one.fixed)
                rate = max(float(hit[trial.in_bar()].mean()), LEAST_RATE)
                axes.plot(rate, hit[trial.forget].mean(), "o", markersize=5, label=one.name)
        axes.set(xscale="log", xlim=(LEAST_RATE, 1), ylim=(0, 1.02), xlabel="false positive rate")
        axes.set_title(title, fontsize=9)
        axes.axvline(0.05, color="0.8", linewidth=0.8, zorder=0)
    grid[0][0].legend(fontsize=7, loc="lower right")
    for axes in list(grid.flat)[len(sets) :]:
        axes.set_axis_off()
    figure.supylabel("recall", fontsize=9)
    figure.savefig(path, dpi=130)


def kinds(measured: Measured, point: str, path: Path) -> None:
    """Recall of each kind of attack by every router that has this point, or one of its own."""
    trial, routed = measured
    names = trial.kinds(True)
    rows = {}
    for one in routed:
        points = one.points(trial)
        if one.name not in TRIVIAL:
            rows[one.name] = flags(one, trial, points.get(point) or points["as it comes"])
    kind_of = np.array([asked.kind for asked in trial.asked])
    figure = Figure(figsize=(13, 5), layout="constrained")
    axes = figure.subplots()
    places, width = np.arange(len(names)), 0.85 / len(rows)
    for place, (name, hit) in enumerate(rows.items()):
        heights = [hit[trial.forget & (kind_of == kind)].mean() for kind in names]
        axes.bar(places + place * width, heights, width, label=name)
    axes.set_xticks(places + 0.42, names, rotation=15, ha="right", fontsize=8)
    axes.set(ylabel=f"recall, {point} where there is a threshold to turn", ylim=(0, 1.02))
    axes.set_title(trial.title, fontsize=10)
    axes.legend(fontsize=7, ncols=len(rows), loc="upper center", bbox_to_anchor=(0.5, -0.18))
    figure.savefig(path, dpi=130)
