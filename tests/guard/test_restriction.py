import random

import numpy as np
import pytest
import torch

from guard import ForgetTarget
from guard.automaton import START, Automaton
from guard.restriction import Enforcer, TokenFilter
from guard.snapshot import compile_snapshot
from guard.vocabulary import Vocabulary
from tests.guard.small_tokenizers import FAMILIES, byte_level

PHRASES = ["Mira Solen", "Quillon", "12 May"]


def target(target_id, phrases, always_on=False, action="restrict"):
    return ForgetTarget.parse({"id": target_id, "phrases": phrases, "always_on": always_on, "action": action})


@pytest.fixture(scope="module", params=FAMILIES)
def vocabulary(request):
    return Vocabulary.from_tokenizer(FAMILIES[request.param]())


@pytest.fixture
def enforcer():
    tokenizer = byte_level()
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    made = Enforcer(
        vocabulary, compile_snapshot([target("all", ["Quillon"], True), target("mira", ["Mira Solen"])])
    )
    return made, tokenizer


def banned_after(enforcer, row):
    logits = torch.zeros(1, enforcer.vocabulary.size)
    enforcer.step(logits, {0: row})
    return set(torch.nonzero(torch.isneginf(logits[0])).flatten().tolist())


def test_bans_of_every_state_equal_the_naive_scan(vocabulary):
    automaton = Automaton.build(PHRASES)
    token_filter = TokenFilter(automaton, vocabulary)
    for state in range(automaton.states):
        naive = {
            i for i, token in enumerate(vocabulary.tokens) if automaton.first_accept(token, state) is not None
        }
        assert set(token_filter.bans(state).tolist()) == naive


def test_no_random_walk_past_the_bans_spells_a_phrase(vocabulary):
    """Any tokenisation: tokens are drawn among those that could spell the phrase, minus the bans."""
    automaton = Automaton.build(PHRASES)
    token_filter = TokenFilter(automaton, vocabulary)
    draw = random.Random(5)
    likely = [i for i, t in enumerate(vocabulary.tokens) if t and t.lower() in b" mira solen quillon 12 may"]
    blocked = 0
    for _ in range(1500):
        state, text = START, b""
        for _ in range(12):
            banned = set(token_filter.bans(state).tolist())
            wanted = [
                i for i in likely if b"mira solen".startswith((text + vocabulary.tokens[i]).lower().strip())
            ]
            options = wanted if wanted and draw.random() < 0.9 else likely
            allowed = [i for i in options if i not in banned]
            blocked += len(options) - len(allowed)
            if not allowed:
                break
            token_id = draw.choice(allowed)
            text += vocabulary.tokens[token_id]
            state = token_filter.advance(state, token_id)
        assert automaton.first_accept(text) is None, text
    assert blocked > 100


def test_routed_targets_come_on_top_of_the_always_on_ones(enforcer):
    made, tokenizer = enforcer
    quillon = tokenizer.encode("Quillon", add_special_tokens=False)
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    assert quillon[-1] in banned_after(made, made.open([], (), quillon[:-1]))
    assert mira[-1] not in banned_after(made, made.open([], (), mira[:-1]))
    assert mira[-1] in banned_after(made, made.open([], ("mira",), mira[:-1]))
    assert mira[-1] in banned_after(made, made.open([], None, mira[:-1]))


def test_prompt_cut_at_every_token_keeps_the_phrase_closed(enforcer):
    made, tokenizer = enforcer
    ids = tokenizer.encode("I know Mira Solen", add_special_tokens=False)
    for cut in range(len(ids)):
        row = made.open(ids[:cut], ("mira",), [])
        outputs = ids[cut:]
        for position, token_id in enumerate(outputs):
            row.outputs = outputs[:position]
            if token_id in banned_after(made, row):
                break
        else:
            pytest.fail(f"cut {cut} let the phrase through")


def test_another_message_does_not_start_a_phrase(enforcer):
    made, tokenizer = enforcer
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    prompt = [*mira[:-1], tokenizer.convert_tokens_to_ids("<user>")]
    assert mira[-1] not in banned_after(made, made.open(prompt, ("mira",), []))


def test_special_tokens_in_the_output_do_not_hide_a_phrase(enforcer):
    made, tokenizer = enforcer
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    user = tokenizer.convert_tokens_to_ids("<user>")
    assert mira[-1] in banned_after(made, made.open([], ("mira",), [user, *mira[:-1], user]))


def test_resumed_row_equals_one_that_was_stepped_all_along(enforcer):
    made, tokenizer = enforcer
    outputs: list[int] = []
    stepped = made.open([1, 2], ("mira",), outputs)
    for token_id in tokenizer.encode("In Quill she met Mira Sol", add_special_tokens=False):
        outputs.append(token_id)
        assert banned_after(made, stepped) == banned_after(made, made.open([1, 2], ("mira",), list(outputs)))


def test_ahead_leaves_the_row_itself_alone(enforcer):
    made, tokenizer = enforcer
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    row = made.open([], ("mira",), mira[:1])
    drafted = row.ahead(mira[1:-1])
    assert mira[-1] in banned_after(made, drafted)
    assert list(row.outputs) == mira[:1]
    assert mira[-1] in banned_after(made, row.ahead(mira[1:-1]))


def test_install_rebases_rows_in_flight_and_removal_restores_the_logits(enforcer):
    made, tokenizer = enforcer
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    row = made.open([], ("mira",), mira[:-1])
    assert mira[-1] in banned_after(made, row)
    made.install(compile_snapshot([]))
    assert banned_after(made, row) == set()
    made.install(compile_snapshot([target("mira", ["Mira S"])]))
    assert banned_after(made, row) != set()


def test_untouched_row_is_bit_identical(enforcer):
    made, tokenizer = enforcer
    logits = torch.randn(2, made.vocabulary.size)
    before = logits.clone()
    made.step(logits, {0: made.open([], (), tokenizer.encode("ordinary", add_special_tokens=False))})
    banned = torch.isneginf(logits[0])
    assert torch.equal(logits[0][~banned], before[0][~banned])
    assert torch.equal(logits[1], before[1])


def test_row_without_any_allowed_token_ends(enforcer):
    made, tokenizer = enforcer
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    logits = torch.full((1, made.vocabulary.size), -torch.inf)
    logits[0, mira[-1]] = 3.0  # a grammar that admits nothing but the secret
    made.step(logits, {0: made.open([], ("mira",), mira[:-1])})
    assert torch.nonzero(logits[0] > -torch.inf).flatten().tolist() == list(made.vocabulary.eos)


def test_placeholder_in_the_history_ends_the_row(enforcer):
    made, _ = enforcer
    logits = torch.zeros(1, made.vocabulary.size)
    made.step(logits, {0: made.open([], ("mira",), [5, -1])})
    assert torch.nonzero(logits[0] > -torch.inf).flatten().tolist() == list(made.vocabulary.eos)


def test_observed_targets_forbid_nothing():
    vocabulary = Vocabulary.from_tokenizer(byte_level())
    made = Enforcer(vocabulary, compile_snapshot([target("seen", ["Quillon"], True, "observe")]))
    assert made.open([], ("seen",), []).filters == ()
    assert made.open([], None, []).filters == ()


def test_bans_are_ids_of_the_vocabulary(vocabulary):
    bans = TokenFilter(Automaton.build(PHRASES), vocabulary).bans(START)
    assert bans.dtype == np.int64
    assert bans.min() >= 0
    assert bans.max() < vocabulary.size
