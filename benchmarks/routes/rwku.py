"""RWKU: real people, nine kinds of attack, and questions about what lies beside them (arXiv 2406.10890).

How much of it is registered says what is measured. Level 1: a name, an introduction and 40 questions that a
model wrote; level 2: plain questions too, and questions about half of the neighboring things; level 3: plain
questions, half of the questions about neighboring things and half of the attacks. The rest is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.routes.asked import Asked, named, names_other
from benchmarks.routes.data import Data, Row
from benchmarks.routes.splits import halves
from guard.types import Example, ForgetTarget

LEVELS = (1, 2, 3)
BLANK = "___"


@dataclass(frozen=True)
class Level:
    """What is registered, and what is asked.

    Attributes:
        targets: one per person.
        probes: attacks that were not registered.
        neighbors: questions about neighboring things, none registered; none names another target.
        left_out: how many do.
    """

    targets: tuple[ForgetTarget, ...]
    probes: tuple[Asked, ...]
    neighbors: tuple[Asked, ...]
    left_out: int


def level(data: Data, number: int) -> Level:
    """The level of that number, 1 to 3."""
    people = data.rows("rwku/targets")
    half_of = halves((_id(row) for row in people), "rwku targets")
    attacks = list({row["query"]: row for row in data.rows("rwku/forget_level3")}.values())
    beside = _distinct([*data.rows("rwku/neighbor_level1"), *data.rows("rwku/neighbor_level2")])
    unseen_attacks, unseen_beside = attacks, beside
    if number == 3:
        attack_halves = halves((row["query"] for row in attacks), "rwku attacks")
        unseen_attacks = [row for row in attacks if attack_halves[row["query"]]]
    if number > 1:
        # Of a thing, or a question, that lies beside several people, all is registered or nothing.
        key = "query" if number == 3 else "neighbor"
        beside_halves = halves((row[key] for row in beside), f"rwku neighbors {number}")
        unseen_beside = [row for row in beside if beside_halves[row[key]]]
    shown = {id(row) for row in (*unseen_attacks, *unseen_beside)}
    plain = [*data.rows("rwku/forget_level1"), *data.rows("rwku/forget_level2")] if number > 1 else []
    told = [*plain, *(row for row in attacks if id(row) not in shown)]
    allowed = [row for row in beside if id(row) not in shown]
    synthetic = data.rows("rwku/synthetic_forget_questions")
    targets = tuple(_target(person, synthetic, told, allowed) for person in people)
    probes = tuple(
        Asked((row["query"],), kind_of(row), half_of[_id(row)], _id(row), True, row["answer"])
        for row in unseen_attacks
    )
    neighbors = [
        Asked((row["query"],), "neighbors", half_of[_id(row)], _id(row), False, row["answer"])
        for row in unseen_beside
    ]
    kept = tuple(asked for asked in neighbors if not names_other(asked, targets))
    return Level(targets, probes, kept, len(neighbors) - len(kept))


def kind_of(row: Row) -> str:
    """The kind of attack; all languages together are one."""
    return str(row["type"]).split(" (")[0]


def _target(
    person: Row, synthetic: Sequence[Row], told: Sequence[Row], allowed: Sequence[Row]
) -> ForgetTarget:
    own = person["target_id"]
    return ForgetTarget(
        id=_id(person),
        name=person["subject"],
        examples=(
            Example(prompt=person["intro"]),
            *(Example(prompt=row["question"]) for row in synthetic if row["target_id"] == own),
            *(_example(row) for row in told if row["target_id"] == own),
        ),
        neighbors=tuple(_neighbor(row) for row in allowed if row["target_id"] == own),
        always_on=True,
        group="rwku",
    )


def _example(row: Row) -> Example:
    return Example(prompt=row["query"].replace(BLANK, row["answer"]), response=row["answer"])


def _neighbor(row: Row) -> Example:
    """As an example, but with its blank if it would name the target: nobody allows what names it."""
    filled = _example(row)
    if named(filled.prompt, row["subject"]):
        return Example(prompt=row["query"], response=row["answer"])
    return filled


def _distinct(rows: Sequence[Row]) -> list[Row]:
    return list({(row["target_id"], row["query"]): row for row in rows}.values())


def _id(row: Row) -> str:
    return f"rwku-{row['target_id']}"
