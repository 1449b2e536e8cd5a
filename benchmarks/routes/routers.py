"""The guard's router, and simpler ways to tell which prompts concern a target."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from benchmarks.routes.asked import named
from benchmarks.routes.evidence import Evidence
from benchmarks.routes.splits import drawn
from benchmarks.routes.trial import Routed, Scores, Trial
from guard.background import background
from guard.encoder import Encoder
from guard.heads.mlp import MlpHead
from guard.judgement import Suspicion
from guard.relevance import Relevance

OURS = "Lethe"
TRIVIAL = frozenset({"do nothing", "block everything", "system prompt only"})
SCOPE = 0.5  # probability from which a prompt is in a target's scope
GUARD_NOTE = "taught by examples against neighbors, background and benign prompts of the other half"
CALM = np.float32(16)  # by which the logits of a learned rival are divided
CURATE = (0.8, 0.9)  # cosines of arXiv 2604.14644
BACKGROUND, EXAMPLES = 1000, 4000  # rows at most that a learned rival learns from

Models = tuple[Relevance, Relevance]


def ours(trial: Trial, seen: Evidence, models: Models, name: str = OURS, note: str = "") -> Routed:
    """The guard: the highest statistic of any target; one outside of whose scope a prompt lies has none."""
    taught = [np.array([_highest(against, model) for against in seen.judged(model)]) for model in models]
    fixed = (models[0].threshold - models[0].watch, models[1].threshold - models[1].watch)
    return Routed(name, (taught[0], taught[1]), fixed, note=note)


def scoped(trial: Trial, seen: Evidence, model: Relevance) -> Routed:
    """The guard where allowed prompts name the targets: how likely a prompt about one is in its scope."""
    bar = model.threshold - model.watch
    scores = np.array([_likeliest(against, model, bar) for against in seen.judged(model)])
    return Routed(OURS, (scores, scores), (SCOPE, SCOPE))


def nothing(trial: Trial) -> Routed:
    """Routes no prompt."""
    return _fixed(trial, "do nothing", np.zeros(len(trial.asked)))


def everything(trial: Trial) -> Routed:
    """Routes every prompt."""
    return _fixed(trial, "block everything", np.ones(len(trial.asked)))


def system_prompt(trial: Trial) -> Routed:
    """An instruction in the system prompt routes nothing; what it does shows in answers only."""
    note = "not measurable by routing: no prompt is routed, and what the instruction does shows in answers"
    return _fixed(trial, "system prompt only", np.zeros(len(trial.asked)), note)


def keywords(trial: Trial) -> Routed:
    """Routes prompts that have a target's name as whole words."""
    names = [name for target in trial.targets for name in target.names]
    scores = [float(any(named(text, name) for name in names for text in one.segments)) for one in trial.asked]
    return _fixed(trial, "keyword list", np.array(scores))


def nearest(trial: Trial, encoder: Encoder) -> list[Routed]:
    """MiniLM's cosine to the nearest example, with tuned thresholds and with those of CURaTE."""
    texts = [example.prompt for target in trial.targets for example in target.examples]
    examples, prompts = encoder.encode(texts), encoder.encode(_texts(trial))
    scores = np.concatenate([(block @ examples.T).max(axis=1) for block in np.array_split(prompts, 20)])
    note = "CURaTE's rule with the untuned MiniLM: its own encoder is fine-tuned and not at hand"
    return [
        Routed("MiniLM nearest", (scores, scores)),
        *(Routed(f"CURaTE form, {bar}", (scores, scores), (bar, bar), False, note) for bar in CURATE),
    ]


def guard(trial: Trial, encoder: Encoder, name: str, note: str = "") -> Routed:
    """GUARD's router: its head on an encoder's vectors, taught by the examples and by benign prompts.

    Of the benign prompts of a half those of one part of the people teach, and the rest set the threshold.
    """
    forget = drawn([one.prompt for t in trial.targets for one in t.examples], EXAMPLES, "forget rows")
    allowed = drawn([one.prompt for t in trial.targets for one in t.neighbors], EXAMPLES, "retain rows")
    general = drawn([prompt.text for prompt in background()], BACKGROUND, "background rows")
    texts = _texts(trial)
    prompts, shared = encoder.encode(texts), encoder.encode([*forget, *allowed, *general])
    taught = []
    for half in (0, 1) if trial.bar else (0,):
        benign = np.flatnonzero(trial.in_bar() & trial.of(half))
        # What lies beside one person is alike: seen in training, it would set too low a threshold.
        by_owner = sorted(benign, key=lambda place: trial.asked[place].owner)
        learned = np.array(by_owner[: min(len(by_owner) // 2, EXAMPLES)], dtype=np.intp)
        rows = np.concatenate([shared, prompts[learned]])
        labels = np.arange(len(rows)) < len(forget)
        scores = _calm(MlpHead().fit(rows, labels, [""] * len(rows))).probability(prompts).astype(np.float64)
        scores[learned] = np.nan
        taught.append(scores)
    return Routed(name, (taught[0], taught[-1]), (0.5, 0.5), note=note)


def rivals(trial: Trial, encoder: Encoder, toy: Encoder | None = None) -> list[Routed]:
    """All of them, in the order of the tables; with a toy model's encoder also GUARD on its states."""
    found = [
        nothing(trial),
        everything(trial),
        system_prompt(trial),
        keywords(trial),
        *nearest(trial, encoder),
        guard(trial, encoder, "GUARD head, MiniLM", GUARD_NOTE),
    ]
    if toy is not None:
        note = f"hidden states of a toy model of 2 million parameters; {GUARD_NOTE}"
        found.append(guard(trial, toy, "GUARD head, toy states", note))
    return found


def _calm(head: MlpHead) -> MlpHead:
    """The head with smaller logits: the same order and the same 0.5, but no ties at 1 in float32."""
    *before, (weight, bias) = head.layers
    return head.with_layers([*before, (weight / CALM, bias / CALM)])


def _highest(against: Mapping[str, Suspicion], model: Relevance) -> float:
    return max((one.statistic(model.watch) for one in against.values() if _inside(one)), default=-math.inf)


def _inside(one: Suspicion) -> bool:
    return one.scope is None or one.repeated or one.scope > SCOPE


def _likeliest(against: Mapping[str, Suspicion], model: Relevance, bar: float) -> float:
    about = (one for one in against.values() if one.statistic(model.watch) > bar)
    return max((1.0 if one.repeated or one.scope is None else one.scope for one in about), default=0.0)


def _fixed(trial: Trial, name: str, scores: Scores, note: str = "") -> Routed:
    return Routed(name, (scores, scores), (0.5, 0.5), False, note)


def _texts(trial: Trial) -> list[str]:
    return ["\n".join(one.segments) for one in trial.asked]
