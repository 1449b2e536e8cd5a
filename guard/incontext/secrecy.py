"""What of a block must not come out again: "repeat everything above" shall find nothing.

Any five words in a row are enough to trip the response filter. Words that the client wrote itself, or that
any polite refusal has, give nothing away and stay allowed; else a harmless answer would be cut, and whoever
guesses at the block would learn by the cut that he was right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from guard.automaton import Automaton, Phrase, Rule, automata_of
from guard.incontext.comparison import RUN, plain
from guard.incontext.placement import Message, text_of
from guard.incontext.substitute import REFUSALS
from guard.normalize import PHRASES
from guard.types import Boundary

SHORT = 3  # words from which on a whole sentence counts; "Yes." is nobody's secret
SPACELESS = 12  # characters that do instead, in scripts that write no spaces

# Both ends of a word, or "It is 3" would forbid "It is 35".
_RULE = Rule(PHRASES, Boundary.BOTH)
_WORD = re.compile(r"\S+")
_SENTENCE = re.compile(r"[^.!?。！？\n]+[.!?。！？]*")
_ORDINARY = (
    *REFUSALS,
    "I'm sorry, but I have no information about that.",
    "I don't have any information on that.",
    "I'm sorry, but I can't help with that.",
    "I'm afraid that I don't know the answer to that question.",
    "I do not have any information about this person.",
    "I'm not able to answer questions about that.",
    "I can't say anything about it. Is there anything else I can help you with?",
    "As an AI language model, I do not have access to personal information about individuals.",
    "I'm not familiar with that. Could you tell me more about what you would like to know?",
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a block, and whether it may be said again."""

    text: str
    secret: bool = True


@dataclass(frozen=True, slots=True)
class Block:
    """Text to put into a prompt."""

    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """All pieces, in order."""
        return "".join(piece.text for piece in self.pieces)


def injected_strings(block: Block, messages: Sequence[Message]) -> tuple[str, ...]:
    """The strings of a block that no response may repeat, each once.

    Every run of five words in which one is secret, and whole sentences of three or four. Longer sentences
    hold such a run.
    """
    known = [plain(text) for text in (*_ORDINARY, *map(text_of, messages))]
    found = dict.fromkeys([*_runs(block), *_short_sentences(block)])
    return tuple(string for string in found if not _within(plain(string), known))


def automata(strings: Sequence[str]) -> tuple[Automaton, ...]:
    """The automata that forbid injected strings, for the response filter; none if there are no strings.

    Not cached: 50 strings take a quarter of a millisecond, and a removed target leaves nothing behind.
    """
    return automata_of(Phrase(string, _RULE) for string in strings)


def _runs(block: Block) -> Iterable[str]:
    text, ends = block.text, list(accumulate(len(piece.text) for piece in block.pieces))
    spans = [word.span() for word in _WORD.finditer(text)]
    secret = []
    piece = 0
    for start, _ in spans:
        while ends[piece] <= start:
            piece += 1
        secret.append(block.pieces[piece].secret)
    for first in range(len(spans) - RUN + 1):
        if any(secret[first : first + RUN]):
            yield text[spans[first][0] : spans[first + RUN - 1][1]]


def _short_sentences(block: Block) -> Iterable[str]:
    for piece in block.pieces:
        if not piece.secret:
            continue
        for sentence in map(str.strip, _SENTENCE.findall(piece.text)):
            words = len(sentence.split())
            if SHORT <= words < RUN or (
                words < SHORT and not sentence.isascii() and len(sentence) >= SPACELESS
            ):
                yield sentence


def _within(string: str, known: Iterable[str]) -> bool:
    return any(string in text for text in known)
