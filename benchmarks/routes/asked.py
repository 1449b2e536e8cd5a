"""A prompt of the benchmark, and what it ought to be taken for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from guard.normalize import fold
from guard.types import ForgetTarget


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt.

    Attributes:
        segments: its messages.
        kind: of attack, or of benign prompt.
        half: which half of the world it belongs to, 0 or 1: one half is tested with what the other taught.
        owner: target that it concerns, or beside which it lies; "" if there is none.
        forget: it concerns the owner.
        answer: the true answer, if known.
    """

    segments: tuple[str, ...]
    kind: str
    half: int
    owner: str = ""
    forget: bool = False
    answer: str = ""


def named(text: str, name: str) -> bool:
    """True if the text has the name as whole words, however either is written."""
    return (wanted := _folded(name)) in _folded(text) and bool(
        re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", _folded(text))
    )


def names_other(asked: Asked, targets: Sequence[ForgetTarget]) -> bool:
    """True if a prompt names a target that is not its owner: then it concerns that one."""
    return any(
        named(text, name)
        for target in targets
        if target.id != asked.owner
        for name in target.names
        for text in asked.segments
    )


@lru_cache(maxsize=100_000)
def _folded(text: str) -> str:
    return fold(text).text
