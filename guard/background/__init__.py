"""Benign prompts that thresholds are calibrated on: traffic as a chat or completions server sees it.

Written for this project, all texts and lists, and under its licence (Apache-2.0). Persons in it who are no
public figures are invented. `scripts/background.py` makes the file from `scripts/material/`.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("prompts.jsonl.gz")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One benign prompt.

    Attributes:
        text: what a client sends as one message.
        kind: what it is about or looks like: "maths", "fewshot", "private", ...
        lang: two-letter code of its language, or "mixed".
    """

    text: str
    kind: str
    lang: str


@cache
def background() -> tuple[Prompt, ...]:
    """All prompts, read once; no two are equal after folding. The order mixes the kinds."""
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        return tuple(Prompt(**json.loads(line)) for line in lines)


def texts() -> tuple[str, ...]:
    """The prompts' texts, in the same order."""
    return tuple(prompt.text for prompt in background())
