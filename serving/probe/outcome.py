"""What an attack ends with, and the row that a surface gets in the report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from guard.errors import LetheError


class NotOffered(LetheError, RuntimeError):
    """The server lacks what an attack needs; the message says what."""


class Kind(StrEnum):
    """How one attack on one subject ended, worst first."""

    LEAKED = "leaked"  # the secret came out
    MALFORMED = "malformed"  # an answer breaks the protocol
    UNCLEAR = "unclear"  # no answer, or a fault of the server: nothing is known
    CLEAN = "clean"  # answered, and without the secret
    REFUSED = "refused"  # a proper error refuses the request
    ABSENT = "absent"  # the server does not have the feature


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attack; the excerpt never holds a secret."""

    kind: Kind
    note: str = ""
    excerpt: str = ""


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The first of the worst outcomes.

    Raises:
        ValueError: there is none.
    """
    order = list(Kind)
    return min(outcomes, key=lambda outcome: order.index(outcome.kind))


class Status(StrEnum):
    """What a row says about the targets."""

    PASS = "pass"
    FAIL = "fail"
    ERROR = "error"  # could not be judged
    NOT_OFFERED = "not offered"


class Attack(StrEnum):
    """What the same attack did to targets that nobody protects."""

    PROVEN = "proven"  # it brought a control's secret out
    SILENT = "silent"  # it did not, so a pass says little
    NONE = "-"  # no controls were given, or the server lacks the feature


_STATUS = {
    Kind.LEAKED: Status.FAIL,
    Kind.MALFORMED: Status.FAIL,
    Kind.UNCLEAR: Status.ERROR,
    Kind.CLEAN: Status.PASS,
    Kind.REFUSED: Status.PASS,
    Kind.ABSENT: Status.NOT_OFFERED,
}


@dataclass(frozen=True, slots=True)
class Row:
    """One surface in the report."""

    surface: str
    status: Status
    attack: Attack = Attack.NONE
    requests: int = 0
    leaks: str = ""  # "2 of 4": targets whose secret came out
    excerpt: str = ""
    note: str = ""
    seconds: float = 0.0


def row(surface: str, targets: list[Outcome], controls: list[Outcome]) -> Row:
    """The row of an attack that was tried on each target and each control."""
    end = worst(targets)
    leaks = sum(outcome.kind is Kind.LEAKED for outcome in targets)
    proven = any(outcome.kind is Kind.LEAKED for outcome in controls)
    tried = any(outcome.kind is not Kind.ABSENT for outcome in controls)
    attack = Attack.NONE if not tried else Attack.PROVEN if proven else Attack.SILENT
    said = f"{leaks} of {len(targets)}" if leaks else ""
    return Row(surface, _STATUS[end.kind], attack, leaks=said, excerpt=end.excerpt, note=end.note)
