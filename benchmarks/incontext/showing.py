"""The figures of the in-context unlearning benchmark as JSON, table and drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.table import Table

from benchmarks.incontext.ratio_test import Ratios
from benchmarks.incontext.scoring import SEED, Scores

FPR = 0.01
LEAST_RATE = 5e-3  # drawn; below it a curve of 140 facts is a step
VIEWS = {
    "values": "among values: what is still known",
    "answers": "among all answers: what would be said",
}
COMPARISONS = ("retrained", "unseen")

Tests = dict[str, dict[tuple[str, str], Ratios]]
"""By context, then by view and comparison."""


def about(forget: Scores, retain: Scores | None = None) -> dict[str, Any]:
    """What a model says of the facts, and of retained ones in the same contexts."""
    found: dict[str, Any] = {}
    for name, scores in {"forget": forget, "retain": retain}.items():
        if scores is not None:
            found[name] = {
                "probability_of_true_answer": round(scores.told, 4),
                "true_value_ahead": round(scores.ahead, 4),
                **{
                    f"median_logit_{view}": round(float(np.median(getattr(scores, view))), 3)
                    for view in VIEWS
                },
                "n": len(scores.people),
            }
    return found


def figures(tests: dict[tuple[str, str], Ratios]) -> dict[str, Any]:
    """Area, its interval and the true positive rate of every test of a context."""
    found: dict[str, Any] = {}
    for (view, name), ratios in tests.items():
        found.setdefault(view, {})[name] = {
            "auc": round(ratios.auc, 4),
            "auc_95": [round(bound, 4) for bound in ratios.interval(SEED)],
            "tpr_at_fpr": round(ratios.tpr(FPR), 4),
        }
    return found


def draw(tests: Tests, path: Path) -> None:
    """The curves against the retrained model, on logarithmic axes as is usual for this test."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    for axes, (view, title) in zip(figure.subplots(1, 2, sharey=True), VIEWS.items(), strict=True):
        for name, found in tests.items():
            ratios = found[view, "retrained"]
            false, true = (np.maximum(rate, LEAST_RATE) for rate in ratios.curve)
            style = ":" if name == "block everything" else "-"
            axes.plot(false, true, style, label=f"{name} ({ratios.auc:.2f})")
        axes.set(title=title, xscale="log", yscale="log", xlabel="false positive rate", xlim=(LEAST_RATE, 1))
        axes.legend(fontsize=7, title="context (AUC)", title_fontsize=7)
    figure.supylabel("share of unlearned facts told from never trained ones", fontsize=9)
    figure.suptitle("LiRA-Forget on a toy model: the lower, the better forgotten", fontsize=11)
    figure.savefig(path, dpi=130)


def table(report: dict[str, Any]) -> Table:
    """The figures that matter, as text."""
    made = Table(
        title=f"LiRA-Forget on a toy model, n = {report['n']}",
        caption=f"p: mean probability of the true answer; cells: AUC, true positives at {FPR:.0%} false ones",
    )
    made.add_column("context", no_wrap=True)
    for column in ("p forget", "p retain", *(f"{view}, {other}" for view in VIEWS for other in COMPARISONS)):
        made.add_column(column)
    for name, row in report["contexts"].items():
        cells = [
            f"{row[view][other]['auc']:.2f}, {row[view][other]['tpr_at_fpr']:.2f}"
            for view in VIEWS
            for other in COMPARISONS
        ]
        told = [
            f"{row[k]['probability_of_true_answer']:.3f}" if k in row else "0" for k in ("forget", "retain")
        ]
        made.add_row(name, *told, *cells)
    return made
