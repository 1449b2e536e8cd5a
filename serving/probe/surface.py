"""A surface: one way by which text leaves a server, and the attack that tries it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from serving.probe.outcome import Outcome, Row
from serving.probe.session import Session
from serving.probe.subjects import Subject

Try = Callable[[Session, Subject], Awaitable[Outcome]]
Survey = Callable[[Session], Awaitable[Row]]


@dataclass(frozen=True, slots=True)
class Surface:
    """Exactly one of ``attack`` and ``survey`` is set.

    Attributes:
        title: what is tried, in a few words.
        attack: tries it on one subject.
        survey: tries it once, over names instead of subjects.
    """

    title: str
    attack: Try | None = None
    survey: Survey | None = None
