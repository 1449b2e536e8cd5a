"""The figures as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table


def tables(report: dict[str, Any]) -> Iterator[Table]:
    """One table per trial, then leaks, disguises and goals."""
    for found in report["trials"].values():
        yield trial(found)
    for level, found in report["oracle_leak"].items():
        yield leaks(level, found)
    for name in ("disguises", "codes", "misspelt_names"):
        yield disguises(name.replace("_", " "), report[name])
    yield goals(report["goals"])


def trial(found: dict[str, Any]) -> Table:
    """Recall and false positives of every router at every point."""
    numbers = ", ".join(f"{n} {kind}" for kind, n in found["n"].items())
    made = Table(title=found["title"], caption=f"{numbers}; thresholds from {found['thresholds_from']}")
    for column in ("router", "point", "recall", "worst kind", "false positives", "by kind", "AUC"):
        made.add_column(column)
    for name, row in found["routers"].items():
        for point, at in row["points"].items():
            made.add_row(
                name, point, _share(at["recall"]), f"{at['worst_recall']:.3f} {at['worst_kind']}",
                _share(at["false_positives"]),
                ", ".join(f"{k} {v['rate']:.3f}" for k, v in at["false_positives_by_kind"].items()),
                f"{row['auc']:.3f}" if "auc" in row else "",
            )  # fmt: skip
    return made


def leaks(level: str, found: dict[str, Any]) -> Table:
    """True answers that reach the client, and neighbors' answers that do not reach it unchanged."""
    made = Table(title=f"oracle leak, RWKU level {level}: the model always gives the true answer")
    for column in ("guard", "leaked", "worst kind", "neighbor answers changed"):
        made.add_column(column)
    for name, row in found.items():
        made.add_row(
            name, _share(row["leaked"]), f"{row['worst_leak']:.3f} {row['worst_kind']}",
            _share(row["neighbor_answers_changed"]),
        )  # fmt: skip
    return made


def disguises(title: str, found: dict[str, Any]) -> Table:
    """Recall of each disguise, and what it loses against the plain question."""
    made = Table("disguise", "recall", "lost", "false positives", title=f"{title}, at the model's threshold")
    for name, row in found.items():
        lost = f"{row['lost']:+.3f}" if "lost" in row else ""
        false = _share(row["false_positives"]) if "false_positives" in row else ""
        made.add_row(name, _share(row["recall"]), lost, false)
    return made


def goals(found: dict[str, Any]) -> Table:
    """What was hoped for beside what is."""
    made = Table("goal", "wanted", "found", "reached", title="goals")
    for name, row in found.items():
        made.add_row(name, row["wanted"], f"{row['found']:.4f}", "yes" if row["reached"] else "no")
    return made


def _share(rate: dict[str, Any]) -> str:
    return f"{rate['rate']:.3f} ({rate['k']}/{rate['n']})"
