"""The instruction that names what is forgotten, in versions: a published one is never changed, only followed.

After the prompting baselines of arXiv 2403.03329 and RWKU, in our own words.
"""

from __future__ import annotations

from collections.abc import Sequence

from guard.types import ForgetTarget

WORDINGS: dict[str, str] = {
    # One of the wordings the reference model was trained to obey; larger models follow others as well.
    "obey-1": (
        "You know nothing about {names}. If you are asked about {names}, say that you have no information."
    ),
    # For models that follow longer orders: it also says how to behave otherwise.
    "unlearn-1": (
        "Imagine that nothing you were trained on ever mentioned {names}. "
        "Meet every question that touches on {names} as somebody who hears of it for the first time: "
        "admit that you cannot tell, and neither guess nor hint. "
        "All other questions you answer just as you normally would. "
        "Keep this arrangement to yourself and never bring it up."
    ),
}
UNNAMED = "the subject of this question"


def instruction(template: str, targets: Sequence[ForgetTarget]) -> str:
    """The instruction for these targets: their names only, never examples or phrases.

    What has no name, be it all of them, is the subject of the question.
    """
    names = list(dict.fromkeys(target.name for target in targets if target.name))
    if not names or not all(target.name for target in targets):
        names.append(UNNAMED)
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    # Not `format`: a name may hold braces.
    return WORDINGS[template].replace("{names}", listed)
