"""The rival methods really do what the decode benchmark measures them for."""

import codecs
from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rival_fixtures import PHRASES, ROWS, STEPS, VLLM, WORLD, chat, contains, tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from guard.reference import build, path
from guard.vocabulary import Vocabulary

pytestmark = VLLM


def spelt(text: str, phrases=PHRASES) -> list[str]:
    return [phrase for phrase in phrases if phrase in text]


@contextmanager
def engine(processor=None, **rival):
    from vllm import LLM

    llm = LLM(
        str(path("nano-full")),
        enforce_eager=True,
        max_model_len=256,
        max_num_seqs=4,  # fewer than the requests, so that rows finish, move and are taken over
        disable_log_stats=True,
        seed=0,
        logits_processors=[processor] if processor else None,
        additional_config={"rival": rival} if rival else {},
    )
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()


def answers(llm, params) -> list[str]:
    """The responses to all questions, in one batch."""
    prompts = [{"prompt_token_ids": chat(row.question)} for row in ROWS]
    return [output.outputs[0].text for output in llm.generate(prompts, params, use_tqdm=False)]


def lengths(**more) -> list:
    """Greedy parameters of a different length per question."""
    from vllm import SamplingParams

    return [
        SamplingParams(temperature=0, max_tokens=STEPS + i, ignore_eos=True, **more) for i in range(len(ROWS))
    ]


# vLLM's own


@pytest.fixture(scope="module")
def bare():
    with engine() as llm:
        yield llm


@pytest.mark.engine
def test_the_bare_engine_spells_the_phrases(bare):
    said = answers(bare, lengths())
    assert all(spelt(text) for text in said)
    assert {phrase for text in said for phrase in spelt(text)} == set(PHRASES)


@pytest.mark.engine
def test_bad_words_keep_out_their_own_tokenisations_beyond_the_usual_limit(bare, monkeypatch):
    from vllm import envs

    from benchmarks.rivals.bad_words import bad_words_params

    monkeypatch.setenv("VLLM_MAX_NUM_BAD_WORDS", "128")
    monkeypatch.setenv("VLLM_MAX_BAD_WORDS_TOTAL_TOKENS", "1024")
    # vLLM drops the form with a space where it is longer, so that both forms are given here.
    words = [*(f" {phrase}" for phrase in PHRASES), *PHRASES]
    filler = [f"{person} {number}" for person in WORLD.people for number in range(10)]
    params = bad_words_params([*words, *filler], bare.get_tokenizer(), temperature=0, max_tokens=STEPS)
    assert 2 * len(filler) <= envs.VLLM_MAX_NUM_BAD_WORDS
    prompts = [{"prompt_token_ids": chat(row.question)} for row in ROWS]
    outputs = bare.generate(prompts, params, use_tqdm=False)
    params.update_from_tokenizer(bare.get_tokenizer())
    assert len(params.bad_words_token_ids) > 128
    for output in outputs:
        assert not any(contains(output.outputs[0].token_ids, word) for word in params.bad_words_token_ids)


def test_raising_the_limits_never_lowers_them(monkeypatch):
    from vllm import envs

    from benchmarks.rivals.bad_words import raise_limits

    monkeypatch.setenv("VLLM_MAX_NUM_BAD_WORDS", "5000")
    monkeypatch.setenv("VLLM_MAX_BAD_WORDS_TOTAL_TOKENS", "1")
    raise_limits(PHRASES, tokenizer())
    assert envs.VLLM_MAX_NUM_BAD_WORDS == 5000
    assert 2 * len(PHRASES) <= envs.VLLM_MAX_BAD_WORDS_TOTAL_TOKENS


# pyahocorasick


@pytest.fixture(scope="module")
def aho_corasick():
    from benchmarks.rivals.pyahocorasick import AhoCorasickProcessor

    with engine(AhoCorasickProcessor, phrases=PHRASES) as llm:
        yield llm


@pytest.fixture(scope="module")
def complemented():
    from benchmarks.rivals.llguidance_rival import LlguidanceProcessor

    with engine(LlguidanceProcessor, phrases=PHRASES) as llm:
        yield llm


@pytest.mark.engine
def test_pyahocorasick_keeps_phrases_out_of_every_response(aho_corasick):
    assert not any(spelt(text) for text in answers(aho_corasick, lengths()))


@pytest.mark.engine
def test_llguidance_keeps_phrases_out_of_every_response(complemented):
    assert not any(spelt(text) for text in answers(complemented, lengths()))


@pytest.mark.engine
def test_both_exact_rivals_decode_the_same(aho_corasick, complemented):
    # Up to the response's end; after it llguidance alone forbids special tokens.
    params = [p.clone() for p in lengths()]
    for p in params:
        p.ignore_eos = False
    assert answers(aho_corasick, params) == answers(complemented, params)


@settings(deadline=None)
@given(st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4), st.text("abc", max_size=8))
def test_pyahocorasick_bans_equal_a_scan_of_the_text(phrases, text):
    from benchmarks.rivals.pyahocorasick import TokenBans

    tokens = [b"", *(t.encode() for t in ("a", "b", "c", "ab", "ca", "bcc", "abcab"))]
    bans = TokenBans(phrases, tokens, torch.device("cpu"))
    state, said = "", b""
    for char in text:
        # As in decoding: what is banned does not come.
        if any(p.encode() in said + char.encode() for p in phrases):
            continue
        said += char.encode()
        state = bans.advance(state, tokens.index(char.encode()))
        expected = [i for i, t in enumerate(tokens) if t and any(p.encode() in said + t for p in phrases)]
        assert bans.banned(state).tolist() == expected


# llguidance


@cache
def toy() -> PreTrainedTokenizerFast:
    """Byte-level BPE on a text of three letters, a two-byte and a three-byte character."""
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokens.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<end>", "<user>"], initial_alphabet=alphabet
    )
    tokens.train_from_iterator(["abcab cabca", "aé.bé. 京ab京", "cc bb aab/ab/", "a b a c"] * 3, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<end>")
    wrapped.add_special_tokens({"additional_special_tokens": ["<user>"]})
    return wrapped


def allowed(text: bytes, phrases: list[str]) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(text)
    except UnicodeDecodeError:
        return False
    return not any(phrase.encode() in text for phrase in phrases)


TEXTS = st.text("abcé京./ ", max_size=8)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text("abcé京./ ", min_size=1, max_size=4), min_size=1, max_size=4), TEXTS)
@example(["a.b", "é.", "/"], "aé")
@example(["京"], "a")
def test_oracle_mask_equals_a_scan_of_the_whole_vocabulary(phrases, text):
    from benchmarks.rivals.llguidance_rival import oracle_masks

    vocabulary = Vocabulary.from_tokenizer(toy())
    prefixes = [toy().encode(text[:end]) for end in range(len(text) + 1)]
    bytes_of = [b"".join(vocabulary.tokens[i] for i in prefix) for prefix in prefixes]
    keep = [n for n, data in enumerate(bytes_of) if allowed(data, phrases)]
    masks = oracle_masks(toy(), phrases, [prefixes[n] for n in keep])
    assert masks.shape == (len(keep), vocabulary.size)
    for n, mask in zip(keep, masks, strict=True):
        expected = [not token or allowed(bytes_of[n] + token, phrases) for token in vocabulary.tokens]
        assert mask.tolist() == expected


def test_oracle_refuses_a_prefix_that_contains_a_phrase():
    from benchmarks.rivals.llguidance_rival import oracle_masks

    with pytest.raises(ValueError, match="prefix 1 "):
        oracle_masks(toy(), ["ab"], [toy().encode("b"), toy().encode("cab")])


def test_oracle_sees_through_special_tokens_of_a_prefix():
    from benchmarks.rivals.llguidance_rival import oracle_masks

    plain = toy().encode("ca")
    user = toy().convert_tokens_to_ids("<user>")
    with_special, without = oracle_masks(toy(), ["ab"], [[plain[0], user, *plain[1:]], plain])
    assert np.array_equal(with_special, without)


def test_llguidance_meets_its_own_limits_long_before_the_raised_ones():
    import llguidance.hf

    from benchmarks.rivals.llguidance_rival import matcher

    names = build().people
    converted = llguidance.hf.from_tokenizer(tokenizer())
    text = tokenizer().encode(" ".join(name[:-1] for name in names), add_special_tokens=False)
    # Titles and dates are longer and share more, and do not even start.
    values = list(dict.fromkeys(row.value for row in (*WORLD.retain, *WORLD.general)))[:100]
    with pytest.raises(ValueError, match="refuses 100 phrases"):
        matcher(converted, values, raised=False)
    assert not matcher(converted, values, raised=True).is_error()

    def reach(raised):
        walker = matcher(converted, names, raised)
        for count, token_id in enumerate(text):
            walker.compute_bitmask()
            if walker.is_error() or not walker.consume_token(token_id):
                return count
        return len(text)

    assert reach(raised=False) < len(text) / 4
    assert reach(raised=True) == len(text)
