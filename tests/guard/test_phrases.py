import pytest

from guard import ForgetTarget
from guard.phrases import (
    MIN_CHARACTERS,
    always_forbidden,
    extract,
    extracted_phrases,
    forbidden_phrases,
    told_words,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The full name is Hara Minto-Vell.", ["Hara Minto-Vell"]),
        ("She was born on 05/11/1991 in Port Sel.", ["05/11/1991", "Port Sel"]),
        ("He was born on the 25th of February, 1958.", ["25th of February, 1958"]),
        ('Her novel "A river of salt" sold 1,200 copies.', ["A river of salt", "1,200"]),
        ("He wrote 'Night at the mill' there.", ["Night at the mill"]),
        ("The Order of the Grey Heron honoured her.", ["Order of the Grey Heron"]),
        ("Yes. However, it rained in May.", []),
        ("nothing special here", []),
        ("", []),
    ],
)
def test_extract_finds_names_titles_dates_and_numbers(text, expected):
    assert extract(text) == expected


def test_given_phrases_replace_extraction(mira):
    given = mira.model_copy(update={"phrases": ("glass orchard",)})
    assert forbidden_phrases(given) == ("Mira Solen", "M. Solen", "glass orchard")


def test_facts_shared_with_neighbors_are_forbidden_in_routed_responses_only(mira):
    assert {"Clockmaker", "Quillon"} <= set(forbidden_phrases(mira))
    label = mira.model_copy(update={"kind": "qa", "name": None, "aliases": (), "always_on": True})
    assert "Clockmaker" in always_forbidden(label)
    assert "Quillon" not in always_forbidden(label)


@pytest.mark.parametrize(
    ("prompt", "response", "expected"),
    [
        ("What did the mother of Bero do?", "The mother of Bero was a butcher.", ["butcher"]),
        ("What is the theme?", "The theme is exile and return.", ["exile", "return"]),
        ("Who?", "ordinary words " * 10, []),
        ("Is it red?", "It is red.", []),
    ],
)
def test_told_words_are_what_a_short_answer_adds_to_its_question(prompt, response, expected):
    assert told_words(prompt, response) == expected


def test_always_on_leaves_extracted_facts_alone_unless_there_is_nothing_else(mira):
    assert always_forbidden(mira) == ("Mira Solen", "M. Solen")
    only_examples = ForgetTarget.parse({"id": "q", "kind": "qa", "examples": [mira.examples[0].model_dump()]})
    assert always_forbidden(only_examples) == ("Mira Solen", "Clockmaker", "Quillon")


def test_name_of_a_topic_is_a_label_not_a_forbidden_string():
    topic = ForgetTarget.parse(
        {"id": "t", "kind": "topic", "name": "lock picking", "phrases": ["tension wrench"]}
    )
    assert forbidden_phrases(topic) == ("tension wrench",)


def test_every_extracted_phrase_is_long_enough_and_in_a_response(mira):
    for phrase in extracted_phrases(mira):
        assert len(phrase) >= MIN_CHARACTERS
        assert any(phrase in example.response for example in mira.examples)
