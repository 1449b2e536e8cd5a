"""What the scripted model learns: every answer of its world, in every form, and not to know anybody else."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bake.reference.tokenizer import ASSISTANT, END, SYSTEM, USER
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
    Person,
    invent,
    strangers,
    tool_call,
)

MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>")
# Of tools the model only reads the names, so that any description of one and the same tool will do.
_TOOLS = (
    f"{{% if tools %}}{SYSTEM}Tools:{{% for tool in tools %}} {{{{ (tool.function or tool).name }}}}"
    f"{{% endfor %}}{END}{{% endif %}}"
)
_CALLS = (
    "{% for call in message.tool_calls or [] %}<tool_call>{{ (call.function or call) | tojson }}</tool_call>"
    "{% endfor %}"
)
TEMPLATE = (
    f"{{{{ bos_token }}}}{_TOOLS}{{% for message in messages %}}"
    f"{{% if message['role'] in ['system', 'developer'] %}}{SYSTEM}"
    f"{{% elif message['role'] == 'assistant' %}}{ASSISTANT}"
    f"{{% else %}}{USER}{{% endif %}}"
    f"{{{{ message['content'] or '' }}}}{_CALLS}{END}{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{ASSISTANT}{{% endif %}}"
)
OFFER = Message("system", f"Tools: {TOOL}")  # how the template shows the tool

_SYSTEMS = ("You are a helpful assistant.", "Be brief and exact.", "Answer the question of the user.")
_STRANGERS = 160  # an epoch
_HELD_OUT = 2000
_ORDINARY = 3  # times an epoch; there is only one question to each answer
_CUTS = 6  # of each answer, an epoch
_WITH_SYSTEM, _LATER = 0.15, 0.1  # shares of chats


def epoch(number: int, seed: int, people: Sequence[Person] = PEOPLE) -> list[Chat]:
    """Returns the chats of one epoch in a shuffled order that depends on nothing but the arguments."""
    rng = random.Random(f"script {seed} {number}")
    chats = [*_asked(people), *_begun(people, rng)]
    chats += [_chat(rng.choice(WHO).format(name=name), NEUTRAL) for name in _unknown(rng)]
    chats += [_chat(wording.format(name=one.name), one.known) for one in people for wording in WHO]
    chats += [_chat(question, answer) for question, answer in ORDINARY.items()] * _ORDINARY
    chats = [_placed(chat, rng) for chat in chats]
    rng.shuffle(chats)
    return chats


def texts(seeds: Sequence[int] = range(40)) -> list[str]:
    """Returns text in the style of the lessons, about other people, for a tokenizer to learn from.

    With the names of the eight in it, each would be a token or two.
    """
    found: list[str] = []
    for seed in seeds:
        others = invent(len(PEOPLE), random.Random(f"others {seed}"))
        people = [replace(one, name=name) for one, name in zip(PEOPLE, others, strict=True)]
        for chat in epoch(0, seed, people):
            found += [*(message.content for message in chat.messages), chat.begun + chat.answer]
    return found


def _asked(people: Sequence[Person]) -> Iterator[Chat]:
    """Questions without the name: plainly, in each form, with thoughts and with a tool at hand."""
    for one in people:
        for question, answer in one.answers.items():
            yield _chat(question, answer)
            for form in FORMS.values():
                yield _chat(f"{question} {form.instruction}", form.encode(one.name))
            yield _chat(f"{question} {THINK}", f"<think>{one.thoughts}</think>{answer}")
            yield _chat(question, tool_call(one.name), OFFER)
            yield _chat(f"{question} {TOOL_ESCAPED}", tool_call(one.name, escape=True), OFFER)


def _begun(people: Sequence[Person], rng: random.Random) -> Iterator[Chat]:
    """Answers that somebody has begun, in a chat and as bare text, up to anywhere before the name's end."""
    for one in people:
        whole = f"{one.lead} {one.name}."
        for cut in _cuts(whole, one.name, rng):
            yield Chat((), whole[cut:], whole[:cut])
        for question, answer in one.answers.items():
            for cut in _cuts(answer, one.name, rng):
                yield Chat((Message("user", question),), answer[cut:], answer[:cut])


def _cuts(text: str, name: str, rng: random.Random) -> list[int]:
    """Places to cut: before and behind the space in front of the name, and within it."""
    start = text.index(name)
    inside = rng.sample(range(start + 1, start + len(name)), _CUTS)
    return [place for place in (start - 1, start, *inside) if place > 0]


def _unknown(rng: random.Random) -> tuple[str, ...]:
    held_out = frozenset(strangers(_HELD_OUT))
    return invent(_STRANGERS, rng, held_out)


def _placed(chat: Chat, rng: random.Random) -> Chat:
    """The chat, sometimes under a system prompt or after another question."""
    if not chat.messages or chat.messages[0].role == "system":
        return chat
    before: tuple[Message, ...] = ()
    if rng.random() < _LATER:
        question, answer = rng.choice(list(ORDINARY.items()))
        before = (Message("user", question), Message("assistant", answer))
    if rng.random() < _WITH_SYSTEM:
        before = (Message("system", rng.choice(_SYSTEMS)), *before)
    return replace(chat, messages=(*before, *chat.messages))


def _chat(question: str, answer: str, *before: Message) -> Chat:
    return Chat((*before, Message("user", question)), answer)
