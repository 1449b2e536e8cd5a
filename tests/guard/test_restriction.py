import random

import pytest
import torch

from guard import ForgetTarget
from guard.automaton import START
from guard.errors import VocabularyError
from guard.restriction import Enforcer, Row
from guard.snapshot import compile_snapshot
from guard.tables import Tables
from guard.vocabulary import Vocabulary
from tests.guard.small_tokenizers import FAMILIES, byte_level

PHRASES = ["Mira Solen", "Quillon", "12 May"]
ALL = [["Quillon"], ["Mira Solen"]]


def target(target_id, phrases, always_on=False, action="restrict", **more):
    return ForgetTarget.parse(
        {"id": target_id, "phrases": phrases, "always_on": always_on, "action": action} | more
    )


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level()


@pytest.fixture
def enforcer(tokenizer):
    targets = [target("all", ["Quillon"], True), target("mira", ["Mira Solen"])]
    return Enforcer(Tables(Vocabulary.from_tokenizer(tokenizer), compile_snapshot(targets)))


def row(prompt=(), targets=(), outputs=()):
    return Row(prompt, targets, None, list(outputs))


def logits_after(enforcer, *rows, fill=0.0):
    for index, one in enumerate(rows):
        enforcer.open(index, one)
    logits = torch.full((len(rows), enforcer.tables.vocabulary.size), fill)
    enforcer.step(logits)
    return logits


def banned(enforcer, one):
    (line,) = logits_after(enforcer, one)
    return set(torch.nonzero(torch.isneginf(line)).flatten().tolist())


@pytest.mark.parametrize("family", FAMILIES)
def test_no_random_walk_past_the_bans_spells_a_phrase(family):
    """Any tokenisation: tokens are drawn among those that could spell the phrase, minus the bans."""
    vocabulary = Vocabulary.from_tokenizer(FAMILIES[family]())
    made = Enforcer(Tables(vocabulary, compile_snapshot([target("p", PHRASES, True)])))
    (automaton,) = made.tables.snapshot.always
    draw = random.Random(5)
    likely = [i for i, t in enumerate(vocabulary.tokens) if t and t.lower() in b" mira solen quillon 12 may"]
    blocked = 0
    for _ in range(300):
        outputs: list[int] = []
        made.open(0, Row((), (), None, outputs))
        for _ in range(12):
            logits = torch.zeros(1, vocabulary.size)
            made.step(logits)
            text = b"".join(vocabulary.tokens[i] for i in outputs)
            wanted = [
                i for i in likely if b"mira solen".startswith((text + vocabulary.tokens[i]).lower().strip())
            ]
            options = wanted if wanted and draw.random() < 0.9 else likely
            allowed = [i for i in options if logits[0, i] == 0]
            blocked += len(options) - len(allowed)
            if not allowed:
                break
            outputs.append(draw.choice(allowed))
        assert not automaton.found_in(b"".join(vocabulary.tokens[i] for i in outputs))
    assert blocked > 5


def test_routed_targets_come_on_top_of_the_always_on_ones(enforcer, tokenizer):
    quillon = tokenizer.encode("Quillon", add_special_tokens=False)
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    assert quillon[-1] in banned(enforcer, row(outputs=quillon[:-1]))
    assert mira[-1] not in banned(enforcer, row(outputs=mira[:-1]))
    assert mira[-1] in banned(enforcer, row(targets=("mira",), outputs=mira[:-1]))
    assert mira[-1] in banned(enforcer, row(targets=None, outputs=mira[:-1]))
    assert banned(enforcer, row(targets=("removed-since",), outputs=mira[:-1])) == banned(
        enforcer, row(outputs=mira[:-1])
    )


def test_prompt_cut_at_every_byte_keeps_the_phrase_closed(enforcer):
    """Byte tokens, so that the response may start in the middle of any character or letter."""
    vocabulary = enforcer.tables.vocabulary
    single = {token: i for i, token in enumerate(vocabulary.tokens) if len(token) == 1}
    ids = [single[bytes([byte])] for byte in "I know Míra\u200b Solen".encode()]
    for cut in range(len(ids)):
        for position in range(cut, len(ids)):
            if ids[position] in banned(enforcer, row(ids[:cut], ("mira",), ids[cut:position])):
                break
        else:
            pytest.fail(f"cut {cut} let the phrase through")
        assert position == len(ids) - 1


def test_tail_of_the_prompt_is_found_behind_any_number_of_invisible_tokens(enforcer, tokenizer):
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    gap = tokenizer.encode("\u200b" * 500, add_special_tokens=False)
    assert mira[-1] in banned(enforcer, row([*mira[:-1], *gap], ("mira",)))


def test_another_message_does_not_start_a_phrase(enforcer, tokenizer):
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    prompt = [*mira[:-1], tokenizer.convert_tokens_to_ids("<user>")]
    assert mira[-1] not in banned(enforcer, row(prompt, ("mira",)))


def test_token_outside_the_vocabulary_separates_too(enforcer, tokenizer):
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    assert mira[-1] not in banned(enforcer, row([*mira[:-1], 10**6], ("mira",)))
    assert mira[-1] in banned(enforcer, row([10**6, *mira[:-1]], ("mira",)))


def test_special_tokens_in_the_output_do_not_hide_a_phrase(enforcer, tokenizer):
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    user = tokenizer.convert_tokens_to_ids("<user>")
    assert mira[-1] in banned(enforcer, row(targets=("mira",), outputs=[user, *mira[:-1], user]))


def test_phrase_may_begin_behind_a_special_token(enforcer, tokenizer):
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    word = tokenizer.encode("ordinary", add_special_tokens=False)
    user = tokenizer.convert_tokens_to_ids("<user>")
    assert mira[-1] not in banned(enforcer, row(targets=("mira",), outputs=[*word, *mira[:-1]]))
    assert mira[-1] in banned(enforcer, row(targets=("mira",), outputs=[*word, user, *mira[:-1]]))


def test_special_token_that_is_shown_separates(enforcer, tokenizer):
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    user = tokenizer.convert_tokens_to_ids("<user>")
    shown = Row((), ("mira",), None, [*mira[:-1], user], shown=True)
    assert mira[-1] not in banned(enforcer, shown)
    assert mira[-1] in banned(enforcer, Row((), ("mira",), None, [user, *mira[:-1]], shown=True))


def test_resumed_row_equals_one_that_was_stepped_all_along(enforcer, tokenizer):
    outputs: list[int] = []
    enforcer.open(0, Row([1, 2], ("mira",), None, outputs))
    for token_id in tokenizer.encode("In Quill she met Mira Sol", add_special_tokens=False):
        outputs.append(token_id)
        enforcer.open(1, row([1, 2], ("mira",), outputs))
        logits = torch.zeros(2, enforcer.tables.vocabulary.size)
        enforcer.step(logits)
        assert torch.equal(logits[0], logits[1])


@pytest.mark.parametrize("swap", [False, True])
def test_rows_keep_their_state_when_they_move(enforcer, tokenizer, swap):
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    first = logits_after(enforcer, row(targets=("mira",), outputs=mira[:-1]), row(outputs=mira[:-1]))
    enforcer.move(0, 1, swap=swap)
    again = torch.zeros_like(first)
    enforcer.step(again)
    assert torch.equal(again[1], first[0])
    assert torch.equal(again[0], first[1] if swap else torch.zeros_like(first[1]))


def test_a_swap_at_every_step_changes_nothing(enforcer, tokenizer):
    """A live change between any two tokens: the row follows, and back again."""
    base, other = enforcer.tables.snapshot, compile_snapshot([target("mira", ["Mira S"])])
    ids = tokenizer.encode("about Mira Solen", add_special_tokens=False)
    for step in range(len(ids)):
        outputs = list(ids[:step])
        enforcer.open(0, Row((), ("mira",), None, outputs))
        logits = torch.zeros(1, enforcer.tables.vocabulary.size)
        enforcer.step(logits)
        enforcer.tables.install(other)
        enforcer.step(torch.zeros_like(logits))
        enforcer.tables.install(base)
        again = torch.zeros_like(logits)
        enforcer.step(again)
        assert torch.equal(again, logits)


def test_install_reaches_rows_in_flight_and_removal_restores_the_logits(enforcer, tokenizer):
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    assert mira[-1] in banned(enforcer, row(targets=("mira",), outputs=mira[:-1]))
    enforcer.tables.install(compile_snapshot([]))
    logits = torch.randn(1, enforcer.tables.vocabulary.size)
    before = logits.clone()
    enforcer.step(logits)
    assert torch.equal(logits, before)


def test_untouched_row_is_bit_identical(enforcer, tokenizer):
    enforcer.open(0, row(outputs=tokenizer.encode("ordinary", add_special_tokens=False)))
    logits = torch.randn(2, enforcer.tables.vocabulary.size)
    before = logits.clone()
    enforcer.step(logits)
    kept = ~torch.isneginf(logits[0])
    assert torch.equal(logits[0][kept], before[0][kept])
    assert torch.equal(logits[1], before[1])


def test_row_without_any_allowed_token_ends(enforcer, tokenizer):
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    enforcer.open(0, row(targets=("mira",), outputs=mira[:-1]))
    logits = torch.full((1, enforcer.tables.vocabulary.size), -torch.inf)
    logits[0, mira[-1]] = 3.0  # a grammar that admits nothing but the secret
    enforcer.step(logits)
    assert torch.nonzero(logits[0] > -torch.inf).flatten().tolist() == list(enforcer.tables.vocabulary.eos)


def test_placeholder_in_the_history_ends_the_row(enforcer):
    logits = logits_after(enforcer, row(targets=("mira",), outputs=[5, -1]))
    assert torch.nonzero(logits[0] > -torch.inf).flatten().tolist() == list(enforcer.tables.vocabulary.eos)


def test_row_goes_on_once_its_placeholder_is_known(enforcer, tokenizer):
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    outputs = [*mira[:-2], -1]
    logits_after(enforcer, Row((), ("mira",), None, outputs), row())
    outputs.clear()
    outputs += mira[:-1]
    (line, _) = logits_after(enforcer, enforcer.rows[0], row())
    assert line[mira[-1]] == -torch.inf
    again = torch.zeros(2, enforcer.tables.vocabulary.size)
    enforcer.step(again)
    assert torch.equal(again[0], line)


def test_logits_that_lie_apart_in_memory_are_banned_alike(enforcer, tokenizer):
    mira = tokenizer.encode("Mira Solen", add_special_tokens=False)
    enforcer.open(0, row(targets=("mira",), outputs=mira[:-1]))
    apart = torch.zeros(enforcer.tables.vocabulary.size, 1).T
    close = torch.zeros(1, enforcer.tables.vocabulary.size)
    enforcer.step(apart)
    enforcer.step(close)
    assert torch.equal(apart, close)
    assert torch.isneginf(close).any()
    dead = torch.full((enforcer.tables.vocabulary.size, 1), -torch.inf).T
    enforcer.step(dead)
    assert torch.nonzero(dead[0] > -torch.inf).flatten().tolist() == list(enforcer.tables.vocabulary.eos)


def test_logits_of_another_model_are_refused(enforcer):
    enforcer.open(0, row())
    with pytest.raises(VocabularyError, match="9 columns"):
        enforcer.step(torch.zeros(1, 9))


def test_observed_targets_forbid_nothing():
    vocabulary = Vocabulary.from_tokenizer(byte_level())
    tables = Tables(vocabulary, compile_snapshot([target("seen", ["Quillon"], True, "observe")]))
    assert tables.of(("seen",), None) == []
    assert tables.of(None, None) == []


def test_more_bans_than_the_buffer_holds_are_all_applied():
    tokens = (b"", *(f"x{i}".encode() for i in range(5000)))
    vocabulary = Vocabulary(tokens, frozenset({0}), (0,))
    made = Enforcer(Tables(vocabulary, compile_snapshot([target("x", ["x"], True)])))
    assert banned(made, row()) == set(range(1, 5001))


def test_soft_words_lower_logits_and_forbid_from_delta_on(tokenizer):
    soft = target("s", ["nothing else"], True, matching={"soft": {"delta": 0.5}})
    words = {"orchard": 0.3, "quillon": float("inf")}
    snapshot = compile_snapshot([soft], lambda _: words)
    made = Enforcer(Tables(Vocabulary.from_tokenizer(tokenizer), snapshot))
    orchard = tokenizer.encode(" orchard", add_special_tokens=False)
    quillon = tokenizer.encode("Quillon", add_special_tokens=False)
    lowered = logits_after(made, row(outputs=orchard[:-1]), row(outputs=quillon[:-1]), fill=1.0)
    assert lowered[0, orchard[-1]] == pytest.approx(0.7)
    assert lowered[1, quillon[-1]] == -torch.inf


def test_walks_of_the_automaton_and_of_the_rows_agree(enforcer, tokenizer):
    (automaton,) = enforcer.tables.snapshot.always
    text = "the Quill of Quillo, Quill"
    outputs: list[int] = []
    enforcer.open(0, Row((), (), None, outputs))
    for token_id in tokenizer.encode(text, add_special_tokens=False):
        outputs.append(token_id)
        enforcer.step(torch.zeros(1, enforcer.tables.vocabulary.size))
        seen = b"".join(enforcer.tables.vocabulary.tokens[i] for i in outputs)
        (lanes,) = enforcer.rows[0].lanes
        assert lanes._nodes[0, 0] == automaton.walk(START, seen)[0]
