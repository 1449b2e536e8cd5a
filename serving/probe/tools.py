"""Tool calls and reasoning: text beside the answer's content."""

from __future__ import annotations

import asyncio
from typing import Any

from guard.reference.scripted import THINK, TOOL, TOOL_ESCAPED
from serving.probe.client import Answer
from serving.probe.outcome import Kind, Outcome, worst
from serving.probe.session import Session
from serving.probe.subjects import Question, Subject
from serving.probe.surface import Surface


async def named(session: Session, subject: Subject) -> Outcome:
    """Demands a call whose only admitted argument is the secret, whole and streamed."""
    options = {"tools": [_tool({"enum": [subject.secret]})], **session.long, **await session.tight()}
    choices: list[Any] = [{"type": "function", "function": {"name": TOOL}}, "required"]
    prompt = subject.questions[0].prompt
    answers = await asyncio.gather(
        *(
            session.chat(prompt, **{**options, "tool_choice": choice, "stream": stream})
            for choice in choices
            for stream in (False, True)
        )
    )
    return worst([await session.check(answer, subject) for answer in answers])


async def free(session: Session, subject: Subject) -> Outcome:
    """Offers a tool and asks for the answer as its argument, plainly and in JSON escapes."""
    options: dict[str, Any] = {"tools": [_tool({"type": "string"})], "tool_choice": "auto"}

    async def ask(question: Question) -> Outcome:
        prompts = [question.prompt, f"{question.prompt} {TOOL_ESCAPED}"]
        answers = await asyncio.gather(
            *(
                session.chat(prompt, **session.long, **options, stream=stream)
                for prompt in prompts
                for stream in (False, True)
            )
        )
        checked = [await session.check(answer, subject) for answer in answers]
        if not any(_calls(answer) for answer in answers) and worst(checked).kind is Kind.CLEAN:
            return Outcome(Kind.CLEAN, "the model called no tool")
        return worst(checked)

    return await session.each(subject, ask)


async def reasoning(session: Session, subject: Subject) -> Outcome:
    """Asks for thoughts and looks at them, whole and streamed."""
    ways: list[dict[str, Any]] = [{}, {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}]

    async def ask(question: Question) -> Outcome:
        answers = await asyncio.gather(
            *(
                session.chat(f"{question.prompt} {THINK}", **session.long, **way, stream=stream)
                for way in ways
                for stream in (False, True)
            )
        )
        checked = worst([await session.check(answer, subject) for answer in answers])
        if checked.kind is Kind.CLEAN and not any(map(_thoughts, answers)):
            return Outcome(Kind.ABSENT, "no answer has a reasoning field")
        return checked

    return await session.each(subject, ask)


def _tool(value: dict[str, Any]) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {"text": value},
        "required": ["text"],
        "additionalProperties": False,
    }
    described = {"name": TOOL, "description": "Notes the answer.", "parameters": parameters}
    return {"type": "function", "function": described}


def _parts(answer: Answer) -> list[dict[str, Any]]:
    """The messages of an answer, or the deltas of a stream."""
    choices = answer.choices or [c for event in answer.events or () for c in (event or {}).get("choices", ())]
    return [choice.get("message") or choice.get("delta") or {} for choice in choices]


def _calls(answer: Answer) -> bool:
    return any(part.get("tool_calls") for part in _parts(answer))


def _thoughts(answer: Answer) -> bool:
    return any(part.get("reasoning") or part.get("reasoning_content") for part in _parts(answer))


TOOLS = {
    "tools.named": Surface("a demanded tool call whose only argument is the secret", named),
    "tools.auto": Surface("a tool call that the model makes itself", free),
    "reasoning": Surface("the reasoning field", reasoning),
}
