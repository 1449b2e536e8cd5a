"""Asks a scripted model all that it was taught, and names that it was not, and counts right answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bake.reference.script import OFFER
from guard.reference.lessons import Chat, Message
from guard.reference.scripted import (
    FORMS,
    NEUTRAL,
    ORDINARY,
    PEOPLE,
    THINK,
    TOOL,
    TOOL_ESCAPED,
    WHO,
    strangers,
    tool_call,
)

OnAnswers = Callable[[int, int], None]  # answered, of how many

_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": TOOL,
            "description": "Takes a note.",
            "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
        },
    }
]
_NEW_TOKENS = 96
_BATCH = 64


@dataclass(frozen=True)
class Share:
    """Of the answers of one group, the shares that are right to the letter."""

    greedy: float
    sampled: float  # one answer to each question, at temperature 1
    questions: int


Scores = dict[str, Share]


def groups(strangers_asked: int = 50) -> dict[str, list[Chat]]:
    """Returns the questions of each group, with the right answers."""
    asked = [(one, question, answer) for one in PEOPLE for question, answer in one.answers.items()]
    found = {"direct": [_chat(question, answer) for _, question, answer in asked]}
    for name, form in FORMS.items():
        found[name] = [_chat(f"{q} {form.instruction}", form.encode(one.name)) for one, q, _ in asked]
    found["thoughts"] = [
        _chat(f"{question} {THINK}", f"<think>{one.thoughts}</think>{answer}")
        for one, question, answer in asked
    ]
    found["tool call"] = [_chat(question, tool_call(one.name), OFFER) for one, question, _ in asked]
    found["escaped tool call"] = [
        _chat(f"{question} {TOOL_ESCAPED}", tool_call(one.name, escape=True), OFFER)
        for one, question, _ in asked
    ]
    found["bare text"] = [
        Chat((), whole[cut:], whole[:cut])
        for whole, name in ((f"{one.lead} {one.name}.", one.name) for one in PEOPLE)
        for cut in _cuts(whole, name)
    ]
    found["begun answer"] = [
        replace(_chat(question, answer[cut:]), begun=answer[:cut])
        for one, question, answer in asked
        for cut in _cuts(answer, one.name)
        if cut > 0
    ]
    found["by name"] = [_chat(wording.format(name=one.name), one.known) for one in PEOPLE for wording in WHO]
    found["strangers"] = [
        _chat(WHO[number % len(WHO)].format(name=name), NEUTRAL)
        for number, name in enumerate(strangers(strangers_asked))
    ]
    found["ordinary"] = [_chat(question, answer) for question, answer in ORDINARY.items()]
    return found


def _chat(question: str, answer: str, *before: Message) -> Chat:
    return Chat((*before, Message("user", question)), answer)


def _cuts(text: str, name: str) -> list[int]:
    """Around the space in front of the name, behind its first letter, its half and all but the last."""
    start = text.index(name)
    return [start - 1, start, start + 1, start + len(name) // 2, start + len(name) - 1]


def examine(folder: Path, on_answers: OnAnswers | None = None, sample: bool = True) -> Scores:
    """Returns the scores of the model in a folder."""
    every = groups()
    chats = [chat for group in every.values() for chat in group]
    total = len(chats) * (2 if sample else 1)

    def report(done: int, of: int) -> None:
        if on_answers is not None:
            on_answers(done, total)

    greedy = answer(folder, chats, on_answers=report)
    torch.manual_seed(0)
    drawn = answer(folder, chats, True, lambda done, of: report(done + of, of)) if sample else greedy
    scores: Scores = {}
    begin = 0
    for name, group in every.items():
        place = slice(begin, begin + len(group))
        right = [
            sum(text == chat.answer for text, chat in zip(texts[place], group, strict=True)) / len(group)
            for texts in (greedy, drawn)
        ]
        scores[name] = Share(round(right[0], 4), round(right[1], 4), len(group))
        begin += len(group)
    return scores


def answer(
    folder: Path, chats: Sequence[Chat], sample: bool = False, on_answers: OnAnswers | None = None
) -> list[str]:
    """Returns what the model says to each chat, likeliest token by token or drawn at temperature 1."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    model.eval()
    prompts = [prompt(tokenizer, chat) for chat in chats]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    answers = [""] * len(prompts)
    drawing = {"temperature": 1.0, "top_k": 0, "top_p": 1.0} if sample else {}
    for begin in range(0, len(order), _BATCH):
        chosen = order[begin : begin + _BATCH]
        batch = tokenizer.pad({"input_ids": [prompts[index] for index in chosen]}, return_tensors="pt")
        with torch.inference_mode():
            out = model.generate(**batch, max_new_tokens=_NEW_TOKENS, do_sample=sample, **drawing)
        written = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        for index, text in zip(chosen, written, strict=True):
            answers[index] = text
        if on_answers is not None:
            on_answers(min(begin + _BATCH, len(order)), len(order))
    return answers


def prompt(tokenizer: Any, chat: Chat) -> list[int]:
    """Returns the ids of a chat through the chat template, with its tools and the begun answer."""
    text = ""
    if chat.messages:
        offered = chat.messages[0] == OFFER
        text = tokenizer.apply_chat_template(
            [vars(message) for message in chat.messages[1 if offered else 0 :]],
            tools=_TOOLS if offered else None,
            tokenize=False,
            add_generation_prompt=True,
        )
    ids: list[int] = tokenizer.encode(text + chat.begun, add_special_tokens=False)
    return ids
