"""Bans against an independent reading: llguidance's complement of "a text that holds a phrase"."""

import random

import pytest
import torch

from benchmarks.rivals.llguidance_rival import oracle_masks
from guard.automaton import Rule
from guard.normalize import EXACT
from guard.restriction import Enforcer, Row
from guard.types import Boundary
from guard.vocabulary import Vocabulary
from tests.guard.small_tokenizers import byte_level
from tests.guard.test_table import tables_of

PHRASES = ["Mira Solen", "Quillon", "12 May", "東京"]


@pytest.mark.slow
def test_bans_equal_the_complement_of_a_regular_expression():
    """Byte by byte and anywhere in the text, which is all that the expression can say."""
    tokenizer = byte_level()
    vocabulary = Vocabulary.from_tokenizer(tokenizer)
    tables = tables_of(vocabulary, PHRASES, Rule(EXACT, Boundary.NONE))
    draw = random.Random(4)
    texts = [
        "",
        "Mira Sol",
        "in Quill",
        "Quillo",
        "12 Ma",
        "on 12",
        "東",
        "Mira Mira Sole",
        "the orchard 東 京",
    ]
    prefixes = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    pieces = [i for i, token in enumerate(vocabulary.tokens) if token.isascii() and token]
    prefixes += [draw.choices(pieces, k=draw.randint(1, 6)) for _ in range(30)]
    allowed = oracle_masks(tokenizer, PHRASES, prefixes)
    banned = 0
    for prefix, mask in zip(prefixes, allowed, strict=True):
        enforcer = Enforcer(tables)
        enforcer.open(0, Row((), (), None, list(prefix)))
        logits = torch.zeros(1, vocabulary.size)
        enforcer.step(logits)
        for token_id, token in enumerate(vocabulary.tokens):
            # Tokens that break a character are no text to the expression.
            whole = b"".join(vocabulary.tokens[i] for i in prefix) + token
            if token and whole.decode(errors="ignore").encode() == whole:
                assert (logits[0, token_id] == 0) == bool(mask[token_id]), (prefix, token)
                banned += int(logits[0, token_id] != 0)
    assert banned > 10
