"""Pieces: whatever stands around a question, the question is a piece, and nothing is left out."""

import base64
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from guard.windows import LONGEST, RUN, Passage, Piece, passages, pieces

QUESTION = "Where did the clockmaker of Quillon live?"
# Numbered words, so that no two sentences and no two cuts of one are the same text.
SENTENCES = st.lists(
    st.tuples(st.integers(1, 90), st.sampled_from([". ", "! ", "?  ", "\n", "。", ".\n\n"])), max_size=12
)


def written(sentences, mark="w"):
    return "".join(
        " ".join(f"{mark}{i}x{j}" for j in range(words)) + end for i, (words, end) in enumerate(sentences)
    )


def cut(*messages):
    return pieces([Passage(text, number) for number, text in enumerate(messages)])


def covered(found, passage):
    """How often each character of a passage is covered."""
    return Counter(
        i for piece in found if piece.cover and piece.passage == passage for i in range(*piece.span)
    )


@given(st.lists(SENTENCES, max_size=3))
def test_cover_pieces_cover_everything_and_ordinary_sentences_exactly_once(messages):
    texts = [written(sentences, "abc"[number]) for number, sentences in enumerate(messages)]
    found = cut(*texts)
    for number, (text, sentences) in enumerate(zip(texts, messages, strict=True)):
        times = covered(found, number)
        seen = [times[i] for i, char in enumerate(text) if not char.isspace()]
        assert all(seen)
        if all(words <= 40 for words, _ in sentences):  # none is cut, and cuts overlap
            assert set(seen) <= {1}


@given(st.lists(st.one_of(st.text(max_size=60), SENTENCES.map(written)), max_size=3))
def test_pieces_stand_where_they_say_and_keep_to_the_size(texts):
    for piece in cut(*texts):
        low, high = piece.span
        text = texts[piece.passage]
        assert 0 <= low < high <= len(text) and piece.text.strip()
        assert 1 <= piece.sentences <= RUN
        assert len(piece.text) <= LONGEST + RUN - 1  # a space between sentences
        if piece.sentences == 1:
            assert piece.text == text[low:high]
        elif piece.cover:
            assert piece.text.split()[-1] in text[low:high]


@given(st.lists(st.text(max_size=80), max_size=3))
def test_no_text_comes_twice_in_a_passage(texts):
    found = cut(*(text * 2 for text in texts))
    assert max(Counter((piece.passage, piece.text) for piece in found).values(), default=1) == 1


@given(SENTENCES, SENTENCES)
def test_a_question_is_a_piece_by_itself_whatever_stands_around(before, after):
    before = [
        (max(words, 4), end) for words, end in before
    ]  # what is too short to stand alone joins the next
    text = f"{written(before, 'before')}{QUESTION} {written(after, 'after')}"
    (own,) = [piece for piece in cut(text) if piece.text == QUESTION]
    assert text[slice(*own.span)] == QUESTION


def test_runs_of_two_and_three_sentences_go_on_into_the_next_message():
    found = cut("Tell me about Mira Solen.", "She has a father, I think.", "What does he do for a living?")
    texts = {piece.text: piece for piece in found}
    two = texts["Tell me about Mira Solen. She has a father, I think."]
    assert (two.passage, two.span, two.sentences, two.cover) == (0, (0, 25), 2, False)
    three = texts["Tell me about Mira Solen. She has a father, I think. What does he do for a living?"]
    assert (three.passage, three.span, three.sentences) == (0, (0, 25), 3)
    assert [piece.text for piece in found if piece.cover] == [
        "Tell me about Mira Solen.",
        "She has a father, I think.",
        "What does he do for a living?",
    ]


def test_a_long_sentence_is_cut_so_that_half_a_piece_lies_whole_in_one():
    text = written([(200, "")])
    found = cut(text)
    assert all(len(piece.text) <= LONGEST for piece in found)
    half = LONGEST // 2
    assert all(any(text[i : i + half] in piece.text for piece in found) for i in range(len(text) - half))


def test_a_short_sentence_joins_the_next_and_a_last_one_stands_alone():
    found = cut("Yes. No. I never met the clockmaker there. Why?")
    assert [piece.text for piece in found if piece.sentences == 1] == [
        "Yes. No. I never met the clockmaker there.",
        "Why?",
    ]
    assert cut("", " \n ", "?") == [Piece("?", 2, (0, 1), cover=True)]


def code(text):
    return base64.b64encode(text.encode()).decode()


def test_what_a_code_says_is_a_passage_with_the_place_of_the_code():
    message = f"Please answer what this says: {code(QUESTION)} and be brief."
    found = passages(["Hello there.", message])
    assert found[:2] == [Passage("Hello there.", 0), Passage(message, 1)]
    (decoded,) = [one for one in found if one.text == QUESTION]
    assert decoded.segment == 1
    low, high = decoded.place((3, 7))
    assert message[low:high].strip() == code(QUESTION)
    assert found[1].place((3, 7)) == (3, 7)
    own = [piece for piece in pieces(found) if piece.text == QUESTION]
    assert [found[piece.passage] for piece in own] == [decoded]


def test_a_code_late_in_a_long_message_is_decoded_in_its_place():
    message = written([(60, ". ")] * 40) + code(QUESTION)
    assert len(message) > 10_000
    (place,) = {one.span for one in passages([message]) if one.text == QUESTION}
    assert message[slice(*place)].strip() == code(QUESTION)


def test_a_message_full_of_codes_is_decoded_to_the_last():
    questions = [f"Where did number {i} of the clockmakers live?" for i in range(100)]
    message = "\n".join(code(question) for question in questions)
    assert {*questions} <= {one.text for one in passages([message])}
