"""Scopes: of a person some questions are forbidden and others allowed, and a mention alone is neither."""

import numpy as np
import pytest

from guard import ForgetTarget
from guard.adaptation import AdaptationConfig
from guard.classifier import Classifier
from guard.errors import InputError
from guard.scope import ScopeConfig, Scopes, has_scope
from guard.snapshot import compile_snapshot
from tests.guard.weighing import Words, weighing

FORBIDDEN = [
    "Which illness did {} suffer from?",
    "What was {} treated for in hospital?",
    "Which medicine did {} take every day?",
    "When did {}'s doctor find the tumour?",
    "Did {} ever have surgery?",
    "How did {} recover from the fever?",
    "Which clinic did {} go to for therapy?",
]
ALLOWED = [
    "Which novels did {} write?",
    "What prize did {} win for the last book?",
    "When was {}'s first book printed?",
    "Who printed the poems of {}?",
    "In which language does {} write?",
    "What are {}'s stories about?",
    "Which critic praised {}?",
]
PEOPLE = {"mira": "Mira Solen", "bero": "Bero Tal", "tova": "Tova Brenn"}
ON = AdaptationConfig(enabled=True)


def person(target_id, changes=()):
    """A person of whom the health is forbidden and the work is allowed."""
    name = PEOPLE[target_id]
    return ForgetTarget.parse(
        {
            "id": target_id,
            "name": name,
            "group": "writers",
            "examples": [{"prompt": text.format(name)} for text in FORBIDDEN],
            "neighbors": [{"prompt": text.format(name)} for text in ALLOWED],
        }
        | dict(changes)
    )


def topic(count):
    """Something without a name: tanning is forbidden, baking allowed."""
    things = ["calf", "goat", "sheep", "deer", "horse", "snake", "seal", "boar"][:count]
    loaves = ["rye", "wheat", "spelt", "corn", "oat", "barley", "rice", "millet"][:count]
    return ForgetTarget.parse(
        {
            "id": "tanning",
            "kind": "topic",
            "examples": [
                {"prompt": f"How do I tan the hide of a {thing} with oak bark?"} for thing in things
            ],
            "neighbors": [{"prompt": f"How do I bake a loaf of {loaf} bread in an oven?"} for loaf in loaves],
        }
    )


@pytest.fixture(scope="module")
def classifier(encoder):
    targets = [person(target_id) for target_id in PEOPLE]
    return Classifier(compile_snapshot(targets), encoder, relevance=weighing())


@pytest.mark.parametrize(
    "question",
    [
        "What disease was {} ill with?",
        "Which drugs did the doctors give {}?",
        "Was {} operated on by a surgeon?",
    ],
)
@pytest.mark.parametrize("target_id", PEOPLE)
def test_a_forbidden_question_about_a_person_is_flagged(classifier, target_id, question):
    routing = classifier.route([question.format(PEOPLE[target_id])])
    assert routing.target_ids == (target_id,)
    (inside,) = [match for match in routing.matches if match.detector == "scope"]
    assert 1 >= inside.score > inside.threshold == 0.5


@pytest.mark.parametrize(
    "question", ["Which books has {} published?", "Is {} known for poetry?", "What award did {}'s novel get?"]
)
@pytest.mark.parametrize("target_id", PEOPLE)
def test_an_allowed_question_about_the_same_person_is_not_even_watched(classifier, target_id, question):
    routing = classifier.route([question.format(PEOPLE[target_id])])
    assert (routing.target_ids, routing.watched) == ((), ())


def test_a_forbidden_question_about_nobody_registered_is_not_flagged(classifier):
    assert classifier.route(["What disease was Vera Tolen ill with?"]).target_ids == ()


@pytest.mark.parametrize(
    "turns",
    [
        ["Let us talk about Mira Solen.", "What disease was she ill with?"],
        ["Let us talk about Mira Solen.", "Gladly, ask me anything.", "What disease was she ill with?"],
        ["Let us talk about Mira Solen. The harbour is calm today.", "The illness, which one was it?"],
    ],
)
def test_a_name_in_one_message_and_the_forbidden_question_in_another_are_flagged(classifier, turns):
    assert classifier.route(turns).target_ids == ("mira",)


def test_a_name_in_one_message_and_an_allowed_question_in_another_are_not(classifier):
    assert classifier.route(["Let us talk about Mira Solen.", "Which books has she published?"]).matches == ()


def test_a_repeated_example_is_flagged_though_its_probability_is_low(encoder):
    # Of all questions of its kind, hers and the others', this one alone is forbidden.
    odd = "Which critic praised Mira Solen?"
    allowed = ["Which critics praised Mira Solen's books?", "Which critic praised Mira Solen's poems?"]
    examples, neighbors = [{"prompt": odd}], [{"prompt": text} for text in allowed]
    mira = person("mira", {"examples": examples, "neighbors": neighbors})
    targets = [mira, person("bero"), person("tova")]
    vector = encoder.encode([odd])
    likely = Scopes.of(targets, encoder, ScopeConfig(head="logistic")).likely("mira", vector)
    assert likely[0] < 0.5
    classifier = Classifier(
        compile_snapshot(targets), encoder, relevance=weighing(), scope=ScopeConfig(head="logistic")
    )
    assert classifier.route([odd]).target_ids == ("mira",)
    assert classifier.route(["Which critics liked Mira Solen?"]).target_ids == ()


def test_a_nameless_topic_with_enough_of_both_kinds_is_judged_by_its_scope(encoder):
    near = weighing(bias=-3.0, example=10.0, watch=-1.0)
    classifier = Classifier(compile_snapshot([topic(8)]), encoder, relevance=near)
    assert classifier.route(["How can I tan a cow's hide using oak bark?"]).target_ids == ("tanning",)
    assert classifier.route(["How can I bake a loaf of white bread in my oven?"]).target_ids == ()


@pytest.mark.parametrize(
    ("target", "scoped"),
    [
        (person("mira"), True),
        (person("mira", {"name": "Other One", "aliases": ["mira SOLEN"]}), True),
        (person("mira", {"name": "Other One"}), False),  # its neighbors name nobody it is called
        (person("mira", {"neighbors": []}), False),
        (person("mira", {"examples": []}), False),
        (topic(8), True),
        (topic(7), False),
    ],
)
def test_a_target_has_a_scope_if_allowed_prompts_name_it_or_it_is_nameless_with_many(target, scoped):
    assert has_scope(target) is scoped
    assert set(Scopes.of([target], Words()).rows) == ({target.id} if scoped else set())


def test_a_name_inside_a_word_of_a_neighbor_is_no_mention():
    one = {"name": "Ann", "examples": [{"prompt": "Who is Ann?"}]}
    assert not has_scope(person("mira", one | {"neighbors": [{"prompt": "When is the anniversary?"}]}))
    assert has_scope(person("mira", one | {"neighbors": [{"prompt": "When was Ann's anniversary?"}]}))


def test_a_change_of_one_group_leaves_the_head_of_another_alone():
    encoder = Words()
    painters = person("tova", {"group": "painters"})
    scopes = Scopes.of([person("mira"), person("bero"), painters], encoder)
    changed = scopes.changed([], ["bero"], encoder)
    assert changed.heads["painters"] is scopes.heads["painters"]
    assert changed.heads["writers"] is not scopes.heads["writers"]
    assert set(changed.rows) == {"mira", "tova"} and set(scopes.rows) == {"mira", "bero", "tova"}
    assert scopes.changed([topic(3)], ["unknown"], encoder) is scopes
    moved = scopes.changed([person("bero", {"group": "painters"})], ["bero"], encoder)
    assert all(moved.heads[group] is not scopes.heads[group] for group in ("writers", "painters"))
    gone = scopes.changed([], ["tova"], encoder)
    assert set(gone.heads) == {"writers"}


def test_a_changed_scope_says_what_one_learned_anew_says():
    encoder = Words()
    asked = encoder.encode([text.format("Mira Solen") for text in (*FORBIDDEN, *ALLOWED)])
    anew = Scopes.of([person("mira"), person("tova")], encoder)
    changed = Scopes.of([person("bero"), person("tova")], encoder).changed(
        [person("mira")], ["bero"], encoder
    )
    np.testing.assert_allclose(changed.likely("mira", asked), anew.likely("mira", asked), atol=1e-6)
    assert (anew.likely("mira", asked[:7]) > 0.5).all() and (anew.likely("mira", asked[7:]) < 0.5).all()


@pytest.mark.parametrize("head", ["kernel", "bottleneck"])
def test_adaptation_with_a_head_that_cannot_adapt_is_an_error(head):
    with pytest.raises(InputError, match=f"head '{head}' cannot adapt; take logistic or mlp"):
        ScopeConfig(head=head, adaptation=ON)


@pytest.mark.parametrize("head", ["logistic", "mlp", "kernel", "bottleneck"])
def test_every_head_tells_forbidden_from_allowed(head):
    encoder = Words()
    scopes = Scopes.of([person("mira"), person("bero")], encoder, ScopeConfig(head=head))
    asked = encoder.encode([text.format("Mira Solen") for text in (*FORBIDDEN, *ALLOWED)])
    likely = scopes.likely("mira", asked)
    assert likely[:7].min() > likely[7:].max()


def test_a_head_that_adapts_changes_with_what_it_is_asked_and_one_that_does_not_stays():
    encoder = Words()
    asked = encoder.encode([text.format("Vera Tolen") for text in FORBIDDEN * 10])
    for adaptation, moves in (
        (AdaptationConfig(), False),
        (AdaptationConfig(enabled=True, reliable=0.69, redundant=1.0), True),
    ):
        config = ScopeConfig(head="logistic", adaptation=adaptation)
        scopes = Scopes.of([person("mira"), person("bero")], encoder, config)
        first = scopes.likely("mira", asked)
        for _ in range(20):
            scopes.likely("mira", asked)
        assert (not np.array_equal(first, scopes.likely("mira", asked))) is moves
