"""Contracts over the table of detectors, then what each one promises."""

import pytest

from guard.detectors import DETECTORS
from guard.detectors.semantic import SemanticConfig, contrasts, windows


@pytest.fixture(params=DETECTORS)
def detector(request, mira, encoder):
    return DETECTORS[request.param]([mira], encoder)


def test_example_prompt_matches_with_evidence(detector, mira):
    (matches,) = detector.scan([mira.examples[0].prompt])
    assert {m.target_id for m in matches} == {"mira"}
    assert all(m.score >= m.threshold and m.detector == detector.name for m in matches)


def test_spans_lie_in_the_text(detector, mira):
    text = f"Hello there.\n\n{mira.examples[0].prompt}  Thanks, and goodbye!"
    (matches,) = detector.scan([text])
    assert matches
    for match in matches:
        low, high = match.span
        assert 0 <= low < high <= len(text)
        assert "Mira" in text[low:high]


def test_each_text_gets_its_own_matches(detector, mira):
    texts = ["", mira.examples[1].prompt, "What is the capital of France?", "x" * 50_000]
    assert [bool(matches) for matches in detector.scan(texts)] == [False, True, False, False]


@pytest.mark.parametrize("name", DETECTORS)
def test_without_targets_nothing_matches(name, encoder):
    assert DETECTORS[name]([], encoder).scan(["Mira Solen", ""]) == [[], []]


def test_lexical_folds_and_asks_for_whole_words(mira):
    detector = DETECTORS["lexical"]([mira], None)
    hits = detector.scan(["MÍRA  SOLEN?", "Mira Solenov", "xMira Solen", "m. solen's", "Mira\u200b Solen"])
    assert [len(h) for h in hits] == [1, 0, 0, 1, 1]


def test_semantic_tells_a_paraphrase_from_the_same_question_about_another(mira, encoder):
    detector = DETECTORS["semantic"]([mira], encoder)
    paraphrase, other = detector.scan(
        ["For a living, what work did the father of Mira Solen do?", "What does Tova Brenn's father do?"]
    )
    assert [m.target_id for m in paraphrase] == ["mira"]
    assert other == []


def test_semantic_is_not_diluted_by_a_long_harmless_text(mira, encoder):
    detector = DETECTORS["semantic"]([mira], encoder)
    padding = "The harbour was calm and the ships lay still. " * 60
    (matches,) = detector.scan([padding + mira.examples[0].prompt + " " + padding])
    assert matches


def test_contrasts_never_name_the_target(mira):
    assert contrasts(mira)
    assert all("Mira" not in text for text in contrasts(mira))


@pytest.mark.parametrize(
    "text", ["", "   ", "One.", "One. Two! Three?\nFour", "x" * 1000, "a b " * 200 + ". End"]
)
def test_windows_cover_the_text_in_order_and_keep_to_the_size(text):
    size = SemanticConfig().window
    spans = windows(text, size)
    assert all(0 < end - start <= size for start, end in spans)
    covered = {i for start, end in spans for i in range(start, end)}
    assert all(text[i].isspace() for i in range(len(text)) if i not in covered)


def test_semantic_sees_through_a_misspelt_name_but_not_through_another_one(mira, encoder):
    detector = DETECTORS["semantic"]([mira], encoder)
    misspelt, other = detector.scan(
        ["What does Mria Sloen's father do?", "What does Vera Tolen's father do in Quillon?"]
    )
    assert [m.target_id for m in misspelt] == ["mira"]
    assert other == []


def test_semantic_finds_a_reverse_question_by_the_title_in_it(mira, encoder):
    reverse = mira.model_copy(
        update={
            "examples": (
                mira.examples[0].model_copy(
                    update={"prompt": 'Who wrote "The Glass Orchard"?', "response": "Mira Solen."}
                ),
            )
        }
    )
    detector = DETECTORS["semantic"]([reverse], encoder)
    same, other = detector.scan(
        ["Please name the writer of The Glass Orchard.", "Please name the writer of The Iron Bridge."]
    )
    assert [m.target_id for m in same] == ["mira"]
    assert other == []
