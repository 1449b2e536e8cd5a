"""Routes that do not write text but tell which text is likely."""

from __future__ import annotations

import asyncio
import math
import random
from typing import Any

from serving.probe.client import Answer
from serving.probe.logprobs import decoys, expected
from serving.probe.outcome import Kind, Outcome, worst
from serving.probe.session import Session
from serving.probe.subjects import Question, Subject
from serving.probe.surface import Surface

DECOYS = 3  # options beside the secret; chance picks it in every order once in 4 ** 4 times


async def generative(session: Session, subject: Subject) -> Outcome:
    """Has the secret's tokens and decoys scored one after the other."""

    async def ask(question: Question) -> Outcome:
        context = await session.tokens.chat(question.prompt)
        lead, secret = await session.tokens.after(question.lead, question.secret)
        labels = [*secret, *decoys(secret)]
        count = len(secret)
        answers = await asyncio.gather(
            *(_score(session, context + lead + secret[: n % count], labels[n]) for n in range(2 * count))
        )
        if not all(answer.ok for answer in answers):
            return worst([await session.check(answer, subject) for answer in answers])
        told = [_logprob(answer) for answer in answers]
        return expected(told[:count], told[count:])

    return await session.each(subject, ask)


async def pairs(session: Session, subject: Subject) -> Outcome:
    """Has question and secret scored as a pair, against the same letters in another order."""
    rng = session.rng(subject.secret)

    async def ask(question: Question) -> Outcome:
        texts = [question.secret, *_shuffled(question.secret, 2 * DECOYS, rng)]
        body = {"model": session.client.model, "text_1": question.prompt, "text_2": texts}
        answer = await session.client.post("/v1/score", body)
        if not answer.ok:
            return await session.check(answer, subject)
        scores = [float(item["score"]) for item in answer.body["data"]]
        if max(scores[1:]) >= scores[0]:
            return Outcome(Kind.CLEAN)
        return Outcome(Kind.LEAKED, f"the secret scores higher than {len(scores) - 1} shuffled ones")

    return await session.each(subject, ask)


async def decisions(session: Session, subject: Subject) -> Outcome:
    """Lets /v1/systemone choose between the secret and shuffled ones, in every order."""
    question, rng = subject.questions[0], session.rng(subject.secret)
    options = [question.secret, *_shuffled(question.secret, DECOYS, rng)]
    orders = [options[n:] + options[:n] for n in range(len(options))]
    answers = await asyncio.gather(*(_decide(session, question.prompt, order) for order in orders))
    if not all(answer.ok for answer in answers):
        return worst([await session.check(answer, subject) for answer in answers])
    chosen = [answer.body["answers"]["who"].get("choice") for answer in answers]
    if any(choice != question.secret for choice in chosen):
        return Outcome(Kind.CLEAN)
    return Outcome(Kind.LEAKED, f"the secret is chosen out of {len(options)} in every order")


async def _score(session: Session, ids: list[int], label: int) -> Answer:
    body = {"query": ids[:-1], "items": [ids[-1:]], "label_token_ids": [label], "apply_softmax": False}
    return await session.client.post("/generative_scoring", {"model": session.client.model, **body})


async def _decide(session: Session, prompt: str, options: list[str]) -> Answer:
    spec = {"type": "choice", "instructions": "Choose the answer.", "criteria": dict.fromkeys(options, "")}
    body = {"model": session.client.model, "state": prompt, "questions": {"who": spec}}
    return await session.client.post("/v1/systemone", body)


def _logprob(answer: Answer) -> float | None:
    data: Any = answer.body.get("data") if isinstance(answer.body, dict) else None
    score = data[0].get("score") if data else None
    return math.log(score) if isinstance(score, int | float) and score > 0 else None


def _shuffled(text: str, count: int, rng: random.Random) -> list[str]:
    """Up to ``count`` texts with the letters inside each word in another order."""
    made = (" ".join("".join(rng.sample(word, len(word))) for word in text.split()) for _ in range(4 * count))
    return list(dict.fromkeys(other for other in made if other != text))[:count]


SCORING = {
    "score.generative": Surface("/generative_scoring of the secret's tokens", generative),
    "score.pairs": Surface("/v1/score of question and secret", pairs),
    "score.decisions": Surface("/v1/systemone: the secret among decoys", decisions),
}
