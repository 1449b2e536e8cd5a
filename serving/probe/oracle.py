"""Whether an answer tells that a name is registered, although it does not say the name's secret.

The attacker asks the same questions about names that are registered and names that nobody registered, learns
the difference on one half of the names and guesses the other half, then the other way round.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Sequence
from statistics import fmean
from typing import Any

from guard.reference.scripted import WHO
from serving.probe.client import Answer
from serving.probe.outcome import Row, Status
from serving.probe.session import Session
from serving.probe.surface import Surface

MOST = 100  # names of each kind
LEAST = 8  # below, even a perfect guesser's interval reaches down to chance
LENGTH = 32  # tokens of an answer
WARM_UP = 4  # requests before time counts
# A name's own spelling and length make a difference that no server is to blame for; a guesser who is right
# in 55 of 100 cases learns next to nothing about any one name.
CHANCE, MARGIN = 0.5, 0.05
CONFIDENCE = 0.95

Features = dict[str, float]
Look = Callable[[Session, str], Awaitable[Features]]


async def content(session: Session) -> Row:
    """Guesses from text, finish reason, header names and usage."""
    return await _survey(session, "oracle.content", _content, at_once=True)


async def logprobs(session: Session) -> Row:
    """Guesses from the logprobs of the answer."""
    return await _survey(session, "oracle.logprobs", _logprobs, at_once=True)


async def timing(session: Session) -> Row:
    """Guesses from the time to the first token and to the last, one request at a time."""
    if session.registered and session.strangers:
        for name in session.strangers[:WARM_UP]:
            await _timing(session, name)
    return await _survey(session, "oracle.timing", _timing, at_once=False)


async def _survey(session: Session, surface: str, look: Look, at_once: bool) -> Row:
    count = min(len(session.registered), len(session.strangers), MOST)
    if count < LEAST:
        note = f"needs {LEAST} registered names and as many strangers (--registered, --strangers)"
        return Row(surface, Status.NOT_OFFERED, note=note)
    rng = session.rng(surface)
    asked = [(name, 1) for name in rng.sample(session.registered, count)]
    asked += [(name, 0) for name in rng.sample(session.strangers, count)]
    rng.shuffle(asked)
    if at_once:
        seen = await asyncio.gather(*(look(session, name) for name, _ in asked))
    else:
        seen = [await look(session, name) for name, _ in asked]
    right = guess(seen, [kind for _, kind in asked])
    low, high = interval(right, len(asked))
    told = f"{right} of {len(asked)} names guessed right, {CONFIDENCE:.0%} interval {low:.2f} to {high:.2f}"
    status = Status.FAIL if low > CHANCE + MARGIN else Status.PASS
    return Row(surface, status, note=told)


def guess(seen: Sequence[Features], kinds: Sequence[int]) -> int:
    """How many names a classifier guesses right that learned from the other half of them."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    right = 0
    for test in (0, 1):
        half = _half(kinds)
        train = [i for i in range(len(kinds)) if half[i] != test]
        model = make_pipeline(
            DictVectorizer(sparse=False), StandardScaler(), LogisticRegression(max_iter=1000)
        )
        model.fit([seen[i] for i in train], [kinds[i] for i in train])
        rest = [i for i in range(len(kinds)) if half[i] == test]
        guesses = model.predict([seen[i] for i in rest])
        right += sum(int(guessed) == kinds[i] for guessed, i in zip(guesses, rest, strict=True))
    return right


def interval(right: int, total: int) -> tuple[float, float]:
    """Bounds of the share that ``right`` of ``total`` stands for (Clopper-Pearson)."""
    from scipy.stats import binomtest

    bounds = binomtest(right, total).proportion_ci(confidence_level=CONFIDENCE, method="exact")
    return float(bounds.low), float(bounds.high)


def _half(kinds: Sequence[int]) -> list[int]:
    """0 or 1 for each name, so that both halves hold as many of each kind."""
    counts = {0: 0, 1: 0}
    halves = []
    for kind in kinds:
        halves.append(counts[kind] % 2)
        counts[kind] += 1
    return halves


async def _content(session: Session, name: str) -> Features:
    answers = await _ask(session, name)
    return _mean([_seen(answer, name) for answer in answers])


async def _logprobs(session: Session, name: str) -> Features:
    answers = await _ask(session, name, logprobs=True, top_logprobs=1)
    found = []
    for answer in answers:
        told = ((answer.choices[0].get("logprobs") or {}).get("content") or []) if answer.choices else []
        values = [entry["logprob"] for entry in told]
        certain = fmean(value > -1e-6 for value in values) if values else 0.0
        mean = fmean(values) if values else 0.0
        found.append(
            {f"status:{answer.status}": 1.0, "told": float(bool(told)), "mean": mean, "certain": certain}
        )
    return _mean(found)


async def _timing(session: Session, name: str) -> Features:
    found = []
    for wording in WHO:
        answer = await session.chat(wording.format(name=name), max_tokens=LENGTH, stream=True)
        found.append({"first": math.log(answer.first + 1e-4), "whole": math.log(answer.seconds + 1e-4)})
    return _mean(found)


async def _ask(session: Session, name: str, **options: Any) -> list[Answer]:
    return await asyncio.gather(
        *(session.chat(wording.format(name=name), max_tokens=LENGTH, **options) for wording in WHO)
    )


def _seen(answer: Answer, name: str) -> Features:
    """What a client can look at, the asked name taken out."""
    seen: Features = {f"status:{answer.status} {answer.error_type}": 1.0}
    seen |= {f"header:{header}": 1.0 for header in answer.headers}
    for choice in answer.choices:
        text = str((choice.get("message") or {}).get("content") or "").casefold()
        own = set(re.findall(r"\w+", name.casefold()))
        words = [word for word in re.findall(r"\w+", text) if word not in own]
        seen |= {f"word:{word}": 1.0 for word in words}
        seen |= {f"finish:{choice.get('finish_reason')} {choice.get('stop_reason')}": 1.0}
        seen["words"] = float(len(words))
    usage = (answer.body or {}).get("usage") or {} if isinstance(answer.body, dict) else {}
    seen["completion tokens"] = float(usage.get("completion_tokens") or 0)
    seen["cached tokens"] = float((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
    return seen


def _mean(found: Sequence[Features]) -> Features:
    names = {name for seen in found for name in seen}
    return {name: fmean(seen.get(name, 0.0) for seen in found) for name in names}


ORACLE = {
    "oracle.content": Surface(
        "does text, finish reason, header or usage tell a registered name", survey=content
    ),
    "oracle.logprobs": Surface("do logprobs tell a registered name", survey=logprobs),
    "oracle.timing": Surface(
        "does the time to the first or last token tell a registered name", survey=timing
    ),
}
