import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guard.automaton import INSIDE, START, Automaton, Phrase, Rule
from guard.loops import FAIL, SPAN
from guard.normalize import EXACT, PHRASES, Fold
from guard.restriction import Enforcer, Row
from guard.snapshot import compile_snapshot
from guard.table import Arena, Lexicon, Table
from guard.tables import Tables
from guard.types import Boundary, ForgetTarget
from guard.vocabulary import Vocabulary
from tests.guard.naive import occurs
from tests.guard.small_tokenizers import FAMILIES
from tests.guard.test_automaton import LETTERS, PHRASE, RULES

DEFAULT = Rule()
TOY = [b"", b"a", b"b", b" ", b"ab", b"ba", b"aa", b" a", b"b ", b"a b", b"bab", b" ab", b"abab"]


def toy(tokens):
    """A vocabulary of these tokens; the first one ends the response."""
    return Vocabulary(tuple(tokens), frozenset({0}), (0,))


def banned(tables, text_tokens, targets=None):
    """Ids that a row with these outputs may not sample next."""
    import torch

    enforcer = Enforcer(tables)
    enforcer.open(0, Row((), targets, None, list(text_tokens)))
    logits = torch.zeros(1, tables.vocabulary.size)
    enforcer.step(logits)
    return set(torch.nonzero(torch.isneginf(logits[0])).flatten().tolist())


def tables_of(vocabulary, phrases, rule=DEFAULT, **matching):
    target = ForgetTarget.parse(
        {
            "id": "t", "phrases": phrases, "kind": "text", "always_on": True, "action": "restrict",
            "matching": {"fold": sorted(rule.folding), "boundary": rule.boundary, **matching},
        }
    )  # fmt: skip
    return Tables(vocabulary, compile_snapshot([target]))


@pytest.mark.parametrize("rule", RULES[:6], ids=lambda r: f"{len(r.folding)}-{r.boundary}")
@pytest.mark.parametrize("phrases", [["ab"], ["aa", "ab b"], ["a b"], ["abab", "b a"], ["bab a", "aab"]])
def test_bans_after_every_short_text_are_the_tokens_that_complete_a_phrase(phrases, rule):
    """Exhaustive: every token sequence of up to 4 toy tokens that the bans let through, any tokenisation."""
    vocabulary = toy(TOY)
    tables = tables_of(vocabulary, phrases, rule)
    checked = 0
    for length in range(4):
        for sequence in itertools.product(range(1, len(TOY)), repeat=length):
            text = b"".join(TOY[i] for i in sequence).decode()
            if len(text) > 6 or any(occurs(text, p, rule, ended=False) for p in phrases):
                continue
            ends = {0} if any(occurs(text, p, rule) for p in phrases) else set()
            expected = ends | {
                i
                for i, token in enumerate(TOY)
                if token and any(occurs(text + token.decode(), p, rule, ended=False) for p in phrases)
            }
            assert banned(tables, sequence) == expected, (sequence, text)
            checked += 1
    assert checked > 100


BYTES = sorted({byte for char in ["é", "東", "ﬁ", "😀", "\u0430", "\u200b"] for byte in char.encode()})


@given(
    st.lists(st.lists(LETTERS, min_size=1, max_size=3).map("".join), min_size=4, max_size=25),
    st.lists(PHRASE.filter(str.strip), min_size=1, max_size=3),
    st.lists(st.integers(1, 200), max_size=6),
    st.sampled_from(RULES),
)
@settings(max_examples=400)
def test_bans_equal_trying_every_token_on_drawn_vocabularies(words, phrases, picks, rule):
    """Vocabularies with whole words, single bytes of characters, and tokens that end in the middle of one."""
    pieces = {w.encode() for w in words} | {bytes([b]) for b in BYTES} | {w.encode()[:-1] for w in words}
    pieces |= {w.encode()[1:] + b"a" for w in words if len(w.encode()) > len(w)}
    tokens = [b"", *sorted(pieces - {b""})]
    tables = tables_of(toy(tokens), phrases, rule)
    automata = tables.snapshot.always
    sequence = [1 + pick % (len(tokens) - 1) for pick in picks]
    text = b"".join(tokens[i] for i in sequence)
    if any(a.walk(START, text)[2] >= 0 for a in automata):
        return
    expected = {
        i
        for i, token in enumerate(tokens)
        if token and any(a.walk(START, text + token)[2] >= 0 for a in automata)
    }
    pending = any(a.accept[a.walk(START, text)[0]] & 2 for a in automata)
    assert banned(tables, sequence) - {0} == expected
    assert (0 in banned(tables, sequence)) == pending


@pytest.mark.parametrize("family", FAMILIES)
def test_nodes_ranges_are_those_of_real_tokenizers(family):
    vocabulary = Vocabulary.from_tokenizer(FAMILIES[family]())
    lexicon = Lexicon.of(vocabulary, PHRASES)
    automaton = Automaton.build(["Mira Solen", "Quillon", "12 May"])
    table = Table.compile(automaton, lexicon)
    for node in {START, INSIDE, *range(2, automaton.nodes)}:
        found, at = set(), node
        while at >= 0:
            for span in range(table.begin[at], table.begin[at + 1]):
                found |= set(lexicon.order[table.low[span] : table.high[span]].tolist())
            at = int(automaton.fail[at])
        naive = {i for i, token in enumerate(vocabulary.tokens) if automaton.walk(node, token)[2] >= 0}
        assert found == naive


def test_soft_words_weigh_on_tokens_that_spell_exactly_them():
    tokens = [b"", b"wiz", b"ard", b"ards", b" wizard", b"wizard", b" wizards", b"Wizard", b"lizard", b" "]
    lexicon = Lexicon.of(toy(tokens), PHRASES)
    table = Table.compile(Automaton.soft({"wizard": 0.5}), lexicon)
    weights = {
        int(lexicon.order[rank]): float(table.weight[span])
        for node in (START, INSIDE)
        for span in range(table.begin[node], table.begin[node + 1])
        for rank in range(table.low[span], table.high[span])
    }
    assert weights == {4: -0.5, 5: -0.5, 7: -0.5}
    node = table.automaton.walk(START, b" wiz")[0]
    spans = range(table.begin[node], table.begin[node + 1])
    assert {int(lexicon.order[r]) for s in spans for r in range(table.low[s], table.high[s])} == {2}


def test_joined_tables_keep_their_numbers_apart():
    lexicon = Lexicon.of(toy(TOY), PHRASES)
    tables = [Table.compile(Automaton.build(p), lexicon) for p in (["ab"], ["ba b"], ["a a"])]
    arena = Arena.join(tables, lexicon)
    for table, root in zip(tables, arena.roots, strict=True):
        for node in range(table.automaton.nodes):
            fail = table.automaton.fail[node]
            record, after = arena.machine.nodes[root + node], arena.machine.nodes[root + node + 1]
            assert record[FAIL] == (fail + root if fail >= 0 else -1)
            spans = arena.spans[record[SPAN] : after[SPAN]]
            own = slice(table.begin[node], table.begin[node + 1])
            assert np.array_equal(spans[:, 0], table.low[own])
            assert np.array_equal(spans[:, 1], table.high[own])


def test_memory_grows_with_the_phrases_not_with_the_vocabulary():
    vocabulary = Vocabulary.from_tokenizer(FAMILIES["byte-level"]())
    draw = random.Random(1)
    names = ["".join(draw.choices("abcdefghij", k=8)) for _ in range(1000)]
    table = Table.compile(Automaton.build(names), Lexicon.of(vocabulary, PHRASES))
    assert table.nbytes < 60 * sum(map(len, names))


def test_probe_table_forbids_its_token_alone():
    lexicon = Lexicon.of(toy(TOY), PHRASES)
    table = Table.of_token(0, lexicon)
    assert lexicon.order[table.low[0] : table.high[0]].tolist() == [0]


def test_beta_bans_from_its_share_on():
    tokens = [b"", b"Harry", b" P", b" the", b"ott", b"er", b", ", b" Potter", b"Pam"]
    vocabulary = toy(tokens)
    assert banned(tables_of(vocabulary, ["Harry Potter"], beta=1.0), [1]) == {7}
    assert banned(tables_of(vocabulary, ["Harry Potter"], beta=0.5), [1]) == {2, 7}
    assert banned(tables_of(vocabulary, ["Harry Potter"], beta=0.5), [1, 6]) == {2, 7, 8}


def test_encoded_forms_are_banned_where_the_target_asks_for_them():
    tokens = [b"", b"TWlyYSBTb2x", b"lb", b"g", b"neloS ari", b"m", b" Mira"]
    vocabulary = toy(tokens)
    assert banned(tables_of(vocabulary, ["Mira Solen"]), [1]) == set()
    assert 2 in banned(tables_of(vocabulary, ["Mira Solen"], encodings=["base64"]), [1])
    assert 5 in banned(tables_of(vocabulary, ["Mira Solen"], encodings=["reversed"]), [4])


def test_invisible_and_exact_foldings_side_by_side_watch_the_same_row():
    vocabulary = toy([b"", b"Mir", "\u200ba".encode(), b"a", b"A"])
    exact = ForgetTarget.parse(
        {"id": "e", "phrases": ["Mira"], "action": "restrict", "matching": {"fold": [], "boundary": "none"}}
    )
    loose = ForgetTarget.parse(
        {"id": "l", "phrases": ["Mira"], "action": "restrict", "matching": {"fold": [Fold.INVISIBLE]}}
    )
    tables = Tables(vocabulary, compile_snapshot([exact, loose]))
    assert banned(tables, [1], ("e",)) == {3}
    assert banned(tables, [1], ("l",)) == {2, 3}
    assert banned(tables, [1], ("e", "l")) == {2, 3}


def test_weights_are_single_precision_and_ranges_sorted():
    lexicon = Lexicon.of(toy(TOY), EXACT)
    table = Table.compile(Automaton.build([Phrase("ab", Rule(EXACT))], Rule(EXACT)), lexicon)
    assert table.weight.dtype == np.float32
    assert (table.low < table.high).all()
    assert (np.diff(table.begin) >= 0).all()


def test_boundary_both_lets_longer_words_through_and_closes_no_word():
    tokens = [b"", b"Ann", b"iversary", b" ", b"abel", b".", b" Ann", b" Anniversary", b" Ann."]
    tables = tables_of(toy(tokens), ["Ann"], Rule(boundary=Boundary.BOTH))
    assert banned(tables, []) == {8}
    assert banned(tables, [1]) == {0, 3, 5, 6, 7, 8}
    assert banned(tables, [1, 2]) == {8}
