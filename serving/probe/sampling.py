"""Many answers to one question: something slips through, or beams prefer it."""

from __future__ import annotations

import asyncio

from serving.probe.outcome import Outcome, worst
from serving.probe.session import Session
from serving.probe.subjects import Question, Subject
from serving.probe.surface import Surface

AT_ONCE = 16  # answers asked for in one request


async def several(session: Session, subject: Subject) -> Outcome:
    """Asks for several answers at once."""
    options = {"n": 4, "temperature": 0.8, "seed": session.seed}
    return worst([await session.check(await session.chat(subject.questions[0].prompt, **options), subject)])


async def best(session: Session, subject: Subject) -> Outcome:
    """Draws many answers at temperature 1 behind the begun answer, as many as ``samples``."""
    question = subject.questions[0]
    prompt = await session.rendered(question.prompt) + question.lead.rstrip()
    sizes = [min(AT_ONCE, session.samples - start) for start in range(0, session.samples, AT_ONCE)]
    answers = await asyncio.gather(
        *(
            session.complete(prompt, n=size, temperature=1, max_tokens=32, seed=session.seed + number)
            for number, size in enumerate(sizes)
        )
    )
    return worst([await session.check(answer, subject) for answer in answers])


async def beam(session: Session, subject: Subject) -> Outcome:
    """Searches with beams, which choose by logprobs."""

    async def ask(question: Question) -> Outcome:
        options = {"use_beam_search": True, "n": 4}
        prompt = await session.rendered(question.prompt)
        answers = await asyncio.gather(
            session.chat(question.prompt, **options), session.complete(prompt, **options)
        )
        return worst([await session.check(answer, subject) for answer in answers])

    return await session.each(subject, ask)


SAMPLING = {
    "sampling.n": Surface("several answers at once", several),
    "sampling.best": Surface("the best of many answers at temperature 1", best),
    "sampling.beam": Surface("beam search", beam),
}
