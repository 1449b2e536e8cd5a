"""How a routed prompt is rewritten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from guard.errors import InputError
from guard.incontext.wording import WORDINGS

Name = Literal["icu", "icul"]
Mode = Literal["redacted", "full"]
Place = Literal["end", "system"]
Substitute = Literal["refusal", "value", "kept"]


@dataclass(frozen=True, slots=True)
class InContext:
    """Which block is put into a routed prompt, where, and how large it may be."""

    builder: Name = "icu"  # icu: an instruction; icul: questions with substituted answers
    mode: Mode = "redacted"  # redacted: no text of a forget answer in the prompt; full: for research
    template: str = "obey-1"  # version of the instruction, a key of WORDINGS
    shots: int = 4  # questions that icul shows; at least one of each routed target
    substitute: Substitute = "refusal"  # answer of a forget question; "kept", the true one, needs full
    repeat: Literal[1, 2] = 1  # 2: the block once more after the last user turn (JRT, arXiv 2407.05483)
    place: Place = "end"  # of the second copy; system: for templates that take no later system message
    budget: int = 512  # tokens that the whole addition may have

    def __post_init__(self) -> None:
        choices: dict[str, tuple[object, ...]] = {
            "builder": get_args(Name),
            "mode": get_args(Mode),
            "template": tuple(WORDINGS),
            "substitute": get_args(Substitute),
            "repeat": (1, 2),
            "place": get_args(Place),
        }
        for field, known in choices.items():
            if getattr(self, field) not in known:
                listed = ", ".join(map(str, known))
                raise InputError(f"{field} is {getattr(self, field)!r}; use one of {listed}")
        for field in ("shots", "budget"):
            if getattr(self, field) < 1:
                raise InputError(f"{field} is {getattr(self, field)}; set it to 1 or more")
        if self.substitute == "kept" and self.mode != "full":
            raise InputError("substitute 'kept' puts forget answers into the prompt; it needs mode 'full'")
