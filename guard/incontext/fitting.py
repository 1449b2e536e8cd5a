"""The largest block that fits the budget, put into the messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from guard.incontext.config import InContext
from guard.incontext.placement import Message, after_user, in_system
from guard.incontext.secrecy import Block, injected_strings

Count = Callable[[str], int]
"""Tokens of a text."""

_BYTES_PER_TOKEN = 3  # English text in vocabularies of 32,000 tokens and more has four or so


@dataclass(frozen=True, slots=True)
class Injected:
    """A conversation with an in-context unlearning block.

    Attributes:
        messages: the conversation to send to the model.
        strings: injected strings that no response may repeat.
        tokens: tokens of the added text, without what a template sets around a new message; 0: nothing fits
            or nothing was asked for, and the messages are as they came.
    """

    messages: list[dict[str, object]]
    strings: tuple[str, ...] = ()
    tokens: int = 0


def estimate(text: str) -> int:
    """Tokens of a text where no tokenizer is at hand, rather too many than too few."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // _BYTES_PER_TOKEN)


def fit(
    blocks: Iterable[Block],
    messages: Sequence[Message],
    config: InContext,
    count: Count = estimate,
    room: int | None = None,
) -> Injected:
    """The messages with the first of the blocks that fits; as they are if none does.

    Of two copies the first goes before anything of the block is given up (JRT, arXiv 2407.05483, whose gain
    is that the words are near the question).

    Args:
        blocks: from the fullest to the barest.
        messages: the conversation.
        config: its budget, repetition and place.
        count: tokens of a text.
        room: tokens that the model's length leaves, if that is less than the budget.
    """
    limit = config.budget if room is None else min(config.budget, room)
    for block, copies in _options(blocks, config.repeat):
        text = block.text
        tokens = copies * count(f"\n{text}")
        if tokens <= limit:
            strings = injected_strings(block, messages)
            return Injected(_put(messages, text, copies, config), strings, tokens)
    return Injected([dict(message) for message in messages])


def _options(blocks: Iterable[Block], repeat: int) -> Iterator[tuple[Block, int]]:
    """Each block with its number of copies, in the order in which they are tried."""
    for index, block in enumerate(blocks):
        if index == 0 and repeat == 2:
            yield block, 2
        yield block, 1


def _put(messages: Sequence[Message], text: str, copies: int, config: InContext) -> list[dict[str, object]]:
    late = config.repeat == 2 and config.place == "end"
    if copies == 2:
        return after_user(in_system(messages, text), text) if late else in_system(messages, f"{text}\n{text}")
    return after_user(messages, text) if late else in_system(messages, text)
