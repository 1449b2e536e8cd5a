"""Which prompts the guard takes to concern a target, on four public benchmarks, beside simpler routers.

    python -m benchmarks.routing [--json]   # writes benchmarks/results/routing.json and two drawings
    python -m benchmarks.routing --fit      # writes guard/relevance.json, from which the guard routes

The benchmarks are TOFU, KnowUnDo, RWKU and LUME; they are no part of the repository, and `LETHE_DATA` names
their folder. Every prompt is tested with thresholds, and with a relevance model, from the other half of the
people and questions. The model that is shipped learned from both halves, so its own row says less. There is
no language model but a toy one, whose states one rival reads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.routes import drawing, goals, knowundo, leaks, lume, rwku, showing, wrappers
from benchmarks.routes.data import Data, folder
from benchmarks.routes.evidence import evidence
from benchmarks.routes.fitting import Lesson, fit, lessons
from benchmarks.routes.routers import OURS, Models, ours, rivals, scoped
from benchmarks.routes.splits import SEED, drawn
from benchmarks.routes.tofu import general, tofu
from benchmarks.routes.trial import FPRS, Routed, Trial, figures
from benchmarks.routes.vectors import KEPT, KeptVectors
from guard import reference, relevance
from guard.detectors import FEATURES
from guard.encoder import Encoder, SentenceEncoder
from guard.hidden import HiddenStateEncoder

RESULTS = Path(__file__).parent / "results"
GENERAL = 1200  # general questions beside TOFU
TOY = "full"  # reference model of GUARD's representation
SHIPPED_NOTE = "learned from both halves: no test of what it has not seen"

Measured = dict[str, tuple[Trial, Sequence[Routed]]]


def main() -> None:
    """Measures or fits, writes the results and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the report instead of tables")
    parser.add_argument("--fit", action="store_true", help="fit guard/relevance.json and measure nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    started, data = time.perf_counter(), Data(folder())
    encoder = KeptVectors(SentenceEncoder(remember=0), KEPT / "minilm.npz")
    taught = lessons(data, encoder)
    encoder.save()
    console = Console(width=170)
    if given.fit:
        model = fit(taught)
        relevance.SHIPPED.write_text(json.dumps(model.to_json()) + "\n", encoding="utf-8")
        for table in showing.lessons(taught, model):
            console.print(table)
        return
    report, measured = measure(data, encoder, taught)
    encoder.save()
    report |= about(data, encoder, time.perf_counter() - started)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "routing.json").write_text(json.dumps(report, indent=1) + "\n")
    drawing.curves(measured, RESULTS / "routing.png")
    drawing.kinds(measured["RWKU level 3"], "5% FPR", RESULTS / "routing_kinds.png")
    if given.json:
        print(json.dumps(report, indent=1))
        return
    for table in showing.tables(report):
        console.print(table)


def measure(data: Data, encoder: KeptVectors, taught: Sequence[Lesson]) -> tuple[dict[str, Any], Measured]:
    """The report, and what is drawn."""
    models = fit(taught, 0), fit(taught, 1)
    measured = _rwku(taught, models, encoder) | _others(data, models, encoder)
    encoder.save()
    trials = {trial.name: figures(trial, routed) for trial, routed in measured.values()}
    last = taught[-1]
    route = _carried(measured["RWKU level 3"], models, encoder)
    report: dict[str, Any] = {
        "trials": trials,
        "rwku_neighbors_naming_another_target": {
            number: rwku.level(data, number).left_out for number in rwku.LEVELS
        },
        "knowundo_a": _beside_oracle(data, trials),
        "oracle_leak": {
            number: _leaks(measured[f"RWKU level {number}"], models, encoder) for number in (2, 3)
        },
        "disguises": wrappers.disguised(data, last, route),
        "codes": wrappers.encoded(data, last, route),
        "misspelt_names": wrappers.misspelt(last, route),
    }
    return report | {"goals": goals.reached(report)}, measured


def _carried(of: tuple[Trial, Sequence[Routed]], models: Models, encoder: Encoder) -> wrappers.Route:
    """The routers with fixed thresholds; those of the plain nearest neighbor come from another trial."""
    trial, routed = of
    bars = {one.name: one.points(trial).get("5% FPR") for one in routed}
    note = f"threshold for 5 % false positives among {', '.join(sorted(trial.bar))} of {trial.name}"

    def route(asked: Trial) -> list[Routed]:
        found = [ours(asked, _seen(asked, encoder), models), *rivals(asked, encoder)]
        return [
            replace(one, fixed=one.fixed or bars[one.name], tuned=False, note=one.note if one.fixed else note)
            for one in found
        ]

    return route


def _beside_oracle(data: Data, trials: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Recall in KnowUnDo A, mean of the splits, and that of who knows how each form of question is shared."""
    found = {}
    for fpr in FPRS:
        point = f"{fpr:.0%} FPR"
        points = [trials[f"knowundo_a_{s}"]["routers"][OURS]["points"] for s in knowundo.SPLITS]
        if all(point in one for one in points):
            lethe = sum(one[point]["recall"]["rate"] for one in points) / len(points)
            found[point] = {"lethe": round(lethe, 4), "oracle": round(knowundo.oracle(data, fpr), 4)}
    return found


def _rwku(taught: Sequence[Lesson], models: Models, encoder: Encoder) -> Measured:
    """The levels of RWKU, from the evidence that the lessons hold already; a toy's states at the last one."""
    shipped = relevance.shipped(FEATURES)
    toy = KeptVectors(HiddenStateEncoder(reference.path(TOY)), KEPT / f"{TOY}.npz")
    found: Measured = {}
    for number, lesson in zip(rwku.LEVELS, taught, strict=True):
        trial = Trial(
            f"rwku_{number}",
            f"RWKU level {number}, TOFU registered beside it",
            lesson.targets,
            lesson.asked,
            frozenset({"neighbors"}),
        ).without("paraphrase")
        seen = lesson.evidence.of([asked.kind != "paraphrase" for asked in lesson.asked])
        found[f"RWKU level {number}"] = (
            trial,
            [
                ours(trial, seen, models),
                ours(trial, seen, (shipped, shipped), f"{OURS} as shipped", SHIPPED_NOTE),
                *rivals(trial, encoder, toy if number == rwku.LEVELS[-1] else None),
            ],
        )
    toy.save()
    return found


def _others(data: Data, models: Models, encoder: Encoder) -> Measured:
    """TOFU, KnowUnDo and LUME. No model has learned from the latter two: there the shipped one is tested."""
    authors, shipped = tofu(data), relevance.shipped(FEATURES)
    asked = (*authors.probes, *authors.retain, *authors.others, *drawn(general(data), GENERAL, "beside tofu"))
    bar = frozenset({"other authors"})
    trial = Trial("tofu", "TOFU: questions on forgotten authors, reworded", authors.targets, asked, bar)
    found: Measured = {"TOFU": (trial, [ours(trial, _seen(trial, encoder), models), *rivals(trial, encoder)])}
    for seed in knowundo.SPLITS:
        trial = knowundo.protocol_a(data, seed)
        name = "KnowUnDo A" if seed == SEED else f"KnowUnDo A, seed {seed}"
        found[name] = trial, [scoped(trial, _seen(trial, encoder), shipped), *rivals(trial, encoder)]
    trial = knowundo.protocol_b(data)
    found["KnowUnDo B"] = trial, [scoped(trial, _seen(trial, encoder), shipped), *rivals(trial, encoder)]
    trial = lume.trial(data)
    both = shipped, shipped
    found["LUME"] = trial, [ours(trial, _seen(trial, encoder), both), *rivals(trial, encoder)]
    return found


def _seen(trial: Trial, encoder: Encoder) -> Any:
    return evidence(trial.targets, [asked.segments for asked in trial.asked], encoder)


def _leaks(measured: tuple[Trial, Sequence[Routed]], models: Models, encoder: Encoder) -> dict[str, Any]:
    """True answers released by the guard and by routers that refuse what they route."""
    trial, routed = measured
    found = {OURS: leaks.ours(trial, models, encoder)}
    for one in routed:
        if not one.name.startswith(OURS):
            point, bars = list(one.points(trial).items())[-1]
            found[f"{one.name}, {point}"] = leaks.rival(trial, one, bars)
    return found


def about(data: Data, encoder: KeptVectors, seconds: float) -> dict[str, Any]:
    """What the figures were made from."""
    scale = RESULTS / "scale.json"
    names = ("numpy", "scikit-learn", "sentence-transformers", "torch", "wordfreq")
    return {
        "benchmark": "routing: which prompts concern a target; no language model but a toy one's states",
        "command": "python -m benchmarks.routing",
        "seed": SEED,
        "data_sha256": dict(sorted(data.digests.items())),
        "relevance_sha256": hashlib.sha256(relevance.SHIPPED.read_bytes()).hexdigest(),
        "latency_by_targets": json.loads(scale.read_text())["rows"] if scale.is_file() else None,
        "texts_encoded": encoder.encoded,
        "seconds": round(seconds, 1),
        "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in names},
    }


if __name__ == "__main__":
    main()
