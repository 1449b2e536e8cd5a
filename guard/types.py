"""The central types: ForgetTarget, Action, Match, Verdict, Restriction."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from guard.errors import TargetError
from guard.normalize import PHRASES, Fold, Folding


class Action(StrEnum):
    """What the guard does with a request, weakest first; the strongest of all matches wins."""

    ALLOW = "allow"
    OBSERVE = "observe"
    REWRITE = "rewrite"
    RESTRICT = "restrict"
    STEER = "steer"
    REFUSE = "refuse"

    @property
    def strength(self) -> int:
        """Position in the order above, 0 for allow."""
        return list(Action).index(self)

    @property
    def enforces(self) -> bool:
        """True if the action changes what a client receives."""
        return self.strength > Action.OBSERVE.strength


Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
TargetId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]


class Boundary(StrEnum):
    """Where in a text a phrase counts."""

    NONE = "none"  # anywhere, also inside words
    LEFT = "left"  # where a word starts, whatever follows
    BOTH = "both"  # where a word starts, if one ends at the phrase's end


Encoding = Literal[
    "base64", "hex", "rot13", "reversed", "spaced", "initials", "percent", "entities", "escapes", "decimal",
    "binary", "morse", "nato", "leet",
]  # fmt: skip


class Soft(BaseModel):
    """Penalties for words that mean what a phrase means (GUARD, arXiv 2505.13312, its soft match).

    Cosines are the sentence encoder's. A floor of -1 is the published form to the letter, which rewards words
    of negative cosine. With 20 names, a floor of 0.25 lowers 79 % of a multilingual vocabulary's words, one
    of 0.4 lowers 20 %.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    delta: float = Field(default=0.5, gt=0, le=1)  # cosine from which a word is forbidden
    weight: float = Field(default=1.0, ge=0, le=100)  # below delta, the logit falls by weight x cosine
    floor: float = Field(default=0.4, ge=-1, le=1)  # below it the logit stays as it is; at most delta

    @model_validator(mode="after")
    def _floor_below_delta(self) -> Self:
        if self.floor > self.delta:
            raise ValueError(f"floor {self.floor} is above delta {self.delta}; set it to delta or less")
        return self


class Matching(BaseModel):
    """How a target's phrases are compared with a response."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fold: tuple[Fold, ...] = tuple(sorted(PHRASES))
    boundary: Boundary = Boundary.LEFT
    beta: float = Field(default=1.0, gt=0, le=1)  # share of a phrase from which it is forbidden
    encodings: tuple[Encoding, ...] = ()
    soft: Soft | None = None

    @field_validator("fold", "encodings")
    @classmethod
    def _in_order(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted(set(names)))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if Fold.SPACING in self.fold and self.boundary is not Boundary.NONE:
            raise ValueError("with the folding 'spacing' words have no boundaries; set boundary to 'none'")
        if self.beta < 1 and self.boundary is Boundary.BOTH:
            raise ValueError("a beta below 1 forbids a phrase before its end; set boundary to 'left'")
        return self

    @property
    def folding(self) -> Folding:
        """The differences that do not count."""
        return frozenset(self.fold)


class Example(BaseModel):
    """A prompt and the response the unguarded model gives (forget) or should keep giving (neighbor).

    Without a response, an example teaches what to recognise, but no string to forbid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Text
    response: Annotated[str, StringConstraints(strip_whitespace=True)] = ""


class ForgetTarget(BaseModel):
    """One erasure order: what shall be forgotten and how. The guard and the bake both take it.

    Only one of ``name``, ``phrases`` and ``examples`` is required.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: TargetId
    kind: Literal["entity", "qa", "text", "topic"] = "entity"
    name: Text | None = None
    aliases: tuple[Text, ...] = ()
    phrases: tuple[Text, ...] = ()
    examples: tuple[Example, ...] = ()
    neighbors: tuple[Example, ...] = ()
    group: Text | None = None
    action: Literal["observe", "rewrite", "restrict", "steer", "refuse"] = "refuse"
    always_on: bool = False
    matching: Matching = Matching()
    reason: str | None = None
    owner: str | None = None
    expires_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _says_what_to_forget(self) -> Self:
        if not (self.name or self.phrases or self.examples):
            raise ValueError("give at least one of name, phrases, examples")
        return self

    @classmethod
    def parse(cls, data: Any) -> ForgetTarget:
        """The target described by a JSON object.

        Raises:
            TargetError: a field is unknown, missing or malformed; the message names it.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise TargetError(describe(error)) from None

    @property
    def names(self) -> tuple[str, ...]:
        """Name and aliases, without doubles, in the given order."""
        given = ((self.name,) if self.name else ()) + self.aliases
        return tuple(dict.fromkeys(given))

    def expired(self, now: datetime | None = None) -> bool:
        """True from ``expires_at`` on."""
        return self.expires_at is not None and self.expires_at <= (now or datetime.now(UTC))

    def to_json(self) -> dict[str, Any]:
        """The target as a JSON object without unset fields; ``parse`` reads it back."""
        return self.model_dump(mode="json", exclude_defaults=True)


def describe(error: ValidationError) -> str:
    """One sentence naming each wrong field and the fix; values only where they cannot be target text."""
    parts = []
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"]) or "target"
        if item["type"] == "extra_forbidden":
            owner: dict[str | int, type[BaseModel]] = {
                "matching": Matching,
                "soft": Soft,
                "examples": Example,
                "neighbors": Example,
            }
            places = [part for part in item["loc"][:-1] if part in owner]
            known = ", ".join(owner[places[-1]].model_fields if places else ForgetTarget.model_fields)
            parts.append(f"unknown field {field!r}; known fields are {known}")
        elif item["type"] in {"literal_error", "enum"} and isinstance(item["input"], str):
            parts.append(f"field {field!r} is {item['input'][:40]!r}; use {item['ctx']['expected']}")
        elif isinstance(item["input"], int | float):
            parts.append(f"field {field!r} is {item['input']}: {item['msg']}")
        else:
            parts.append(f"field {field!r}: {item['msg'].removeprefix('Value error, ')}")
    return "; ".join(parts)


@dataclass(frozen=True, slots=True)
class Match:
    """One detector's evidence that a text concerns a target.

    ``span`` counts characters of the scanned segment; ``segment`` is its index in the prompt.
    """

    target_id: str
    detector: str
    score: float
    threshold: float
    span: tuple[int, int]
    segment: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the classifier says about one prompt. Serialised, it is the heart of the audit record."""

    action: Action
    matches: tuple[Match, ...]
    snapshot: str
    seconds: float
    error: str | None = None  # class name of a detector's failure: the guard failed closed
    watched: tuple[str, ...] = ()  # targets kept out of the response, though the prompt may not concern them

    @property
    def target_ids(self) -> tuple[str, ...]:
        """Matched targets, each once, in the order of their first match."""
        return tuple(dict.fromkeys(match.target_id for match in self.matches))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; carries ids, scores and spans but never text."""
        return asdict(self) | {"action": self.action.value}


@dataclass(frozen=True, slots=True)
class Restriction:
    """Forbidden strings of one request: those of the routed targets on top of the always-on ones.

    Travels to the engine as request arguments, hence ids only.
    """

    snapshot: str
    target_ids: tuple[str, ...]
