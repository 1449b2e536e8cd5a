"""What a target would forbid, before it is registered."""

from __future__ import annotations

from typing import Any

from guard.encodings import encoded
from guard.phrases import always_forbidden, extracted_phrases, forbidden_phrases
from guard.types import Action, ForgetTarget


def preview(target: ForgetTarget) -> dict[str, Any]:
    """The strings that would be looked for in prompts and kept out of responses.

    ``forbidden`` holds for requests routed to the target, ``always`` for every request; ``encoded`` are
    further forms of the forbidden ones.
    """
    enforces = Action(target.action).enforces
    forbidden = list(forbidden_phrases(target)) if enforces else []
    return {
        "id": target.id,
        "action": target.action,
        "lexical": list(dict.fromkeys((*target.names, *target.phrases))),
        "extracted": [] if target.phrases else list(extracted_phrases(target)),
        "forbidden": forbidden,
        "always": list(always_forbidden(target)) if enforces and target.always_on else [],
        "encoded": [form.text for text in forbidden for form in encoded(text, target.matching.encodings)],
        "examples": len(target.examples),
        "neighbors": len(target.neighbors),
        "notes": notes_on(target),
    }


def notes_on(target: ForgetTarget) -> list[str]:
    """What its author may not expect of a target, as sentences."""
    notes = []
    if not Action(target.action).enforces:
        notes.append("action observe only counts: nothing is kept out of a response")
    elif target.action != "refuse" and not forbidden_phrases(target):
        notes.append("no string would be kept out of responses: give phrases, or examples that name facts")
    if target.action == "steer":
        notes.append("steer is carried out as restrict as long as no autoencoder is loaded")
    if target.expired():
        notes.append("expires_at has passed: the target would have no effect")
    return notes
