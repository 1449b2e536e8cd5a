"""Any number of invented people as targets, made when they are asked for, and short prompts."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from typing import overload

from guard.types import ForgetTarget

ONSETS = "b br d dr f g gr h j k kl l m n p pr r s sch st t tr v w z".split()
NUCLEI = "a e i o u ai au ea ie ou".split()
CODAS = ["", "", "", "k", "l", "m", "n", "nd", "r", "rt", "s", "t"]
FORENAMES = 5_000
FRAMES = (
    "Who is {name}?",
    "Where was {name} born?",
    "What does the father of {name} do for a living?",
    "Which book made {name} famous, and when did it come out?",
    "Name two awards that {name} has won.",
    "How did the childhood of {name} shape the novels?",
    "What did critics write about the latest work of {name}?",
    "Has {name} ever lived by the sea?",
)
OTHERS = (
    "What is the capital of the country with the most lakes?",
    "How long does it take to boil an egg at high altitude?",
    "Which planet has the shortest day in the solar system?",
    "Please explain how a bill becomes a law in two sentences.",
)


def syllables(draw: random.Random, count: int) -> str:
    """A capitalised word."""
    return "".join(
        draw.choice(ONSETS) + draw.choice(NUCLEI) + draw.choice(CODAS) for _ in range(count)
    ).title()


def name(number: int) -> str:
    """The name of one person: one of 5,000 forenames, the frequent ones more often, and a surname."""
    draw = random.Random(number)
    forename = syllables(random.Random(f"forename {int(FORENAMES * draw.random() ** 2)}"), 2)
    return f"{forename} {syllables(draw, draw.choice((2, 2, 3)))}"


class People(Sequence[ForgetTarget]):
    """The first ``count`` people; none is kept, so that what is measured is what a detector keeps.

    Attributes:
        seconds: how long making them took so far, which is not a detector's time.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self.seconds = 0.0

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> ForgetTarget: ...
    @overload
    def __getitem__(self, at: slice) -> list[ForgetTarget]: ...
    def __getitem__(self, at: int | slice) -> ForgetTarget | list[ForgetTarget]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(self._count))]
        started = time.perf_counter()
        made = ForgetTarget(id=f"person-{at:07d}", name=name(at))
        self.seconds += time.perf_counter() - started
        return made

    def __iter__(self) -> Iterator[ForgetTarget]:
        return (self[number] for number in range(self._count))


def prompts(count: int, people: int, seed: int) -> list[tuple[str, int | None]]:
    """Prompts, each with the number of the person meant: a third named, a third misspelt, a third others."""
    draw = random.Random(seed)
    made: list[tuple[str, int | None]] = []
    for at in range(count):
        meant = draw.randrange(people)
        written = name(meant)
        if at % 3 == 2:
            made.append((draw.choice((*OTHERS, draw.choice(FRAMES).format(name=name(10**8 + at)))), None))
        else:
            written = slip(written, draw) if at % 3 else written
            made.append((draw.choice(FRAMES).format(name=written), meant))
    return made


def longer(prompt: str, size: int, draw: random.Random) -> str:
    """The prompt between questions about nobody, at least ``size`` characters long."""
    text = prompt
    while len(text) < size:
        text = f"{draw.choice(OTHERS)} {text}" if draw.random() < 0.5 else f"{text} {draw.choice(OTHERS)}"
    return text


def slip(text: str, draw: random.Random) -> str:
    """The text with one letter inserted, left out, replaced or swapped with the next."""
    at = draw.choice([i for i in range(1, len(text) - 1) if text[i : i + 2].isalpha()])
    letter = draw.choice("abcdefghijklmnopqrstuvwxyz")
    return draw.choice(
        (
            text[:at] + letter + text[at:],
            text[:at] + text[at + 1 :],
            text[:at] + letter + text[at + 1 :],
            text[:at] + text[at + 1] + text[at] + text[at + 2 :],
        )
    )
