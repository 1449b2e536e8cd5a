"""Full names to forbid: of the reference world's making, none of them anybody's in it."""

from __future__ import annotations

import random

from guard import reference
from guard.reference import names


def full_names(count: int, seed: int = 7) -> list[str]:
    """Different names that share their syllables with those the reference model says, so that matches begin.

    Beyond the 135,000 such names there are, a number is put behind.
    """
    taken = set(reference.build().people)
    given = [head + tail for head in names._GIVEN_HEADS for tail in names._GIVEN_TAILS]
    family = [head + tail for head in names._FAMILY_HEADS for tail in names._FAMILY_TAILS]
    draw = random.Random(seed)
    every = [f"{a} {b}" for a in given for b in family if f"{a} {b}" not in taken]
    draw.shuffle(every)
    return [every[i % len(every)] + (f" {i}" if i >= len(every) else "") for i in range(count)]
