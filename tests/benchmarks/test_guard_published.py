"""GUARD as published does what its paper says."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rival_fixtures import PERSON, ROWS, STEPS, VLLM, WORLD, chat, contains, model, tokenizer

from benchmarks.rivals.guard_published import (
    Answer,
    GuardPublished,
    PublishedConfig,
    last_word,
    ngrams,
)
from benchmarks.rivals.token_trie import TokenTrie
from guard.encoder import SentenceEncoder

pytestmark = VLLM
ENCODER = SentenceEncoder()


@cache
def published(**config) -> GuardPublished:
    stored = [Answer(row.id, row.answer) for row in WORLD.forget]
    return GuardPublished(model(), tokenizer(), stored, ENCODER, PublishedConfig(**config))


@pytest.mark.parametrize("delta", [0.5, math.inf], ids=["soft and hard match", "hard match alone"])
def test_published_guard_emits_no_phrase_of_the_retrieved_answer(delta):
    prompt, steps = chat(ROWS[0].question), 10
    plain = (
        model()
        .generate(torch.tensor([prompt]), max_new_tokens=steps, do_sample=False, pad_token_id=0)[
            0, len(prompt) :
        ]
        .tolist()
    )
    guarded, stats = published(delta=delta).generate(prompt, steps)
    answer = next(row.answer for row in WORLD.forget if row.id == stats.answer_id)
    forms = [
        tokenizer().encode(space + phrase, add_special_tokens=False)
        for phrase in ngrams(answer, 5)
        for space in ("", " ")
    ]
    assert any(contains(plain, form) for form in forms)
    assert not any(contains(guarded, form) for form in forms)
    assert PERSON in tokenizer().decode(plain)
    assert PERSON not in tokenizer().decode(guarded)
    assert stats.dropped_hard
    assert (stats.dropped_soft > 0) == (delta < 1)


def test_published_guard_retrieves_the_answer_and_counts_its_work():
    config = {"ignore_eos": True, "beams": 3}
    tokens, stats = published(**config).generate(chat(ROWS[0].question), 6)
    assert PERSON in next(row.answer for row in WORLD.forget if row.id == stats.answer_id)
    assert len(tokens) == 6
    # One beam of 6 candidates first, then at most three.
    assert 6 * 6 <= stats.candidates <= 6 + 5 * 18
    assert 0 < stats.encoder_calls <= 6 + 2
    assert 0 < stats.retrieval_seconds < stats.seconds


def test_published_guard_without_penalties_is_plain_beam_search():
    # Nothing of the stored answer is ever close to what is said.
    guard = GuardPublished(
        model(), tokenizer(), [Answer("x", "zzzz")], _Silent(), PublishedConfig(beams=4, delta=math.inf)
    )
    prompt = chat(WORLD.rows_of(WORLD.retain_people[0])[0].question)
    ours, _ = guard.generate(prompt, STEPS)
    theirs = model().generate(
        torch.tensor([prompt]),
        num_beams=4,
        max_new_tokens=STEPS,
        do_sample=False,
        length_penalty=0.0,
        pad_token_id=0,
    )
    assert list(ours) == theirs[0, len(prompt) :].tolist()


def test_published_guard_ends_where_every_continuation_is_forbidden():
    # Below every cosine: any word is too similar, and the end is not taken.
    tokens, stats = published(delta=-2.0, ignore_eos=True).generate(chat(ROWS[0].question), STEPS)
    assert stats.exhausted
    assert stats.dropped_soft
    assert len(tokens) < STEPS


class _Silent:
    """Vectors at right angles to each other by turns: no text resembles another."""

    def encode(self, texts):
        rows = np.zeros((len(texts), 2), dtype=np.float32)
        rows[:, 0 if list(texts) == ["zzzz"] else 1] = 1
        return rows


@pytest.mark.parametrize("length", range(1, 12))
@pytest.mark.parametrize("beta", [1.0, 0.5, 0.3])
def test_hard_match_forbids_from_the_stated_fraction_of_a_phrase(length, beta):
    trie, active = TokenTrie([range(100, 100 + length)], beta), ()
    active, forbidden = trie.advance(active, 7)
    assert not forbidden
    for count in range(1, length + 1):
        active, forbidden = trie.advance(active, 99 + count)
        assert forbidden == (count >= math.ceil(round(beta * length, 9)))


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=4), min_size=1, max_size=4),
    st.lists(st.integers(0, 2), max_size=8),
    st.sampled_from([1.0, 0.5]),
)
def test_hard_match_equals_comparing_every_end_with_every_beginning(phrases, tokens, beta):
    trie, active = TokenTrie(phrases, beta), ()
    for end in range(1, len(tokens) + 1):
        active, forbidden = trie.advance(active, tokens[end - 1])
        matched = [
            size / len(phrase)
            for phrase in phrases
            for size in range(1, min(end, len(phrase)) + 1)
            if tokens[end - size : end] == phrase[:size]
        ]
        assert forbidden == any(fraction >= beta for fraction in matched)


def test_phrases_are_all_runs_of_up_to_five_words():
    found = ngrams("Ann Bo was born in Quillon.", 5)
    assert len(found) == 6 + 5 + 4 + 3 + 2
    assert {"Ann", "Quillon", "was born in Quillon", "Ann Bo was born in"} <= set(found)
    assert "Ann Bo was born in Quillon" not in found


@pytest.mark.parametrize(
    ("text", "word"), [("was bor", "bor"), ("was ", ""), ("in Quillon.", "Quillon"), ("", ""), ("a -", "")]
)
def test_last_word_may_be_unfinished(text, word):
    assert last_word(text) == word
