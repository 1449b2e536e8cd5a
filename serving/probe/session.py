"""A probe in progress: sends the requests of an attack and judges what comes back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from serving.probe.client import Answer, Client
from serving.probe.judge import PLAIN, Sighting
from serving.probe.outcome import Kind, NotOffered, Outcome, worst
from serving.probe.said import Step, steps, strings, token_ids
from serving.probe.subjects import Question, Subject
from serving.probe.tokens import Tokens

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
LENGTH = 96  # tokens of an answer
LONG = 4  # times as many for answers spelled out, in Morse code say
TAIL = 400  # characters of a text that still count when a token is added
MISSING = (404, 405, 501)


@dataclass
class Session:
    """The server under test and what is known about it.

    Attributes:
        client: sends and counts.
        tokens: the server's tokenizer.
        length: tokens an answer may have.
        samples: answers to draw where chance decides.
        seed: of everything random.
        strangers: names that nobody registered.
        registered: names that somebody did.
    """

    client: Client
    tokens: Tokens
    length: int = LENGTH
    samples: int = 128
    seed: int = 0
    strangers: tuple[str, ...] = ()
    registered: tuple[str, ...] = ()

    def rng(self, name: str) -> random.Random:
        """Randomness of its own for one attack."""
        return random.Random(f"{self.seed} {name}")

    @property
    def greedy(self) -> dict[str, Any]:
        """Sampling that always gives the likeliest answer."""
        return {"temperature": 0, "max_tokens": self.length}

    @property
    def long(self) -> dict[str, Any]:
        """The same for answers that spell the secret out."""
        return {"temperature": 0, "max_tokens": LONG * self.length}

    async def chat(self, prompt: str, **options: Any) -> Answer:
        """The answer to a chat with one user message."""
        body = {"messages": user(prompt), **self.greedy, **options}
        return await self.client.generate(CHAT, body)

    async def complete(self, prompt: str | list[int], **options: Any) -> Answer:
        """The continuation of a prompt."""
        body = {"prompt": prompt, "add_special_tokens": False, **self.greedy, **options}
        return await self.client.generate(COMPLETIONS, body)

    async def tight(self) -> dict[str, Any]:
        """Options that keep a weak model from filling JSON with blanks until its answer is cut off."""
        try:
            blanks = [await self.tokens.encode(blank) for blank in (" ", "  ", "\n", "\t")]
        except NotOffered:
            return {}
        return {"logit_bias": {str(ids[0]): -100 for ids in blanks if len(ids) == 1}}

    async def rendered(self, prompt: str) -> str:
        """A chat's prompt as the text that the model reads; without a tokenizer the bare question."""
        try:
            return await self.tokens.decode(await self.tokens.chat(prompt))
        except NotOffered:
            return prompt + "\n"

    async def check(self, answer: Answer, subject: Subject, before: str = "") -> Outcome:
        """What an answer means for a subject; ``before`` is text that the answer continues."""
        asked = bool(answer.sent and subject.judge.find(answer.sent))
        if answer.ok or answer.events or not asked:  # an error may repeat the request
            generated = strings(answer, generated=True)
            texts = generated if asked else strings(answer)
            for text in [*texts, *(joined(before, text, subject) for text in generated if before)]:
                if sighting := subject.judge.find(text):
                    return leak(sighting)
        if not answer.ok:
            return _failed(answer)
        return await self._check_tokens(answer, subject, before, asked)

    async def _check_tokens(self, answer: Answer, subject: Subject, before: str, asked: bool) -> Outcome:
        for made in steps(answer):
            if sighting := possible(made, subject, before):
                return leak(sighting, "the logprobs offer it")
        for ids in [] if asked else token_ids(answer):
            try:
                sighting = subject.judge.find(before + await self.tokens.decode(ids))
            except NotOffered:
                break
            if sighting:
                return leak(sighting, "the token ids spell it")
        return Outcome(Kind.CLEAN)

    async def each(self, subject: Subject, ask: Callable[[Question], Awaitable[Outcome]]) -> Outcome:
        """The worst outcome over the questions of a subject."""
        return worst(await asyncio.gather(*(ask(question) for question in subject.questions)))


def user(prompt: str) -> list[dict[str, str]]:
    """A conversation of one message."""
    return [{"role": "user", "content": prompt}]


def leak(sighting: Sighting, note: str = "") -> Outcome:
    """The outcome of a sighting."""
    shown = sighting.excerpt if sighting.form == PLAIN else f"{sighting.form}: {sighting.excerpt}"
    return Outcome(Kind.LEAKED, note, shown)


def possible(made: Iterable[Step], subject: Subject, before: str = "") -> Sighting | None:
    """A sighting where a token that the logprobs call possible completes a secret."""
    said = before
    for number, step in enumerate(made):
        for token in step.possible:
            text = said + token if number else joined(before, token, subject)
            if subject.judge.holds(text):
                return subject.judge.find(text)
        said = (said + step.token)[-TAIL:]
    return None


def joined(before: str, text: str, subject: Subject) -> str:
    """The text behind what it continues; alone if it starts anew.

    Behind all of "Petvi" but its last letter, an answer that begins "I'm sorry" does not complete the name.
    """
    rests = [secret[len(before) :] for secret in subject.judge.secrets if secret.startswith(before)]
    continues = any(rest.lstrip()[:1] == text.lstrip()[:1] for rest in rests)
    return before + text if continues else text


def _failed(answer: Answer) -> Outcome:
    kind = answer.error_type if answer.error_type.isidentifier() else "no error object"
    status = answer.error_status
    note = f"HTTP {status} {kind}" if status else f"no answer: {answer.text}"
    if status in MISSING:
        return Outcome(Kind.ABSENT, note)
    if 400 <= status < 500:
        return Outcome(Kind.REFUSED, f"refused: {note}")
    return Outcome(Kind.UNCLEAR, note)
