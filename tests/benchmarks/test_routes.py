"""The splits, thresholds and curves of the routing benchmark, and what it registers of the data."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.routes import knowundo, leaks, lume, rwku, showing, wrappers
from benchmarks.routes.asked import Asked, named
from benchmarks.routes.curves import auc, curve, reached, wilson
from benchmarks.routes.data import Data, folder
from benchmarks.routes.evidence import Evidence, evidence
from benchmarks.routes.fitting import Lesson
from benchmarks.routes.routers import everything, keywords, nothing
from benchmarks.routes.splits import drawn, halves
from benchmarks.routes.trial import Routed, Trial, figures, flags
from benchmarks.routes.vectors import KeptVectors
from guard.classifier import Classifier
from guard.detectors import FEATURES
from guard.encoder import SentenceEncoder
from guard.relevance import Relevance
from guard.snapshot import compile_snapshot
from guard.types import Example, ForgetTarget


def trial(count=100):
    """In each half so many benign prompts and ten attacks of two kinds."""
    benign = [Asked((f"benign {n}",), "general", n % 2) for n in range(2 * count)]
    attacks = [
        Asked((f"attack {n}",), "plain" if n < 10 else "odd", n % 2, "a", True, "Rome") for n in range(20)
    ]
    return Trial("t", "t", (ForgetTarget(id="a", name="A"),), (*benign, *attacks), frozenset({"general"}))


def test_halves_do_not_depend_on_the_order_of_keys_and_change_with_purpose_and_seed():
    keys = [str(n) for n in range(101)]
    found = halves(keys, "x")
    assert found == halves(reversed([*keys, *keys]), "x")
    assert sum(found.values()) == 50
    assert found != halves(keys, "y")
    assert found != halves(keys, "x", seed=1)


def test_a_draw_is_the_same_each_time_and_holds_nothing_twice():
    items = list(range(50))
    assert drawn(items, 20, "x") == drawn(items, 20, "x") != drawn(items, 20, "y")
    assert len(set(drawn(items, 20, "x"))) == 20
    assert sorted(drawn(items, 99, "x")) == items


def test_a_half_is_tested_with_the_threshold_from_the_other_half_alone():
    asked = trial()
    scores = np.arange(len(asked.asked), dtype=float)
    routed = Routed("r", (scores, scores))
    bars = routed.points(asked)["5% FPR"]
    moved = np.where(asked.of(0), scores + 1e6, scores)  # of half 0 everything is higher
    again = Routed("r", (moved, moved)).points(asked)["5% FPR"]
    assert again[1] == bars[1]
    assert again[0] == bars[0] + 1e6
    assert flags(Routed("r", (moved, moved)), asked, again)[asked.of(0)].all()
    assert not flags(Routed("r", (moved, moved)), asked, again)[asked.of(1)].any()


def test_attacks_and_prompts_that_were_learned_from_set_no_threshold():
    asked = trial()
    scores = np.where(asked.forget, 1e6, np.arange(len(asked.asked), dtype=float))
    bars = Routed("r", (scores, scores)).points(asked)["5% FPR"]
    assert max(bars) < 200
    learned = scores.copy()
    learned[np.flatnonzero(asked.in_bar())[-100:]] = np.nan
    assert max(Routed("r", (learned, learned)).points(asked)["5% FPR"]) < 100


def test_no_threshold_is_made_from_too_few_prompts():
    asked = trial(count=50)
    scores = np.zeros(len(asked.asked))
    assert set(Routed("r", (scores, scores)).points(asked)) == {"5% FPR"}


def test_the_report_counts_recall_by_kind_and_names_the_worst():
    asked = trial()
    scores = np.array([1.0 if one.kind == "plain" else 0.0 for one in asked.asked])
    found = figures(asked, [Routed("r", (scores, scores), (0.5, 0.5))])["routers"]["r"]
    at = found["points"]["as it comes"]
    assert (at["recall"]["k"], at["recall"]["n"]) == (10, 20)
    assert (at["worst_kind"], at["worst_recall"]) == ("odd", 0.0)
    assert at["false_positives"]["k"] == 0
    assert found["auc"] == 0.75  # half of the attacks above all benign prompts, half level with them


def test_intervals_are_wilsons():
    assert wilson(0, 100) == pytest.approx((0.0, 0.0370), abs=1e-4)
    assert wilson(3, 100) == pytest.approx((0.0103, 0.0845), abs=1e-4)


def test_a_curve_has_ties_in_one_step_and_leaves_out_nan():
    false, recall = curve(np.array([3.0, 2.0, np.nan]), np.array([2.0, 1.0]))
    assert false.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert recall.tolist() == [0.0, 0.5, 1.0, 1.0]
    assert auc((false, recall)) == pytest.approx(0.875)
    assert auc(curve(np.array([math.inf]), np.array([0.0]))) == 1.0
    assert reached((false, recall), 0.49) == 0.5
    assert reached((false, recall), 0.5) == 1.0


def test_who_blocks_everything_leaks_nothing_and_changes_all_and_who_does_nothing_the_reverse():
    asked = trial(count=20)
    asked = replace(asked, asked=tuple(replace(one, answer=one.answer or "Oslo") for one in asked.asked))
    for make, leaked, changed in ((nothing, 1.0, 0.0), (everything, 0.0, 1.0)):
        found = leaks.rival(asked, make(asked), (0.5, 0.5))
        assert found["leaked"]["rate"] == found["worst_leak"] == leaked
        assert found["neighbor_answers_changed"]["rate"] == changed
        assert found["targets_with_a_leak"] == {"k": int(leaked), "n": 1}


def test_a_keyword_list_loses_the_names_that_are_misspelt():
    targets = (ForgetTarget(id="a", name="Mira Paxos"), ForgetTarget(id="b", name="Tam Orrin"))
    asked = tuple(Asked((f"{t.name}?",), "plain", n, t.id, True) for n, t in enumerate(targets))
    found = wrappers.misspelt(Lesson(targets, asked, Evidence(np.empty((0, 0)), ())), lambda t: [keywords(t)])
    by_slip = found["keyword list"]["disguises"]
    assert by_slip["plain"]["recall"] == by_slip["plain"]["recall"] | {"k": 4, "n": 4}
    assert {row["lost"] for name, row in by_slip.items() if name != "plain"} == {1.0}


def test_the_tables_have_every_router_and_kind():
    asked = trial()
    found = figures(asked, [one(asked) for one in (nothing, everything, keywords)])
    assert showing.trial(found).row_count == 3
    by_kind = showing.kinds(found)
    assert [column.header for column in by_kind.columns] == ["router", "plain", "odd"]
    assert by_kind.row_count == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [("Who is MIRA SOL?", True), ("Mira  Sol's boat", True), ("Mira Solberg", False), ("Mira", False)],
)
def test_a_name_counts_as_whole_words(text, found):
    assert named(text, "Mira Sol") is found


def test_disguises_hold_the_whole_question():
    assert " ".join(wrappers.split("Who built the old mill there", 3)) == "Who built the old mill there"
    assert len(wrappers.split("Who built the old mill there", 3)) == 3
    assert wrappers.CODES["reversed"]("abc") == "cba"
    assert named(wrappers.CODES["homoglyphs"]("Mira Paxos"), "Mira Paxos")
    slips = dict(wrappers.slips("Mira Paxos"))
    assert len(set(slips.values())) == len(slips) >= 3
    assert "Mira Paxos" not in slips.values()


def test_recorded_evidence_judged_by_a_model_is_what_a_classifier_with_it_suspects(tmp_path):
    encoder = KeptVectors(SentenceEncoder(), tmp_path / "vectors.npz")
    asked = [Example(prompt="Who restored the lighthouse of Quell?", response="Mira Sol")]
    targets = [
        ForgetTarget(id="a", name="Mira Sol", examples=asked),
        ForgetTarget(id="b", name="Tam Orr", examples=[Example(prompt="Who sold the ferry at Dunmoor?")]),
    ]
    prompts = [["Who was it that restored Quell's lighthouse? I forgot."], ["Is Mira Sol alive?"], ["Hello!"]]
    weights = np.linspace(-1, 2, len(FEATURES))[:, None]
    model = Relevance(FEATURES, ((weights, np.array([0.1])),), 0.5, 0.0)
    judged = list(evidence(targets, prompts, encoder).judged(model))
    direct = Classifier(compile_snapshot(targets), encoder, relevance=model).suspicions_each(prompts)
    for one, other in zip(judged, direct, strict=True):
        assert one.keys() == other.keys()
        for target_id, suspicion in other.items():
            assert one[target_id].statistic(model.watch) == pytest.approx(suspicion.statistic(model.watch))
    assert "a" in judged[0]
    encoder.save()
    again = KeptVectors(SentenceEncoder(), tmp_path / "vectors.npz")
    assert np.array_equal(again.encode(prompts[0]), encoder.encode(prompts[0]))
    assert again.encoded == 0


@pytest.fixture(scope="module")
def data():
    if not (folder() / "rwku").is_dir():
        pytest.skip(f"no benchmark data in {folder()}; LETHE_DATA names its folder")
    return Data(folder())


@pytest.mark.parametrize("number", rwku.LEVELS)
def test_nothing_that_is_asked_of_rwku_was_registered(data, number):
    level = rwku.level(data, number)
    asked = {one.segments[0] for one in (*level.probes, *level.neighbors)}
    shown = {e.prompt for target in level.targets for e in (*target.examples, *target.neighbors)}
    assert not asked & shown
    assert len({one.kind for one in level.probes}) == 9
    people = {half: {one.owner for one in level.probes if one.half == half} for half in (0, 1)}
    assert not people[0] & people[1]
    assert any(target.neighbors for target in level.targets) == (number > 1)
    assert not any(named(one.segments[0], t.name) for one in level.neighbors for t in level.targets)


def test_knowundo_registers_one_half_and_asks_the_other(data):
    first, other = (knowundo.protocol_a(data, seed) for seed in knowundo.SPLITS[:2])
    shown = {e.prompt for target in first.targets for e in (*target.examples, *target.neighbors)}
    assert not shown & {one.segments[0] for one in first.asked}
    assert first == knowundo.protocol_a(data, knowundo.SPLITS[0]) != replace(other, name=first.name)
    assert all(target.name for target in first.targets)
    assert 0.85 < knowundo.oracle(data, 0.05) < 1


def test_knowundo_asks_what_is_registered_in_other_words_beside_unseen_kept_rows(data):
    reworded = knowundo.protocol_b(data)
    shown = {e.prompt for target in reworded.targets for e in (*target.examples, *target.neighbors)}
    assert not shown & {one.segments[0] for one in reworded.asked}
    assert set(reworded.kinds(True)) == set(knowundo.REWORDINGS)
    halves_of = {one.half for one in reworded.asked if one.forget}
    assert halves_of == {0, 1}


def test_lume_asks_no_question_that_was_registered(data):
    asked = lume.trial(data)
    shown = {e.prompt for target in asked.targets for e in target.examples}
    assert not shown & {one.segments[0] for one in asked.asked}
