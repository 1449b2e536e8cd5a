"""ICU: an instruction that names the subjects (prompting baseline of arXiv 2403.03329, RWKU)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from guard.incontext.config import InContext
from guard.incontext.fitting import Count, Injected, estimate, fit
from guard.incontext.placement import Message
from guard.incontext.secrecy import Block, Piece
from guard.incontext.wording import instruction
from guard.types import ForgetTarget


def build(
    messages: Sequence[Message],
    targets: Sequence[ForgetTarget],
    config: InContext,
    count: Count = estimate,
    room: int | None = None,
) -> Injected:
    """The messages with the instruction for these targets."""
    return fit(blocks(targets, config), messages, config, count, room)


def blocks(targets: Sequence[ForgetTarget], config: InContext) -> Iterator[Block]:
    """The instruction, then one that names nobody: half a list of names would leave the others known."""
    if not targets:
        return
    yield Block((Piece(instruction(config.template, targets)),))
    if any(target.name for target in targets):
        yield Block((Piece(instruction(config.template, ())),))
