"""The figures as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rich.table import Table

from benchmarks.routes.fitting import Lesson
from benchmarks.routes.routers import OURS, TRIVIAL
from guard.relevance import Relevance


def tables(report: dict[str, Any]) -> Iterator[Table]:
    """Tables of every trial, then leaks, disguises, ceilings and goals."""
    for found in report["trials"].values():
        yield trial(found)
        yield kinds(found)
    for level, found in report["oracle_leak"].items():
        yield leaks(level, found)
    for name in ("disguises", "codes", "misspelt_names"):
        yield disguises(name.replace("_", " "), report[name])
    yield ceilings(report["knowundo_a"], report["trials"])
    yield goals(report["goals"])


def trial(found: dict[str, Any]) -> Table:
    """Recall and false positives of every router at every point."""
    numbers = ", ".join(f"{n} {kind}" for kind, n in found["n"].items())
    made = Table(title=found["title"], caption=f"{numbers}; thresholds from {found['thresholds_from']}")
    for column in (
        "router",
        "point",
        "recall",
        "worst kind",
        "false positives",
        "by kind",
        "ROC recall",
        "AUC",
    ):
        made.add_column(column)
    for name, row in found["routers"].items():
        for point, at in row["points"].items():
            made.add_row(
                name, point, _share(at["recall"]), f"{at['worst_recall']:.3f} {at['worst_kind']}",
                _share(at["false_positives"]),
                ", ".join(f"{k} {v['rate']:.3f}" for k, v in at["false_positives_by_kind"].items()),
                f"{row['roc_recall'][point]:.3f}" if point in row.get("roc_recall", {}) else "",
                f"{row['auc']:.3f}" if "auc" in row else "",
            )  # fmt: skip
    return made


def kinds(found: dict[str, Any]) -> Table:
    """Recall of each kind, by every router at every point."""
    made = Table(title=f"{found['title']}: recall by kind")
    rows = {
        f"{name}\n{point}": at["recall_by_kind"]
        for name, row in found["routers"].items()
        for point, at in row["points"].items()
        if name not in TRIVIAL
    }
    names = list(next(iter(rows.values())))
    for column in ("router", *names):
        made.add_column(column)
    for name, by_kind in rows.items():
        made.add_row(name.replace("\n", ", "), *(f"{by_kind[kind]['rate']:.3f}" for kind in names))
    made.add_row("do nothing", *("0.000" for _ in names))
    made.add_row("block everything", *("1.000" for _ in names))
    return made


def leaks(level: str, found: dict[str, Any]) -> Table:
    """True answers that reach the client, and neighbors' answers that do not reach it unchanged."""
    made = Table(title=f"oracle leak, RWKU level {level}: the model always gives the true answer")
    for column in ("guard", "leaked", "worst kind", "targets with a leak", "neighbor answers changed"):
        made.add_column(column)
    for name, row in found.items():
        made.add_row(
            name, _share(row["leaked"]), f"{row['worst_leak']:.3f} {row['worst_kind']}",
            f"{row['targets_with_a_leak']['k']}/{row['targets_with_a_leak']['n']}",
            _share(row["neighbor_answers_changed"]),
        )  # fmt: skip
    return made


def disguises(title: str, found: dict[str, Any]) -> Table:
    """Recall of every router in each disguise, and where measured its false positives behind a stroke."""
    made = Table("disguise", *found, title=f"{title}: recall / false positives, at thresholds brought along")
    for name in next(iter(found.values()))["disguises"]:
        rows = [row["disguises"][name] for row in found.values()]
        made.add_row(name, *(_pair(row) for row in rows))
    return made


def ceilings(found: dict[str, Any], trials: dict[str, Any]) -> Table:
    """KnowUnDo A beside one who knows how often each form of question is to be forgotten."""
    title = "KnowUnDo A: what can be reached; a person without registered kept rows is routed whole"
    made = Table("at", "Lethe, mean of splits", "each split", "oracle of forms", title=title)
    splits = [one["routers"][OURS]["points"] for name, one in trials.items() if name.startswith("knowundo_a")]
    for point, row in found.items():
        each = ", ".join(f"{one[point]['recall']['rate']:.3f}" for one in splits)
        made.add_row(point, f"{row['lethe']:.4f}", each, f"{row['oracle']:.4f}")
    return made


def lessons(taught: Sequence[Lesson], model: Relevance) -> Iterator[Table]:
    """What a model learned from, and its thresholds."""
    for number, lesson in enumerate(taught, 1):
        numbers = Counter((one.kind, one.forget) for one in lesson.asked)
        made = Table(
            "prompts", "concern a target", "number", title=f"level {number}: {len(lesson.targets)} targets"
        )
        for (kind, forget), times in numbers.items():
            made.add_row(kind, "yes" if forget else "no", str(times))
        yield made
    made = Table("threshold", "watch", "features", title="relevance, in logits")
    made.add_row(f"{model.threshold:.4f}", f"{model.watch:.4f}", ", ".join(model.features))
    yield made


def goals(found: dict[str, Any]) -> Table:
    """What was hoped for beside what is."""
    made = Table("goal", "wanted", "found", "reached", title="goals")
    for name, row in found.items():
        made.add_row(name, row["wanted"], f"{row['found']:.4f}", "yes" if row["reached"] else "no")
    return made


def _share(rate: dict[str, Any]) -> str:
    return f"{rate['rate']:.3f} ({rate['k']}/{rate['n']})"


def _pair(row: dict[str, Any]) -> str:
    false = f" / {row['false_positives']['rate']:.3f}" if "false_positives" in row else ""
    return f"{row['recall']['rate']:.3f}{false}"
