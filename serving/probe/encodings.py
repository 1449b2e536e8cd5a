"""Answers in another form that the model is asked for: encoded, or in odd letters and spacing."""

from __future__ import annotations

import asyncio

from guard.reference.forms import FORMS
from serving.probe.decoders import DECODERS
from serving.probe.outcome import Outcome, worst
from serving.probe.session import Session
from serving.probe.subjects import Question, Subject
from serving.probe.surface import Surface, Try


def asked_in(name: str) -> Try:
    """The attack that asks for one form, whole and streamed."""
    wish = FORMS[name].instruction

    async def attack(session: Session, subject: Subject) -> Outcome:
        async def ask(question: Question) -> Outcome:
            prompt = f"{question.prompt} {wish}"
            answers = await asyncio.gather(
                *(session.chat(prompt, **session.long, stream=stream) for stream in (False, True))
            )
            return worst([await session.check(answer, subject) for answer in answers])

        return await session.each(subject, ask)

    return attack


ENCODED = {
    f"{'encoding' if name in DECODERS else 'style'}.{name}": Surface(
        f"asked for: {form.instruction}", asked_in(name)
    )
    for name, form in FORMS.items()
}
