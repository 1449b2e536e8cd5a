"""ICUL for questions: forget questions with substituted answers, then retained questions as they are.

After arXiv 2310.07579, whose examples are labelled inputs: the forget example comes first, with a wrong
label, then others with their right ones. Routed targets that no example stands for are named by the
instruction of ``icu``, which is also all that is left where no example fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from guard.incontext import icu
from guard.incontext.config import InContext
from guard.incontext.fitting import Count, Injected, estimate, fit
from guard.incontext.placement import Message, last_user_text
from guard.incontext.secrecy import Block, Piece
from guard.incontext.shots import Shot, forget_shots, retain_shots
from guard.incontext.wording import instruction
from guard.types import ForgetTarget


def build(
    messages: Sequence[Message],
    targets: Sequence[ForgetTarget],
    config: InContext,
    count: Count = estimate,
    room: int | None = None,
) -> Injected:
    """The messages with questions and answers for these targets."""
    return fit(blocks(targets, last_user_text(messages), config), messages, config, count, room)


def blocks(targets: Sequence[ForgetTarget], asked: str, config: InContext) -> Iterator[Block]:
    """From all examples to none: retained ones go first, from the last one on, then forget ones."""
    forget, retain = chosen(targets, asked, config)
    for kept in range(len(retain), 0, -1):
        yield _block(targets, [*forget, *retain[:kept]], config)
    for kept in range(len(forget), 0, -1):
        yield _block(targets, forget[:kept], config)
    yield from icu.blocks(targets, config)


def chosen(targets: Sequence[ForgetTarget], asked: str, config: InContext) -> tuple[list[Shot], list[Shot]]:
    """Forget and retained examples in the order in which they are shown.

    One forget example of each target, the nearest to what the user asks; the rest is filled with retained
    ones, in turn from each target, and where these run short with further forget examples.
    """
    rounds = zip_longest(*(forget_shots(target, targets, asked, config) for target in targets))
    forget = [shot for turn in rounds for shot in turn if shot is not None]
    turns = zip_longest(*(retain_shots(target, targets, config) for target in targets))
    retain = list(dict.fromkeys(shot for turn in turns for shot in turn if shot is not None))
    first = min(len(forget), len({shot.target_id for shot in forget}))
    retain = retain[: max(config.shots - first, 0)]
    return forget[: max(first, config.shots - len(retain))], retain


def _block(targets: Sequence[ForgetTarget], shots: Sequence[Shot], config: InContext) -> Block:
    shown = {shot.target_id for shot in shots}
    rest = [target for target in targets if target.id not in shown]
    pieces = [Piece(instruction(config.template, rest) + "\n")] if rest else []
    for index, shot in enumerate(shots):
        pieces += (
            Piece("\nQ: " if index else "Q: ", secret=False),
            Piece(shot.question),
            Piece("\nA: ", secret=False),
            Piece(shot.answer, secret=shot.secret),
        )
    return Block(tuple(pieces))
