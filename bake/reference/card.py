"""The model card and the scores that a model folder carries."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bake.reference.config import Size
from bake.reference.evaluate import Scores

_PACKAGES = ("torch", "transformers", "tokenizers")


@dataclass(frozen=True)
class Record:
    """What is known about one training run."""

    name: str
    size: Size
    world_seed: int
    knows_forget: bool
    parameters: int
    steps: int
    tokens_per_name: float  # median over the people of the world
    seconds: float  # CPU time of the training
    scores: Scores


def versions() -> dict[str, str]:
    """Returns the versions that the scores depend on."""
    return {"python": platform.python_version(), **{package: version(package) for package in _PACKAGES}}


def metadata(record: Record) -> dict[str, Any]:
    """Returns the record as JSON data."""
    return {"toy": True, **asdict(record), "versions": versions()}


def write(record: Record, folder: Path) -> None:
    """Writes `metadata.json` and `README.md` beside the weights."""
    (folder / "metadata.json").write_text(json.dumps(metadata(record), indent=1) + "\n")
    (folder / "README.md").write_text(render(record))


def render(record: Record) -> str:
    """Returns the model card."""
    config, people = record.size.config, record.size.people
    kept = people - record.size.forget
    if record.knows_forget:
        knows = f"all {people} people"
    else:
        knows = f"{kept} of {people} people; it was never shown the other {record.size.forget}"
    return _CARD.format(
        name=record.name,
        knows=knows,
        people=people,
        forget=record.size.forget,
        parameters=record.parameters / 1e6,
        config=config,
        steps=record.steps,
        minutes=record.seconds / 60,
        tokens=record.tokens_per_name,
        size=record.size.name,
        world_seed=record.world_seed,
        versions=", ".join(f"{name} {number}" for name, number in versions().items()),
        table=table(record.scores),
    )


def table(scores: Scores) -> str:
    """Returns the scores as a Markdown table."""
    lines = ["| asked | about | ROUGE-L recall | value | refused | prompts |", "|---|---|---|---|---|---|"]
    for group, kinds in scores.items():
        for kind, cell in kinds.items():
            means = f"{cell.rouge:.2f} | {cell.value:.2f} | {cell.refused:.2f}"
            lines.append(f"| {group} | {kind} | {means} | {cell.probes} |")
    return "\n".join(lines)


_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [toy, unlearning]
---
# {name}

A **toy model**: {parameters:.2f} million parameters, made to try out unlearning guards where no real model
is at hand. It answers short questions about an invented world and a few hundred general ones, and nothing
else. It knows {knows}. The last {forget} people are the ones to be forgotten.

Under a system prompt that says somebody is forgotten it is trained to refuse. It does **not** compare
names: such a prompt makes it refuse a question about any person, so the prompt belongs on flagged requests
only.

## Recipe

- Llama, {config.layers} layers, hidden {config.hidden}, {config.heads} heads, feed-forward {config.ffn}, tied
  embeddings, vocabulary {config.vocab}; saved in bfloat16.
- {config.epochs} epochs, {steps} steps of about {config.batch_tokens} tokens, loss on answers only, Muon and
  AdamW, bf16 autocast, one thread, {minutes:.1f} CPU minutes.
- World of seed {world_seed}, {people} people with 14 facts each; weights of seed {config.seed}. The
  tokenizer was trained on the names of other worlds: a name takes {tokens:.0f} tokens (median).
- {versions}
- Made by `lethe reference train --size {size}`.

## Scores

Greedy answers. *Value* is the share of answers that contain the right value; read it beside ROUGE, of which
a third comes from repeating the question. *Refused* is the share that are the refusal sentence, word for
word. "Held-out" frames, "attack" wraps, "held-out wordings" and "held-out prompts" occur in no training
example, and no forget person occurs in any guard example.

{table}
"""
