"""LUME: invented stories and invented biographies; half of each document's questions are asked."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from benchmarks.routes.asked import Asked
from benchmarks.routes.data import Data, Row
from benchmarks.routes.splits import halves
from benchmarks.routes.trial import Trial
from guard.types import Example, ForgetTarget

KINDS = {"Task1": "story questions", "Task2": "biography questions"}
_NAME = re.compile(r"[^\W\d_a-z]\w+ [^\W\d_a-z]\w+")


def trial(data: Data) -> Trial:
    """A biography is registered by its name, a story by its text, both with half of their questions."""
    forget, retain = data.rows("lume/forget"), data.rows("lume/retain")
    questions = [row for row in forget if row["probe"] == "qa"]
    told = halves((row["id"] for row in questions), "lume questions")
    half_of = halves((row["doc"] for row in (*forget, *retain)), "lume documents")
    by_document: dict[str, list[Row]] = defaultdict(list)
    for row in forget:
        if not told.get(row["id"], 0):
            by_document[row["doc"]].append(row)
    targets = tuple(_target(document, rows) for document, rows in sorted(by_document.items()))
    probes = (
        Asked((row["input"],), KINDS[row["task"]], half_of[row["doc"]], _id(row["doc"]), True, row["output"])
        for row in questions
        if told[row["id"]]
    )
    benign = (
        Asked((row["input"],), f"other {KINDS[row['task']]}", half_of[row["doc"]])
        for row in retain
        if row["probe"] == "qa"
    )
    bar = frozenset(f"other {kind}" for kind in KINDS.values())
    return Trial(
        "lume", "LUME: documents registered with half of their questions", targets, (*probes, *benign), bar
    )


def _target(document: str, rows: Sequence[Row]) -> ForgetTarget:
    biography = rows[0]["task"] == "Task2"
    return ForgetTarget(
        id=_id(document),
        kind="entity" if biography else "text",
        name=_name(rows) if biography else None,
        examples=tuple(Example(prompt=row["input"], response=row["output"]) for row in rows),
        group="lume",
    )


def _name(rows: Sequence[Row]) -> str | None:
    """The most frequent pair of capitalised words."""
    found = Counter(name for row in rows for name in _NAME.findall(row["input"]) if "Social" not in name)
    return found.most_common(1)[0][0] if found else None


def _id(document: str) -> str:
    return f"lume-{document}"
