"""Thresholds made for given targets keep their bound on prompts that were not used."""

from dataclasses import replace

import pytest

from guard import ForgetTarget
from guard.background import texts
from guard.calibrating import calibrate
from guard.calibration import DEFAULT, SCOPE, band, needed
from guard.classifier import Classifier
from guard.detectors import FEATURES
from guard.errors import InputError
from guard.relevance import shipped
from guard.snapshot import compile_snapshot

N = 150
# So low that the calibration alone decides.
EAGER = replace(shipped(FEATURES), threshold=-40.0)


def classifier(encoder, *targets, relevance=EAGER):
    return Classifier(compile_snapshot(targets), encoder, relevance=relevance)


def topic(target_id, prompts, **more):
    examples = [{"prompt": prompt} for prompt in prompts]
    return ForgetTarget.parse({"id": target_id, "kind": "topic", "examples": examples} | more)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1])
def test_false_positives_on_prompts_not_used_lie_in_the_band(encoder, alpha):
    known, held_out = texts()[:N], texts()[N : 2 * N]
    judge = classifier(encoder, topic("a", texts()[2 * N : 2 * N + 20]))
    made = calibrate(judge, encoder, alpha, known)
    routings = judge.calibrated(made).route_each([[text] for text in held_out])
    _, most = band(len(held_out), alpha, calibrated_on=len(known))
    assert sum(bool(routing.matches) for routing in routings) <= most
    uncalibrated = judge.route_each([[text] for text in held_out])
    assert sum(bool(routing.matches) for routing in uncalibrated) > most


def test_each_group_has_its_own_threshold_and_says_what_it_was_made_from(encoder):
    near, far = texts()[2 * N : 2 * N + 20], ["Which moth did Professor Quell name after a barge?"]
    judge = classifier(encoder, topic("a", near, group="near"), topic("b", far, group="far"))
    made = calibrate(judge, encoder, 0.05, texts()[:N])
    assert {DEFAULT, "near", "far"} <= set(made.thresholds)
    assert made.threshold("near").value > made.threshold("far").value
    assert made.threshold("far").alpha == 0.05
    assert needed(0.05) <= made.threshold("far").n <= N
    assert not made.stale(judge.version, ",".join(FEATURES))


def test_neighbors_raise_the_threshold_above_what_the_background_asks_for(encoder):
    asked = [f"Where is barge number {n} of Professor Quell kept in winter?" for n in range(20)]
    allowed = [{"prompt": f"Where is barge number {n} of Doctor Voss kept in winter?"} for n in range(30)]
    without = calibrate(classifier(encoder, topic("a", asked)), encoder, 0.05, texts()[:N])
    judge = classifier(encoder, topic("a", asked, name="Quell barges", neighbors=allowed))
    made = calibrate(judge, encoder, 0.05, texts()[:N])
    assert made.threshold("topic").value > without.threshold("topic").value


def test_a_scope_gets_a_threshold_from_neighbors_that_the_head_did_not_learn_from(encoder):
    people = ["Orla Quell", "Ivo Tamm", "Nadia Voss"]
    targets = [
        ForgetTarget.parse(
            {
                "id": f"p{number}",
                "name": name,
                "group": "people",
                "examples": [
                    {"prompt": text.format(name)} for text in ("Where does {} live?", "What is {}'s mail?")
                ],
                "neighbors": [
                    {"prompt": f"{text.format(name)} {n}"}
                    for text in ("What did {} write in", "Which prize did {} win in")
                    for n in (1990, 1995, 2001, 2007)
                ],
            }
        )
        for number, name in enumerate(people)
    ]
    made = calibrate(classifier(encoder, *targets), encoder, 0.05, texts()[:N])
    assert made.threshold(f"{SCOPE}people").n == 24
    assert 0 <= made.threshold(f"{SCOPE}people").value <= 1


def test_too_few_prompts_are_an_error_that_says_how_many_are_needed(encoder):
    with pytest.raises(InputError, match="99"):
        calibrate(classifier(encoder, topic("a", ["Who moved the barge?"])), encoder, 0.01, texts()[:50])
