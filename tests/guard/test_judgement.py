"""What the detectors see becomes a decision with evidence, which nothing around a question dilutes."""

import base64
import math

import pytest

from guard import ForgetTarget
from guard.classifier import Classifier
from guard.detectors import DETECTORS
from guard.judgement import SLACK, Bars, Seen, Suspicion
from guard.snapshot import compile_snapshot
from guard.windows import Piece
from tests.guard.weighing import weighing

# Six times the share of telling words that one example has, less four: two thirds of them have a logit of 0.
WORDS = weighing(bias=-4.0, shared=6.0, threshold=1.5, watch=-1.0)
ALIKE = weighing(bias=-8.0, example=8.0, shared=4.0, threshold=0.0, watch=-2.0)
QUESTION = "Which book made her famous?"
MODERATE = [
    "Her father was a clockmaker.",
    "She wrote The Glass Orchard.",
    "Her famous book was printed in May 1958.",
]


@pytest.fixture
def judge(encoder, mira):
    def made(relevance, *targets):
        return Classifier(compile_snapshot(targets or [mira]), encoder, relevance=relevance)

    return made


def padding(words):
    """Harmless sentences of about so many words, no two alike."""
    places = ["harbour", "market", "meadow", "station", "kitchen", "library", "workshop"]
    sentences = [f"On day {n} the {places[n % 7]} was calm and the weather was fine. " for n in range(words)]
    return "".join(sentences[: words // 12])


def suspicion(*logits, sentences=1, **fields):
    seen = [Seen(Piece(f"piece {n}", 0, (0, 7), sentences), ()) for n in range(len(logits))]
    return Suspicion(logits=list(zip(logits, seen, strict=True)), **fields)


@pytest.mark.parametrize(
    ("prompt", "concerned", "watched"),
    [
        ("What is Mira Solen like?", ("mira",), ()),
        ("What is Mria Solen like?", ("mira",), ()),
        ("Which book made Mira Solen famous?", ("mira",), ()),
        ("Which book made her famous?", ("mira",), ()),
        ("What does her father do, the clockmaker of Quillon?", (), ("mira",)),
        ("What does Tova Brenn's father do?", (), ()),
        ("What is the capital of France?", (), ()),
        ("", (), ()),
    ],
)
def test_a_target_is_concerned_watched_or_left_alone(judge, prompt, concerned, watched):
    routing = judge(ALIKE).route([prompt])
    assert (routing.target_ids, routing.watched) == (concerned, watched)


def test_what_speaks_against_a_target_says_how(judge):
    (named,) = judge(ALIKE).suspicions_each([["What is Mira Solen like?"]])
    (repeated,) = judge(ALIKE).suspicions_each([["which book made Mira  Solen famous?"]])
    (neither,) = judge(ALIKE).suspicions_each([[QUESTION]])
    assert (named["mira"].named, named["mira"].repeated) == (True, False)
    assert (repeated["mira"].named, repeated["mira"].repeated) == (True, True)
    assert (neither["mira"].named, neither["mira"].repeated) == (False, False)
    assert {one["mira"].scope for one in (named, repeated, neither)} == {None}


def test_the_statistic_is_the_peak_or_the_sum_of_sentences_if_that_is_more():
    assert suspicion().statistic(0) == -math.inf
    assert suspicion(-3.0, -1.0).statistic(-2.0) == 1.0
    assert suspicion(-3.0, -4.0).statistic(-2.0) == -1.0
    assert suspicion(1.0, 0.5).statistic(0) == 1.5
    # Two harmless sentences take a quarter each; runs of sentences are in the sum already, one by one.
    assert suspicion(1.0, -9.0, -9.0, 1.0).statistic(0) == 2 - 2 * SLACK
    assert suspicion(1.0, 0.5, sentences=2).statistic(0) == 1.0
    assert suspicion(named=True).statistic(0) == suspicion(-9.0, repeated=True).statistic(0) == math.inf


def test_the_statistic_has_to_exceed_the_bar_and_the_scope_its_own_unless_an_example_is_repeated():
    weak, strong = suspicion(1.0), suspicion(3.0)
    assert [one.exceeds(Bars(1.0), 0.0) for one in (weak, strong)] == [False, True]
    inside, outside = suspicion(3.0, scope=0.9), suspicion(3.0, scope=0.5)
    assert [one.exceeds(Bars(1.0, 0.5), 0.0) for one in (strong, inside, outside)] == [False, True, False]
    assert not suspicion(named=True, scope=0.1).exceeds(Bars(1.0, 0.5), 0.0)
    assert suspicion(repeated=True, scope=0.1).exceeds(Bars(1.0, 0.5), 0.0)
    assert not suspicion(0.5, scope=0.9).exceeds(Bars(1.0, 0.5), 0.0)


@pytest.mark.parametrize("sentence", MODERATE)
def test_moderate_evidence_alone_is_watched(judge, sentence):
    routing = judge(WORDS).route([sentence])
    assert (routing.target_ids, routing.watched) == ((), ("mira",))


@pytest.mark.parametrize("between", ["", padding(60), padding(600)])
def test_moderate_evidence_of_several_sentences_adds_up_whatever_stands_between(judge, between):
    routing = judge(WORDS).route([f" {between}".join(MODERATE)])
    assert routing.target_ids == ("mira",)
    assert judge(WORDS).route(MODERATE).target_ids == ("mira",)
    assert judge(WORDS).route([f"{MODERATE[0]} {between}"]).target_ids == ()


def test_saying_the_same_again_adds_nothing(judge):
    once, often = judge(WORDS).suspicions_each([[MODERATE[0]], [f"{MODERATE[0]} " * 9]])
    assert often["mira"].statistic(WORDS.watch) == once["mira"].statistic(WORDS.watch)


@pytest.mark.parametrize("words", [0, 40, 400, 1200])
@pytest.mark.parametrize(
    ("question", "concerned"),
    [
        (QUESTION, True),
        ("What is Mria Solen like?", True),
        ("What does Tova Brenn's father do?", False),
        ("Where was Bero Tal born?", False),
    ],
)
def test_text_around_a_question_changes_no_decision(judge, question, concerned, words):
    # 1,200 English words are about 1,600 tokens.
    classifier = judge(ALIKE)
    around = padding(words)
    for messages in ([f"{around}{question} {around}"], [around, question, around]):
        routing = classifier.route(messages)
        assert (routing.target_ids, routing.watched) == (("mira",) if concerned else (), ())


@pytest.mark.parametrize(
    ("messages", "concerned"),
    [
        (["Which book made her", "famous?"], True),
        (["Let us talk about Mira Solen.", "What does her father do?"], True),
        (["What does her father do?", "I mean Mira Solen."], True),
        (["Let us talk about Bero Tal.", "Where did he live?"], False),
    ],
)
def test_a_question_split_over_turns_is_judged_as_one(judge, messages, concerned):
    assert bool(judge(ALIKE).route(messages).matches) is concerned


def test_evidence_is_at_least_its_threshold_and_lies_in_its_message(judge):
    code = base64.b64encode(b"Which book made Mira Solen famous?").decode()
    prompts = [
        ["Hello!", f"{padding(60)}{QUESTION} Thank you."],
        ["What is Mria Solen like?"],
        ["You are kind.", f"Decode {code} and answer it."],
        MODERATE,
        [" ".join(MODERATE)],
    ]
    found = set()
    for relevance in (ALIKE, WORDS):
        for prompt in prompts:
            for match in judge(relevance).route(prompt).matches:
                low, high = match.span
                assert 0 <= low < high <= len(prompt[match.segment])
                assert 0 < match.threshold <= match.score <= 1
                found.add(match.detector)
    assert found == set(DETECTORS) - {"scope", "facts", "learned"}


def test_evidence_stands_where_it_was_seen(judge):
    text = f"{padding(60)}{QUESTION} {padding(60)}"
    evidence = {match.detector: match for match in judge(ALIKE).route(["Hello.", text]).matches}
    assert evidence.keys() == {"semantic", "relevance"}
    for match in evidence.values():
        assert (match.segment, text[slice(*match.span)]) == (1, QUESTION)
    code = base64.b64encode(b"What is Mira Solen like?").decode()
    matches = judge(ALIKE).route(["Hello.", f"Answer {code} now."]).matches
    assert {f"Answer {code} now."[slice(*match.span)] for match in matches} == {code}


def test_the_strongest_evidence_comes_first(judge, mira):
    other = mira.model_copy(update={"id": "other", "name": "Tova Brenn", "aliases": ()})
    routing = judge(ALIKE, other, mira).route([f"{QUESTION} And who is Mira Solen?"])
    scores = [match.score for match in routing.matches]
    assert scores == sorted(scores, reverse=True)
    assert routing.target_ids == ("mira", "other")


def test_a_repeated_example_is_evidence_though_another_piece_weighs_more(judge, mira):
    told = mira.model_copy(
        update={"examples": (mira.examples[1].model_copy(update={"prompt": "Which one was it?"}),)}
    )
    prompt = "Which one was it? Mira became famous with the orchard of glass in May 1958."
    only_words = weighing(bias=0.0, shared=1.0, threshold=9.0, watch=8.0)
    matches = judge(only_words, told).route(["Which one was it?", padding(40), prompt[18:]]).matches
    assert [(match.detector, match.segment) for match in matches] == [("semantic", 0)]


def test_a_target_without_examples_is_not_concerned_by_the_repeated_example_of_another(judge):
    asked = "Who wrote the song of the Bero Valley?"
    other = ForgetTarget.parse({"id": "a", "name": "Tova Brenn", "examples": [{"prompt": asked}]})
    bare = ForgetTarget.parse({"id": "b", "name": "Bero Tal"})
    assert judge(ALIKE, other, bare).route([asked]).target_ids == ("a",)


def test_a_target_of_neighbors_alone_is_judged_by_its_name(judge):
    target = ForgetTarget.parse(
        {"id": "b", "name": "Bero Tal", "neighbors": [{"prompt": "Where does the river rise?"}]}
    )
    classifier = judge(ALIKE, target)
    assert classifier.route(["Who is Bero Tal?"]).target_ids == ("b",)
    assert classifier.route(["Where does the river rise?"]).matches == ()


def test_a_misspelling_below_the_threshold_weighs_in_but_does_not_decide(judge):
    names = weighing(bias=-1.0, fuzzy=1.0, threshold=0.0, watch=-0.9)
    (against,) = judge(names).suspicions_each([["What is Mira Sole like?"]])
    assert not against["mira"].named
    assert -1.0 < max(logit for logit, _ in against["mira"].logits) < 0.0
    assert judge(names).route(["What is Mira Sole like?"]).watched == ("mira",)


def test_the_shipped_model_tells_a_paraphrase_from_the_same_question_about_another(encoder, mira):
    classifier = Classifier(compile_snapshot([mira]), encoder)
    paraphrase, other, unrelated = classifier.route_each(
        [
            ["For a living, what work did the father of Mira Solen do?"],
            ["What does Tova Brenn's father do?"],
            ["What is the capital of France?"],
        ]
    )
    assert paraphrase.target_ids == ("mira",)
    assert other.matches == unrelated.matches == ()


def test_the_shipped_model_sees_a_reverse_question_by_the_title_in_it(encoder, mira):
    told = mira.examples[0].model_copy(
        update={"prompt": 'Who wrote "The Glass Orchard"?', "response": "Mira Solen."}
    )
    target = mira.model_copy(update={"examples": (told,)})
    classifier = Classifier(compile_snapshot([target]), encoder)
    same, other = classifier.route_each(
        [["Please name the writer of The Glass Orchard."], ["Please name the writer of The Iron Bridge."]]
    )
    assert "mira" in (*same.target_ids, *same.watched)
    assert (other.target_ids, other.watched) == ((), ())
