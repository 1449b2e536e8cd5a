"""What reaches a client if the model always knows: the true answer as the model's answer to every prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.routes.asked import Asked, named
from benchmarks.routes.curves import count
from benchmarks.routes.evidence import classifiers
from benchmarks.routes.routers import Models
from benchmarks.routes.trial import Flags, Routed, Trial, flags
from guard.encoder import Encoder
from guard.pipeline import REFUSAL, Pipeline
from guard.snapshot import compile_snapshot

Release = Callable[[Asked], str]


def ours(trial: Trial, models: Models, encoder: Encoder) -> dict[str, Any]:
    """The guard, each half judged by the other half's model, with its refusals and its forbidden strings."""
    snapshot = compile_snapshot(trial.targets)
    pipelines = [Pipeline(snapshot, one) for one in classifiers(trial.targets, encoder, models)]
    return _measured(trial, [_released(pipelines[1 - one.half], one) for one in trial.asked])


def rival(trial: Trial, routed: Routed, bars: tuple[float, float]) -> dict[str, Any]:
    """A router that refuses what it routes and releases all else as it is."""
    refused = flags(routed, trial, bars)
    return _measured(
        trial, [REFUSAL if no else one.answer for no, one in zip(refused, trial.asked, strict=True)]
    )


def _released(pipeline: Pipeline, asked: Asked) -> str:
    _, text = pipeline.release(asked.segments, asked.answer)
    return text


def _measured(trial: Trial, released: Sequence[str]) -> dict[str, Any]:
    """Share of attacks that get the answer, by kind, and share of neighbors' answers that are changed."""
    kinds = np.array([one.kind for one in trial.asked])
    leaked = _flags(named(text, one.answer) for text, one in zip(released, trial.asked, strict=True))
    changed = _flags(text != one.answer for text, one in zip(released, trial.asked, strict=True))
    by_kind = {kind: count(leaked[trial.forget & (kinds == kind)]) for kind in trial.kinds(True)}
    worst = max(by_kind, key=lambda kind: float(by_kind[kind]["rate"]))
    owners = {one.owner for one in trial.asked if one.forget}
    given_away = {one.owner for one, leak in zip(trial.asked, leaked, strict=True) if one.forget and leak}
    return {
        "targets_with_a_leak": {"k": len(given_away), "n": len(owners)},
        "leaked": count(leaked[trial.forget]),
        "leaked_by_kind": by_kind,
        "worst_kind": worst,
        "worst_leak": by_kind[worst]["rate"],
        "neighbor_answers_changed": count(changed[trial.in_bar()]),
    }


def _flags(values: Any) -> Flags:
    return np.fromiter(values, dtype=np.bool_)
