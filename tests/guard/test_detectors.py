"""Contracts over both tables of detectors, then what single detectors promise."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard import ForgetTarget
from guard.detectors import DETECTORS, FEATURES, MEANING, STRINGS
from guard.detectors.findings import Hits
from guard.detectors.learned import LearnedConfig, LearnedDetector
from guard.detectors.semantic import SemanticConfig, SemanticDetector
from guard.types import Match

TABLES = STRINGS | MEANING
PEOPLE = ["Mira Solen", "Mira Solenne", "Bero Tal"]
QUESTIONS = ["What does {}'s father do?", "Where was {} born?", "Which book made her famous?"]
TEXTS = [
    *(f"Who is {name}, and where was she born?" for name in PEOPLE),
    "What does Mria Sloen's father do?",
    "Which famous book did the clockmaker's daughter write?",
    "the RIVER song",
    "",
]


def person(target_id, name, examples, neighbors):
    """A target; with neither examples nor a name of its own it has a phrase."""
    return ForgetTarget.parse(
        {
            "id": target_id,
            "name": name,
            "phrases": ["River Song"],
            "examples": [
                {"prompt": text.format(name), "response": "A clockmaker."} for text in QUESTIONS[:examples]
            ],
            "neighbors": [
                {"prompt": text.format("Tova Brenn"), "response": "In Quillon."}
                for text in QUESTIONS[:neighbors]
            ],
        }
    )


def seen(found, target_ids):
    """What was found in each text, so that it can be compared: matches, or what is said of each target."""
    if isinstance(found[0], Hits):
        return [sorted(hits, key=repr) for hits in found]
    return [
        (set(one.targets), {i: tuple(round(value, 4) for value in one.of(i)) for i in target_ids})
        for one in found
    ]


@pytest.fixture(params=TABLES)
def name(request):
    return request.param


@pytest.mark.parametrize("texts", [[], [""], ["Mira Solen", "", "What does her father do?"]])
def test_without_targets_nothing_is_found(name, encoder, texts):
    found = TABLES[name]([], encoder).scan(texts)
    assert [list(one) if name in STRINGS else list(one.targets) for one in found] == [[] for _ in texts]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"),
            st.one_of(st.none(), st.tuples(st.sampled_from(PEOPLE), st.integers(0, 3), st.integers(0, 3))),
            min_size=1,
        ),
        max_size=5,
    )
)
def test_a_changed_detector_finds_what_one_built_anew_finds(name, encoder, changes):
    targets = {i: person(i, PEOPLE[0], 1, 1) for i in "ab"}
    detector = TABLES[name](tuple(targets.values()), encoder)
    for change in changes:
        put = {i: person(i, *what) for i, what in change.items() if what is not None}
        gone = targets.keys() & change.keys()
        targets = {i: target for i, target in targets.items() if i not in gone} | put
        detector = detector.changed(tuple(put.values()), gone)
    anew = seen(TABLES[name](tuple(targets.values()), encoder).scan(TEXTS), targets)
    assert seen(detector.scan(TEXTS), targets) == anew
    compacted = detector.compacted()
    assert seen(compacted.scan(TEXTS), targets) == anew
    assert seen(detector.scan(TEXTS), targets) == anew


def test_a_detector_in_use_does_not_change(name, encoder):
    first = person("a", PEOPLE[0], 3, 1)
    detector = TABLES[name]([first], encoder)
    before = seen(detector.scan(TEXTS), "a")
    changed = detector.changed([person("b", PEOPLE[2], 3, 0)], ["a"])
    assert seen(changed.scan(TEXTS), "b") != before
    assert seen(detector.scan(TEXTS), "a") == before


def test_each_text_gets_its_own_findings_also_empty_and_huge_ones(name, encoder, mira):
    few = {"config": LearnedConfig(fewest=1)} if name == "learned" else {}
    detector = TABLES[name]([mira], encoder, **few)
    texts = [
        "",
        mira.examples[1].prompt,
        "x" * 50_000,
        "harbour " * 10_000,
        "é\x00",
        mira.examples[1].prompt,
    ]
    found = detector.scan(texts)
    alone = [one for text in texts for one in detector.scan([text])]
    assert len(found) == len(texts)
    assert seen(found, ["mira"]) == seen(alone, ["mira"])
    assert seen(found[1:2], ["mira"]) == seen(found[5:], ["mira"]) != seen(found[:1], ["mira"])


@pytest.mark.parametrize("name", STRINGS)
@pytest.mark.parametrize("before", ["", "Hello there.\n\n", "İß\u200b ﬁ — ", "\x00\n" * 9])
def test_spans_count_characters_of_the_text_as_it_was_given(name, encoder, mira, before):
    text = f"{before}Ask Mira  Solen, please."
    (hits,) = TABLES[name]([mira], encoder).scan([text])
    assert [text[slice(*hit.span)] for hit in hits] == ["Mira  Solen"]
    (hit,) = hits
    assert (hit.target_id, hit.detector) == ("mira", name)
    assert hit.score >= hit.threshold


@pytest.mark.parametrize("name", MEANING)
def test_a_detector_gives_a_value_for_each_of_its_features(name, encoder, mira):
    detector = MEANING[name]([mira, person("bare", "Bero Tal", 0, 0)], encoder)
    for one in detector.scan(["", mira.examples[0].prompt, "Bero Tal"]):
        for target_id in ("mira", "bare"):
            assert len(one.of(target_id)) == len(detector.features)
            assert all(isinstance(value, float) for value in one.of(target_id))


def test_features_are_those_of_the_names_and_of_the_detectors_of_meaning_in_order(encoder):
    own = [feature for build in MEANING.values() for feature in build([], encoder).features]
    assert ("fuzzy", *own) == FEATURES
    assert len(set(FEATURES)) == len(FEATURES)


def test_evidence_bears_the_name_of_a_detector_or_of_what_weighs_them(encoder):
    assert set(DETECTORS) == {*TABLES, "relevance", "scope"}
    assert all(build([], encoder).name == name for name, build in TABLES.items())


def test_hits_within_a_span_are_the_best_score_of_each_target_that_reaches_into_it():
    hits = Hits(
        [
            Match("a", "fuzzy", 0.6, 0.8, (0, 5)),
            Match("a", "lexical", 1.0, 1.0, (3, 8)),
            Match("b", "fuzzy", 0.7, 0.8, (7, 12)),
        ]
    )
    assert hits.within((4, 8)) == {"a": 1.0, "b": 0.7}
    assert hits.within((0, 3)) == {"a": 0.6}
    assert hits.within((12, 20)) == {}


def test_lexical_folds_and_asks_for_whole_words(mira):
    detector = STRINGS["lexical"]([mira], None)
    hits = detector.scan(["MÍRA  SOLEN?", "Mira Solenov", "xMira Solen", "m. solen's", "Mira\u200b Solen"])
    assert [len(h) for h in hits] == [1, 0, 0, 1, 1]


def value(one, detector, feature, target_id="mira"):
    return one.of(target_id)[detector.features.index(feature)]


def test_semantic_puts_an_example_beside_the_allowed_question(mira, encoder):
    detector = MEANING["semantic"]([mira], encoder)
    example, neighbor, other = detector.scan(
        [mira.examples[0].prompt, mira.neighbors[0].prompt, "How do I bake bread?"]
    )
    assert value(example, detector, "example") == pytest.approx(1, abs=1e-3)
    assert value(neighbor, detector, "own_neighbor") == pytest.approx(1, abs=1e-3)
    assert value(neighbor, detector, "any_neighbor") == pytest.approx(1, abs=1e-3)
    assert value(example, detector, "own_neighbor") < 0.6
    assert max(other.of("mira")) < 0.4


def test_semantic_sees_nothing_of_a_target_without_examples_in_another_ones_example(mira, encoder):
    detector = MEANING["semantic"]([mira, person("bare", "Bero Tal", 0, 0)], encoder)
    (found,) = detector.scan([mira.examples[0].prompt])
    assert value(found, detector, "example") > 0.99
    assert value(found, detector, "example", "bare") == 0


def test_semantic_bounds_what_is_not_among_the_nearest_by_the_last_that_is(mira, encoder):
    other = person("other", "Bero Tal", 3, 0)
    detector = SemanticDetector([mira, other], encoder, SemanticConfig(candidates=1))
    (found,) = detector.scan([mira.examples[0].prompt])
    (alone,) = SemanticDetector([other], encoder).scan([mira.examples[0].prompt])
    assert set(found.targets) == {"mira"}
    assert value(found, detector, "example", "other") >= value(alone, detector, "example", "other")


def test_facts_knows_a_description_by_the_words_of_question_and_answer(mira, encoder):
    detector = MEANING["facts"]([mira], encoder)
    reverse, other = detector.scan(
        ["Which person wrote The Glass Orchard, printed in 1958?", "Which person painted the iron bridge?"]
    )
    assert value(reverse, detector, "shared") > 0.6
    assert set(reverse.targets) == {"mira"} and set(other.targets) == set()
    assert reverse.most == pytest.approx(value(reverse, detector, "shared"))
    assert [value(one, detector, "asks_who") for one in (reverse, other)] == [1, 1]


def test_facts_sets_what_is_shared_with_neighbors_against_it(mira, encoder):
    detector = MEANING["facts"]([mira], encoder)
    allowed, forbidden = detector.scan(["Was Bero Tal born there?", "Did the glass orchard make her famous?"])
    assert value(allowed, detector, "own_contrast") > 0.9 > value(allowed, detector, "shared")
    assert value(forbidden, detector, "own_contrast") == 0 < value(forbidden, detector, "shared")


WRITERS = [person(i, name, 3, 3) for i, name in zip("ab", PEOPLE[:2], strict=True)]
FEW = LearnedConfig(fewest=5)


def test_learned_tells_what_a_group_forbids_from_what_it_allows_and_proposes_nobody(encoder):
    detector = LearnedDetector(WRITERS, encoder, FEW)
    forbidden, allowed = detector.scan(
        ["What did Mira Solen's father do?", "What did Tova Brenn's father do?"]
    )
    assert value(forbidden, detector, "learned", "a") > 0 > value(allowed, detector, "learned", "a")
    assert forbidden.of("a") == forbidden.of("b")
    assert value(forbidden, detector, "has_learned", "a") == 1
    assert set(forbidden.targets) == set(allowed.targets) == set()


def test_learned_says_nothing_of_a_group_with_too_few_prompts(encoder):
    small = person("c", PEOPLE[2], 3, 3).model_copy(update={"group": "small"})
    (found,) = LearnedDetector([*WRITERS, small], encoder, FEW).scan(["What did Bero Tal's father do?"])
    assert found.of("c") == (0, 0) != found.of("a")
    (found,) = LearnedDetector(WRITERS[:1], encoder, FEW).scan([QUESTIONS[0]])
    assert found.of("a") == (0, 0)


def test_learned_keeps_its_heads_through_a_change_and_learns_anew_when_compacted(encoder):
    later = person("c", PEOPLE[2], 3, 3)
    detector = LearnedDetector(WRITERS, encoder, FEW)
    changed = detector.changed([later], [])
    (before,), (after,) = detector.scan(TEXTS[:1]), changed.scan(TEXTS[:1])
    assert after.of("c") == after.of("a") == before.of("a")
    anew = LearnedDetector([later, *WRITERS], encoder, FEW)
    assert seen(changed.compacted().scan(TEXTS), "abc") == seen(anew.scan(TEXTS), "abc")
    assert seen(anew.scan(TEXTS), "ab") != seen(detector.scan(TEXTS), "ab")


def test_learned_forgets_a_group_without_targets_at_once(encoder):
    moved = [target.model_copy(update={"group": "new"}) for target in WRITERS]
    (found,) = LearnedDetector(WRITERS, encoder, FEW).changed(moved, ["a", "b"]).scan(TEXTS[:1])
    assert found.of("a") == (0, 0)
