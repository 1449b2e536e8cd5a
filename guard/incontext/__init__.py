"""In-context unlearning: what is put into a routed prompt so that the model answers as if it did not know.

The classifier has decided already which targets a request concerns, so only those are named. One more way to
write the prompt = one file with a ``build`` and one line in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from guard.incontext import icu, icul
from guard.incontext.config import InContext
from guard.incontext.fitting import Count, Injected, estimate
from guard.incontext.placement import Message, takes_late_system
from guard.incontext.secrecy import automata
from guard.types import ForgetTarget

__all__ = ["BUILDERS", "Builder", "InContext", "Injected", "automata", "inject", "takes_late_system"]

Builder = Callable[[Sequence[Message], Sequence[ForgetTarget], InContext, Count, int | None], Injected]
"""Messages, routed targets, configuration, token counter and tokens left in the model's length."""

BUILDERS: dict[str, Builder] = {"icu": icu.build, "icul": icul.build}


def inject(
    messages: Sequence[Message],
    targets: Sequence[ForgetTarget],
    config: InContext,
    count: Count = estimate,
    room: int | None = None,
) -> Injected:
    """The messages with the in-context unlearning block of the configured builder.

    Args:
        messages: as the chat API has them.
        targets: those the request is routed to; without any the messages stay as they are.
        config: which block, and how large.
        count: tokens of a text; the default estimates them.
        room: tokens that the model's length leaves for the block; None: as many as the budget.
    """
    return BUILDERS[config.builder](messages, targets, config, count, room)
