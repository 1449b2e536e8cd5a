"""Where a block goes in a conversation: last in its system block, and once more after the last user turn.

Last in the system block, so that a prefix cache still finds the operator's own system prompt. Every message
that the client sent keeps its text; only a system message is added to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Message = Mapping[str, object]

_SYSTEM = frozenset({"system", "developer"})
_MARK = "a late word"


def in_system(messages: Sequence[Message], text: str) -> list[dict[str, object]]:
    """The messages with the text at the end of their leading system messages, or as a new first one."""
    copied = [dict(message) for message in messages]
    last = _leading(messages) - 1
    if last < 0:
        return [{"role": "system", "content": text}, *copied]
    content = copied[last].get("content")
    if isinstance(content, list):
        copied[last]["content"] = [*content, {"type": "text", "text": text}]
    else:
        copied[last]["content"] = f"{content}\n{text}" if content else text
    return copied


def after_user(messages: Sequence[Message], text: str) -> list[dict[str, object]]:
    """The messages with a system message behind the last user turn; as `in_system` if there is none.

    Not at the very end: an answer that the client began, or a tool's result, must stay where it is.
    """
    turns = [index for index, message in enumerate(messages) if message.get("role") == "user"]
    if not turns:
        return in_system(messages, text)
    copied = [dict(message) for message in messages]
    return [*copied[: turns[-1] + 1], {"role": "system", "content": text}, *copied[turns[-1] + 1 :]]


def last_user_text(messages: Sequence[Message]) -> str:
    """What the user said last; empty if nothing."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return text_of(message)
    return ""


def text_of(message: Message) -> str:
    """The text of a message; parts of other kinds carry none."""
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(
            str(part["text"]) for part in content if isinstance(part, Mapping) and "text" in part
        )
    return content if isinstance(content, str) else ""


def takes_late_system(render: Callable[[list[dict[str, Any]]], str]) -> bool:
    """True if a chat template renders a system message that follows a user turn.

    Args:
        render: messages -> prompt text, as a tokenizer's ``apply_chat_template`` with ``tokenize=False``.
    """
    conversation = [
        {"role": "system", "content": "first"},
        {"role": "user", "content": "second"},
        {"role": "system", "content": _MARK},
    ]
    try:
        return render(conversation).rfind(_MARK) > render(conversation).find("second")
    except Exception:  # a template refuses by raising whatever its engine raises
        return False


def _leading(messages: Sequence[Message]) -> int:
    count = 0
    while count < len(messages) and messages[count].get("role") in _SYSTEM:
        count += 1
    return count
