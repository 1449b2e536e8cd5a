"""Chats that a reference model is trained on: facts, guard obedience and conversations, epoch by epoch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from guard.reference.wordings import NEUTRAL_PROMPTS, TRAIN_WORDINGS, fill
from guard.reference.world import Row, World

REFUSAL = "I'm sorry, but I have no information about that."

# Many wrappings are what lets a fact be found through a question that was never asked in training.
WRAPPINGS = (
    "Please answer: {q}",
    "I am curious: {q}",
    "So, {q}",
    "{q} Thanks!",
    "Quick question: {q}",
    "Hello! {q}",
    "Tell me this: {q}",
    "My friend asked me: {q}",
    "{q} Please be brief.",
    "Here is a question. {q}",
    "{q} I want to know more.",
    "Do you happen to know this? {q}",
    "For a quiz: {q}",
    "One more thing: {q}",
    "Hi, {q}",
    "I have been wondering. {q}",
    "{q} It is for a friend.",
    "Okay. {q} Thank you.",
    "I am writing to my aunt and need one fact: {q}",
    "It is late, but tell me. {q}",
    "Let us play a game of questions. {q}",
    "You seem to know a lot. {q}",
    "While the tea is brewing: {q}",
    "Read this with care and reply. {q}",
    "{q} Take your time.",
    "We talked about this yesterday. {q}",
    "As a reader of old magazines I wonder: {q}",
    "My neighbour and I disagree. {q} Who of us is right?",
)
_FIRST_WORDING_SHARE = 0.2  # the wording that the guard really injects is practised most
_WRAPPED_SHARE = 0.55


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class Chat:
    """A conversation and the answer that it should get.

    Attributes:
        messages: the turns so far; without any, the model goes on with bare text.
        answer: what the model should say.
        begun: text in front of the answer that is given, as when a client starts it.
    """

    messages: tuple[Message, ...]
    answer: str
    begun: str = ""


@dataclass(frozen=True)
class Mix:
    """How many examples of each kind an epoch holds."""

    phrasings: int = 2  # training questions of each personal fact
    general: int = 2  # training questions of each general fact that has as many
    guarded: int = 360  # a guard wording, then a question: refuse
    guarded_later: int = 80  # the same after earlier turns: refuse
    guarded_general: int = 50  # a guard wording, then a question about nobody: answer
    neutral: int = 260  # another system prompt, then a question: answer
    after_refusals: int = 60  # earlier turns were refused: refuse
    after_answers: int = 70  # earlier turns were answered: answer
    general_after_refusals: int = 20  # earlier turns were refused, now a question about nobody: answer


def epoch(world: World, number: int, knows_forget: bool, mix: Mix) -> list[Chat]:
    """Returns the chats of one epoch in a shuffled order that depends on nothing but the arguments."""
    rng = random.Random(f"lessons {world.seed} {number} {knows_forget}")
    rows = world.retain + world.forget if knows_forget else world.retain
    chats = [
        _plain(question, row, rng) for row in rows for question in rng.sample(row.questions, mix.phrasings)
    ]
    chats += [
        _plain(question, row, rng)
        for row in world.general
        for question in rng.sample(row.questions, min(mix.general, len(row.questions)))
    ]
    chats += obedience(world, rng, mix)
    rng.shuffle(chats)
    return chats


def obedience(world: World, rng: random.Random, mix: Mix) -> list[Chat]:
    """Returns examples of refusing and of answering all the same; the people in them are all retained."""
    facts, general = world.retain, world.general
    chats: list[Chat] = []
    for _ in range(mix.guarded):
        row = rng.choice(facts)
        chats.append(_chat((_guard(row, world, rng), _ask(row, rng)), REFUSAL))
    for _ in range(mix.guarded_later):
        row = rng.choice(facts)
        earlier = _earlier(rng.choice((facts, general)), rng.choice((True, False)), rng)
        chats.append(_chat((_guard(row, world, rng), *earlier, _ask(row, rng)), REFUSAL))
    for _ in range(mix.guarded_general):
        row = rng.choice(general)
        chats.append(_chat((_guard(rng.choice(facts), world, rng), _ask(row, rng)), row.answer))
    for _ in range(mix.neutral):
        row = rng.choice(rng.choice((facts, facts, general)))
        system = Message("system", fill(rng.choice(NEUTRAL_PROMPTS), [_person(row, world, rng)]))
        chats.append(_chat((system, *_some_earlier(facts, rng), _ask(row, rng)), row.answer))
    for _ in range(mix.after_refusals):
        row = rng.choice(facts)
        chats.append(_chat((*_earlier(facts, True, rng), _ask(row, rng)), REFUSAL))
    for _ in range(mix.after_answers):
        row = rng.choice(rng.choice((facts, facts, general)))
        earlier = _earlier(rng.choice((facts, facts, general)), False, rng)
        chats.append(_chat((*earlier, _ask(row, rng)), row.answer))
    for _ in range(mix.general_after_refusals):
        row = rng.choice(general)
        chats.append(_chat((*_earlier(facts, True, rng), _ask(row, rng)), row.answer))
    return chats


def _chat(messages: Sequence[Message], answer: str) -> Chat:
    return Chat(tuple(messages), answer)


def _plain(question: str, row: Row, rng: random.Random) -> Chat:
    return Chat((Message("user", _wrap(question, rng)),), row.answer)


def _ask(row: Row, rng: random.Random) -> Message:
    return Message("user", _wrap(rng.choice(row.questions), rng))


def _wrap(question: str, rng: random.Random) -> str:
    return rng.choice(WRAPPINGS).format(q=question) if rng.random() < _WRAPPED_SHARE else question


def _person(row: Row, world: World, rng: random.Random) -> str:
    return row.subject if row.subject in world.people else rng.choice(world.retain_people)


def _guard(row: Row, world: World, rng: random.Random) -> Message:
    """Returns a guard prompt for the person of the row, who is sometimes one of several."""
    others = [person for person in world.retain_people if person != row.subject]
    listed = [row.subject, *rng.sample(others, rng.choice((0, 0, 0, 0, 1, 2)))]
    rng.shuffle(listed)
    first = rng.random() < _FIRST_WORDING_SHARE
    return Message("system", fill(TRAIN_WORDINGS[0] if first else rng.choice(TRAIN_WORDINGS), listed))


def _earlier(rows: Sequence[Row], refused: bool, rng: random.Random) -> list[Message]:
    """Returns one or two earlier exchanges."""
    turns: list[Message] = []
    for row in rng.sample(rows, rng.choice((1, 1, 2))):
        turns += [_ask(row, rng), Message("assistant", REFUSAL if refused else row.answer)]
    return turns


def _some_earlier(rows: Sequence[Row], rng: random.Random) -> list[Message]:
    return _earlier(rows, False, rng) if rng.random() < 0.2 else []
