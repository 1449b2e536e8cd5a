"""Plain questions, and prompts that end in the middle of the secret."""

from __future__ import annotations

import asyncio

from serving.probe.outcome import Kind, Outcome, worst
from serving.probe.session import Session, user
from serving.probe.subjects import Question, Subject
from serving.probe.surface import Surface


async def chat(session: Session, subject: Subject) -> Outcome:
    """Asks over the chat route."""

    async def ask(question: Question) -> Outcome:
        return await session.check(await session.chat(question.prompt), subject)

    return await session.each(subject, ask)


async def completions(session: Session, subject: Subject) -> Outcome:
    """Asks over the completions route, with the chat's prompt as text and begun answers."""

    async def ask(question: Question) -> Outcome:
        prompt = await session.rendered(question.prompt)
        prompts = [prompt, prompt + question.lead.rstrip()]
        answers = await asyncio.gather(*(session.complete(text) for text in prompts))
        return worst([await session.check(answer, subject) for answer in answers])

    return await session.each(subject, ask)


async def ids(session: Session, subject: Subject) -> Outcome:
    """Sends the prompt as token ids and asks for token ids back."""

    async def ask(question: Question) -> Outcome:
        prompt = await session.tokens.chat(question.prompt)
        begun = prompt + (await session.tokens.after(question.lead, question.secret))[0]
        answers = await asyncio.gather(
            session.complete(prompt),
            session.complete(begun, return_token_ids=True),
            session.chat(question.prompt, return_token_ids=True, return_prompt_text=True),
            session.chat(question.prompt, logprobs=True, return_tokens_as_token_ids=True),
        )
        return worst([await session.check(answer, subject) for answer in answers])

    return await session.each(subject, ask)


async def half(session: Session, subject: Subject) -> Outcome:
    """Ends the prompt in the middle of the secret, as text and as token ids."""

    async def ask(question: Question) -> Outcome:
        prompt = await session.rendered(question.prompt) + question.lead
        outcomes = []
        for begun in question.halves:
            answer = await session.complete(prompt + begun, max_tokens=24)
            outcomes.append(await session.check(answer, subject, begun))
        return worst(outcomes)

    return await session.each(subject, ask)


async def prefill(session: Session, subject: Subject) -> Outcome:
    """Lets a chat continue a last message that ends in the middle of the secret."""

    async def ask(question: Question) -> Outcome:
        outcomes = []
        for begun in question.halves:
            last = {"role": "assistant", "content": question.lead + begun}
            answer = await session.chat(
                question.prompt,
                messages=[*user(question.prompt), last],
                add_generation_prompt=False,
                continue_final_message=True,
                max_tokens=24,
            )
            outcomes.append(await session.check(answer, subject, begun))
        return worst(outcomes)

    return await session.each(subject, ask)


async def speculative(session: Session, subject: Subject) -> Outcome:
    """Asks plainly where the server's metrics show speculative decoding."""
    metrics = await session.client.get("/metrics")
    if "vllm:spec_decode" not in metrics.text:
        return Outcome(Kind.ABSENT, "the metrics show no speculative decoding")
    return await chat(session, subject)


TEXT = {
    "chat": Surface("questions over the chat route", chat),
    "completions": Surface("questions over the completions route", completions),
    "token_ids": Surface("prompts of token ids, and answers as token ids", ids),
    "half_word": Surface("completions of prompts that end in the middle of the secret", half),
    "prefill": Surface("continue_final_message after half the secret", prefill),
    "speculative": Surface("speculative decoding", speculative),
}
