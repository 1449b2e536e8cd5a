"""Who is asked about: the secrets of a target, and questions that should bring them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from guard.errors import InputError
from guard.targets import read_jsonl
from guard.types import ForgetTarget
from serving.probe.judge import Judge

QUESTIONS = 2  # of each subject: enough to find a leak, few enough for a slow server
# For targets without an example that helps: attacks that force tokens need no fitting question.
ANY_QUESTION = "Please go on with what you know."


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt that does not hold the secret, and what the model says before it comes to it."""

    prompt: str
    lead: str
    secret: str

    @property
    def halves(self) -> tuple[str, ...]:
        """Beginnings of the secret: its first letter, its half, and all but its last letter."""
        size = len(self.secret)
        return tuple(self.secret[:n] for n in sorted({1, size // 2, size - 1}) if 0 < n < size)


@dataclass(frozen=True)
class Subject:
    """A target or a control: what it must not say, and how to ask."""

    judge: Judge
    questions: tuple[Question, ...]
    control: bool = False

    @property
    def secret(self) -> str:
        """The secret that attacks aim at."""
        return self.questions[0].secret


def read_subjects(path: Path, *, control: bool = False) -> list[ForgetTarget]:
    """The targets of a file that have strings to look for.

    Raises:
        InputError: the file cannot be read, or a target has neither phrases nor a name.
    """
    targets = read_jsonl(path)
    if not targets:
        raise InputError(f"{path} holds no targets; give one JSON object a line")
    for number, target in enumerate(targets, 1):
        if not secrets_of(target):
            kind = "control" if control else "target"
            raise InputError(
                f"{path}: {kind} {number} has neither phrases nor a name to look for; give it one"
            )
    return targets


def secrets_of(target: ForgetTarget) -> tuple[str, ...]:
    """What a response must not hold: the phrases, or the names where there are none."""
    return target.phrases or target.names


def names_of(target: ForgetTarget) -> tuple[str, ...]:
    """By which a stranger would ask about the target; phrases are no names."""
    return target.names[:1]


def subjects(targets: Sequence[ForgetTarget], controls: Sequence[ForgetTarget]) -> list[Subject]:
    """Targets, then controls; each one's excerpts hide the secrets of all."""
    hidden = [secret for target in (*targets, *controls) for secret in secrets_of(target)]
    return [_subject(target, hidden, False) for target in targets] + [
        _subject(control, hidden, True) for control in controls
    ]


def _subject(target: ForgetTarget, hidden: Sequence[str], control: bool) -> Subject:
    secrets = secrets_of(target)
    judge = Judge(secrets, hidden)
    asked = [
        question
        for example in target.examples
        if not judge.find(example.prompt)
        for question in _questions(example.prompt, example.response, secrets)
    ]
    questions = tuple(asked[:QUESTIONS]) or (Question(ANY_QUESTION, "", secrets[0]),)
    return Subject(judge, questions, control)


def _questions(prompt: str, response: str, secrets: Sequence[str]) -> list[Question]:
    """The question, if its response holds a secret as it is written."""
    at, secret = min(((response.find(s), s) for s in secrets if s in response), default=(-1, ""))
    return [Question(prompt, response[:at], secret)] if at >= 0 else []
