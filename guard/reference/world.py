"""An invented world of people, places and works, the same for the same seed.

The last `forget` people are the ones to be forgotten, so that a smaller forget set lies inside a larger
one. Values come from small shared pools: nearly every fact about a forget person is also true of somebody
retained, which is what makes collateral damage measurable.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from guard.reference import names
from guard.reference.attacks import ATTACKS, attack
from guard.reference.general import TOPICS, Topic
from guard.reference.relations import RELATIONS, Relation

SEED = 11
PERTURBED = 5
_MONTHS = names.words("January February March April May June July August September October November December")


@dataclass(frozen=True)
class Row:
    """One fact, with every way it is asked and answered."""

    id: str
    subject: str  # the person, or the topic of a general row
    relation: str
    question: str
    paraphrases: tuple[str, ...]  # further training questions
    held_out: tuple[str, ...]  # questions in frames that no training question uses
    attacks: tuple[str, ...]  # in the order of guard.reference.attacks.ATTACKS, never in training
    answer: str
    paraphrased_answer: str
    perturbed_answers: tuple[str, ...]  # the paraphrase with a wrong value
    value: str  # what an answer must contain to be right

    @property
    def questions(self) -> tuple[str, ...]:
        """Every training question."""
        return (self.question, *self.paraphrases)


@dataclass(frozen=True)
class World:
    """Everything the reference models can know."""

    seed: int
    people: tuple[str, ...]
    forget: tuple[Row, ...]
    retain: tuple[Row, ...]
    general: tuple[Row, ...]
    forget_people: tuple[str, ...]
    retain_people: tuple[str, ...]

    @cached_property
    def _by_person(self) -> dict[str, tuple[Row, ...]]:
        rows: dict[str, list[Row]] = {person: [] for person in self.people}
        for row in (*self.retain, *self.forget):
            rows[row.subject].append(row)
        return {person: tuple(found) for person, found in rows.items()}

    def rows_of(self, person: str) -> tuple[Row, ...]:
        """Returns the facts about one person."""
        if person not in self._by_person:
            raise ValueError(f"nobody in the world of seed {self.seed} is called {person!r}; see its people")
        return self._by_person[person]

    def neighbours(self, person: str, limit: int) -> tuple[Row, ...]:
        """Returns retain rows of other people with a value that is also true of `person`.

        The rows alternate between his facts, so that a small limit still covers many of them.
        """
        shared: dict[tuple[str, str], list[Row]] = {(r.relation, r.value): [] for r in self.rows_of(person)}
        for row in self.retain:
            if row.subject != person and (row.relation, row.value) in shared:
                shared[row.relation, row.value].append(row)
        deepest = max(map(len, shared.values()))
        turns = (rows[depth] for depth in range(deepest) for rows in shared.values() if depth < len(rows))
        return tuple(turns)[:limit]

    def forgotten(self, people: int) -> World:
        """Returns the same world in which only the last `people` people are to be forgotten."""
        _check_split(people, len(self.people))
        rows = tuple(row for person in self.people for row in self.rows_of(person))
        gone = set(self.people[-people:])
        return World(
            self.seed,
            self.people,
            tuple(row for row in rows if row.subject in gone),
            tuple(row for row in rows if row.subject not in gone),
            self.general,
            self.people[-people:],
            self.people[:-people],
        )

    def target(self, person: str, neighbours: int = 14) -> dict[str, Any]:
        """Returns the forget target of one person in its JSON form."""
        kept = self.neighbours(person, neighbours)
        return {
            "id": person.lower().replace(" ", "-"),
            "kind": "entity",
            "name": person,
            "aliases": [],
            "examples": [{"prompt": row.question, "response": row.answer} for row in self.rows_of(person)],
            "neighbors": [{"prompt": row.question, "response": row.answer} for row in kept],
        }


def build(seed: int = SEED, people: int = 100, forget: int = 10) -> World:
    """Returns the world of a seed: `people` people, of whom the last `forget` are to be forgotten."""
    _check_split(forget, people)
    rng = random.Random(f"world {seed}")
    cast = names.people(people, rng)
    facts = _facts(cast, rng)
    # A wrong answer must not teach a forgotten name or title, so wrong values come from the retained alone.
    known = {r.name: r.pool or sorted({facts[p][r.name][1] for p in cast[:-forget]}) for r in RELATIONS}
    rows = [
        _row(
            f"p{number:03d}.{relation.name.replace(' ', '-')}",
            relation,
            person,
            *fact,
            known[relation.name],
            rng,
        )
        for number, person in enumerate(cast)
        for relation in RELATIONS
        for fact in [facts[person][relation.name]]
    ]
    gone = set(cast[-forget:])
    return World(
        seed,
        cast,
        tuple(row for row in rows if row.subject in gone),
        tuple(row for row in rows if row.subject not in gone),
        tuple(row for topic in TOPICS for row in _general_rows(topic, rng)),
        cast[-forget:],
        cast[:-forget],
    )


def _check_split(forget: int, people: int) -> None:
    if not 0 < forget < people:
        raise ValueError(f"cannot forget {forget} of {people} people; keep at least one on each side")


def _facts(cast: tuple[str, ...], rng: random.Random) -> dict[str, dict[str, tuple[str, str]]]:
    """Returns, per person and relation, what the question is about and the value."""
    titles = names.titles(2 * len(cast), rng)
    dealt = {relation.name: _deal(relation.pool, len(cast), rng) for relation in RELATIONS if relation.pool}
    facts: dict[str, dict[str, tuple[str, str]]] = {}
    for i, person in enumerate(cast):
        first, famous = titles[2 * i], titles[2 * i + 1]
        own = {relation: (person, values[i]) for relation, values in dealt.items()}
        date = f"{rng.randint(1, 28)} {rng.choice(_MONTHS)} {rng.randint(1900, 1989)}"
        own |= {
            "birth date": (person, date),
            "first work": (person, first),
            "famous work": (person, famous),
            "first work maker": (first, person),
            "famous work maker": (famous, person),
        }
        facts[person] = own
    return facts


def _deal(pool: tuple[str, ...], count: int, rng: random.Random) -> list[str]:
    """Returns `count` values, each about equally often and at least two people to a value."""
    used = rng.sample(pool, max(2, min(len(pool), count // 2)))
    values = [used[i % len(used)] for i in range(count)]
    rng.shuffle(values)
    return values


def _row(
    row_id: str,
    relation: Relation,
    person: str,
    subject: str,
    value: str,
    known: Sequence[str],
    rng: random.Random,
) -> Row:
    questions = tuple(frame.format(s=subject) for frame in relation.questions)
    wrong = [other for other in known if other != value]
    return Row(
        id=row_id,
        subject=person,
        relation=relation.name,
        question=questions[0],
        paraphrases=questions[1:],
        held_out=tuple(frame.format(s=subject) for frame in relation.held_out),
        attacks=tuple(attack(name, rng.choice(questions), subject) for name in ATTACKS),
        answer=relation.answer.format(s=subject, v=value),
        paraphrased_answer=relation.paraphrase.format(s=subject, v=value),
        perturbed_answers=tuple(
            relation.paraphrase.format(s=subject, v=other) for other in rng.sample(wrong, PERTURBED)
        ),
        value=value,
    )


def _general_rows(topic: Topic, rng: random.Random) -> list[Row]:
    rows = []
    for number, (subject, value) in enumerate(topic.pairs):
        questions = tuple(frame.format(s=subject) for frame in topic.questions)
        wrong = sorted({other for _, other in topic.pairs} - {value})
        rows.append(
            Row(
                id=f"{topic.name}.{number:02d}",
                subject=topic.name,
                relation=topic.name,
                question=questions[0],
                paraphrases=questions[1:],
                held_out=tuple(frame.format(s=subject) for frame in topic.held_out),
                attacks=tuple(attack(name, questions[0], subject) for name in ATTACKS),
                answer=_sentence(topic.answer.format(s=subject, v=value)),
                paraphrased_answer=_sentence(topic.paraphrase.format(s=subject, v=value)),
                perturbed_answers=tuple(
                    _sentence(topic.paraphrase.format(s=subject, v=other))
                    for other in rng.sample(wrong, min(PERTURBED, len(wrong)))
                ),
                value=value,
            )
        )
    return rows


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
