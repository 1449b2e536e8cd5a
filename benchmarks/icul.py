"""Whether in-context unlearning makes a fact look as if never trained on: LiRA-Forget on a toy model.

After arXiv 2310.07579: the stabilised logit log p_y - log sum_{y' != y} p_y' of the true answer, under
several contexts, and a likelihood ratio test of "unlearned" against "never trained". AUC 0.5 is wanted.

    python -m benchmarks.icul [--shots 4] [--json]      # writes benchmarks/results/icul.json and icul.png

There are two comparisons. ``retrained``: the same facts, asked from the reference model of the same seed and
recipe that was trained without them; there is one such model, not the dozens of the paper. ``unseen``: facts
about people of another invented world, asked from the model under test.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from benchmarks.incontext.contexts import contexts, target_of
from benchmarks.incontext.ratio_test import Ratios, compare
from benchmarks.incontext.scoring import SEED, WRONG, Scorer, Scores, scored
from benchmarks.incontext.showing import COMPARISONS, FPR, VIEWS, Tests, about, draw, figures, table
from guard import reference
from guard.reference import World

RESULTS = Path(__file__).parent / "results"
OTHER_WORLD = 12  # seed
UNSEEN_PEOPLE, RETAIN_ROWS = 30, 70


def main() -> None:
    """Measures, writes the results and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shots", type=int, default=4, help="examples in an ICUL context")
    parser.add_argument("--json", action="store_true", help="print the report instead of a table")
    given = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bar()
    started, used = time.perf_counter(), time.process_time()
    world = reference.build()
    scores, retain = unlearned(world, given.shots)
    never = never_trained(world)
    tests = tested(scores, never)
    report = {
        "benchmark": "in-context unlearning, LiRA-Forget style",
        "model": "toy model of 2.16 million parameters on an invented world; no statement about real models",
        "command": "python -m benchmarks.icul",
        "fpr": FPR,
        "shots": given.shots,
        "wrong_values": WRONG,
        "seeds": {"world": world.seed, "other_world": OTHER_WORLD, "draws": SEED},
        "n": {"unlearned": len(world.forget), **{name: len(s.values) for name, s in never.items()}},
        "never_trained": {name: about(found) for name, found in never.items()},
        "contexts": {
            name: about(scores[name], retain[name]) | figures(found) if name in scores else figures(found)
            for name, found in tests.items()
        },
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "transformers", "scikit-learn", "scipy", "numpy")},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "icul.json").write_text(json.dumps(report, indent=1) + "\n")
    draw(tests, RESULTS / "icul.png")
    if given.json:
        print(json.dumps(report, indent=1))
    else:
        Console(width=120).print(table(report))


def unlearned(world: World, shots: int) -> tuple[dict[str, Scores], dict[str, Scores]]:
    """Scores of the forget facts under every context, and of retained facts asked in the same contexts."""
    scorer, draw_ = Scorer("full"), random.Random(SEED)
    targets = {person: target_of(world, person, draw_) for person in world.forget_people}
    shown = {neighbor.prompt for target in targets.values() for neighbor in target.neighbors}
    asked = draw_.sample([row for row in world.retain if row.question not in shown], RETAIN_ROWS)
    hosts = [targets[world.forget_people[i % len(targets)]] for i in range(len(asked))]
    forget, retain = {}, {}
    for name, context in contexts(shots).items():
        own = [(row, context(row.question, targets[row.subject])) for row in world.forget]
        others = [(row, context(row.question, host)) for row, host in zip(asked, hosts, strict=True)]
        forget[name], retain[name] = (scored(scorer, world, pairs) for pairs in (own, others))
    return forget, retain


def never_trained(world: World) -> dict[str, Scores]:
    """Scores, without a context, of what a model was never trained on."""
    other = reference.build(seed=OTHER_WORLD)
    known = {text for row in (*world.retain, *world.forget) for text in (row.subject, row.value)}
    people = [person for person in other.people if person not in known][:UNSEEN_PEOPLE]
    rows = [
        row for person in people for row in other.rows_of(person) if not any(k in row.question for k in known)
    ]
    return {
        name: scored(
            Scorer(model), home, [(row, [{"role": "user", "content": row.question}]) for row in facts]
        )
        for name, model, home, facts in (
            ("retrained", "retain-only", world, world.forget),
            ("unseen", "full", other, rows),
        )
    }


def tested(scores: dict[str, Scores], never: dict[str, Scores]) -> Tests:
    """For each context, and for blocking everything, the test in both views against both comparisons."""
    keys = [(view, name) for view in VIEWS for name in COMPARISONS]

    def against(found: Scores | None, view: str, name: str) -> Ratios:
        other = never[name]
        if found is None:  # every question gets the same refusal, whoever it is about
            some = next(iter(scores.values()))
            return compare(np.zeros(len(some.people)), some.people, np.zeros(len(other.people)), other.people)
        return compare(getattr(found, view), found.people, getattr(other, view), other.people)

    every: dict[str, Scores | None] = {**scores, "block everything": None}
    return {name: {key: against(found, *key) for key in keys} for name, found in every.items()}


if __name__ == "__main__":
    main()
