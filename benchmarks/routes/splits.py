"""Seeded halves: the same keys give the same halves, in whatever order they come."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

SEED = 20
T = TypeVar("T")


def halves(keys: Iterable[str], purpose: str, seed: int = SEED) -> Mapping[str, int]:
    """Half of each key, 0 or 1; of an odd number, half 0 has the larger one."""
    order = sorted(set(keys))
    random.Random(f"{seed}/{purpose}").shuffle(order)
    return {key: int(2 * place >= len(order)) for place, key in enumerate(order)}


def drawn(items: Sequence[T], count: int, purpose: str, seed: int = SEED) -> list[T]:
    """So many of the items, or all of them if there are fewer."""
    return random.Random(f"{seed}/{purpose}").sample(items, min(count, len(items)))
