"""In-context unlearning: the instruction that tells the model it knows nothing of a target.

After ICUL (arXiv 2310.07579) and the prompting baselines of arXiv 2403.03329, in the form gate-then-instruct:
the classifier has decided already, so the model only has to obey.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from guard.types import ForgetTarget

# One of the wordings the reference model was trained to obey; larger models follow others as well.
WORDING = "You know nothing about {names}. If you are asked about {names}, say that you have no information."
UNNAMED = "the subject of this question"


def instruction(targets: Sequence[ForgetTarget]) -> str:
    """The system text for these targets: their names only, never examples or phrases."""
    names = [target.name for target in targets if target.name] or [UNNAMED]
    return WORDING.format(names=names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1])


def instruct(
    messages: Sequence[Mapping[str, object]], targets: Sequence[ForgetTarget]
) -> list[dict[str, object]]:
    """The messages with the instruction at the end of the system message, or as a new first one.

    At its end, so that a prefix cache still finds the operator's own system prompt. Every other message
    stays as it is.
    """
    text = instruction(targets)
    head = dict(messages[0]) if messages else {}
    if head.get("role") not in {"system", "developer"}:
        return [{"role": "system", "content": text}, *(dict(message) for message in messages)]
    content = head.get("content")
    if isinstance(content, list):
        head["content"] = [*content, {"type": "text", "text": text}]
    else:
        head["content"] = f"{content}\n{text}" if content else text
    return [head, *(dict(message) for message in messages[1:])]
