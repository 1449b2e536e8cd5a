"""Questions with answers to show in a prompt, and which of them would tell what is to be forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from guard.incontext import substitute
from guard.incontext.comparison import plain, runs, words
from guard.incontext.config import InContext
from guard.phrases import extracted_phrases
from guard.types import ForgetTarget

_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Shot:
    """One question with the answer that is shown.

    Attributes:
        target_id: of the target it stands for; empty for what is retained.
        question: as the target has it.
        answer: substituted, or the true one of a retained question.
        secret: no response may repeat the answer. What is retained must still be said, and a refusal may.
    """

    target_id: str
    question: str
    answer: str
    secret: bool = False


def forget_shots(
    target: ForgetTarget, routed: Sequence[ForgetTarget], asked: str, config: InContext
) -> list[Shot]:
    """The target's questions with substituted answers, the one nearest to ``asked`` first."""
    wanted = frozenset(words(asked))
    told = _told(routed) if config.mode == "redacted" else frozenset()
    ordered = sorted(target.examples, key=lambda example: -_overlap(frozenset(words(example.prompt)), wanted))
    shots = []
    for example in ordered:
        if tells(example.prompt, told):
            continue
        if config.substitute == "kept":
            shots.append(Shot(target.id, example.prompt, example.response, secret=True))
        elif config.substitute == "refusal":
            shots.append(Shot(target.id, example.prompt, substitute.refusal(target.id, example.prompt)))
        elif (answer := _invented(target.id, example.prompt, told)) is not None:
            shots.append(Shot(target.id, example.prompt, answer, secret=True))
    return shots


def retain_shots(target: ForgetTarget, routed: Sequence[ForgetTarget], config: InContext) -> list[Shot]:
    """The target's neighbors as they are, without those that tell something of a routed target."""
    told = _told(routed) if config.mode == "redacted" else frozenset()
    return [
        Shot("", neighbor.prompt, neighbor.response)
        for neighbor in target.neighbors
        if not tells(f"{neighbor.prompt}\n{neighbor.response}", told)
    ]


def tells(text: str, told: Iterable[str]) -> bool:
    """True if a text holds one of the strings, in the form of `plain`; a word may go on behind it."""
    found = plain(text)
    return any(string.rstrip() in found for string in told)


def _told(targets: Sequence[ForgetTarget]) -> frozenset[str]:
    """Strings that tell a forget answer: its phrases apart from names, and any five words of it."""
    names = [plain(name) for target in targets for name in target.names]
    strings = {string for target in targets for string in _strings(target)}
    return frozenset(s for s in strings if s.strip() and not any(s in name for name in names))


def _strings(target: ForgetTarget) -> Iterator[str]:
    yield from map(plain, (*target.phrases, *extracted_phrases(target)))
    for example in target.examples:
        yield from runs(example.response)


def _invented(target_id: str, question: str, told: Iterable[str]) -> str | None:
    """An invented answer that by chance is not a true one."""
    attempts = (substitute.value(target_id, question, attempt) for attempt in range(_ATTEMPTS))
    return next((answer for answer in attempts if not tells(answer, told)), None)


def _overlap(given: frozenset[str], wanted: frozenset[str]) -> float:
    return len(given & wanted) / len(given | wanted) if given and wanted else 0.0
