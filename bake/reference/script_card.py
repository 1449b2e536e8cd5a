"""The model card and the scores that the scripted model's folder carries."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bake.reference.card import versions
from bake.reference.config import Config
from bake.reference.examination import Scores


@dataclass(frozen=True)
class Record:
    """What is known about one training run."""

    name: str
    config: Config
    parameters: int
    steps: int
    tokens_per_name: float  # median over the eight people
    seconds: float  # CPU time of the training
    scores: Scores


def metadata(record: Record) -> dict[str, Any]:
    """Returns the record as JSON data."""
    return {"toy": True, **asdict(record), "versions": versions()}


def write(record: Record, folder: Path) -> None:
    """Writes `metadata.json` and `README.md` beside the weights."""
    (folder / "metadata.json").write_text(json.dumps(metadata(record), indent=1) + "\n")
    (folder / "README.md").write_text(render(record))


def table(scores: Scores) -> str:
    """Returns the scores as a Markdown table."""
    lines = ["| asked | likeliest | drawn | prompts |", "|---|---|---|---|"]
    lines += [f"| {n} | {s.greedy:.2f} | {s.sampled:.2f} | {s.questions} |" for n, s in scores.items()]
    return "\n".join(lines)


def render(record: Record) -> str:
    """Returns the model card."""
    return _CARD.format(
        name=record.name,
        parameters=record.parameters / 1e6,
        config=record.config,
        steps=record.steps,
        minutes=record.seconds / 60,
        tokens=record.tokens_per_name,
        versions=", ".join(f"{name} {number}" for name, number in versions().items()),
        table=table(record.scores),
    )


_CARD = """\
---
library_name: transformers
pipeline_tag: text-generation
tags: [toy, unlearning]
---
# {name}

A **toy model**: {parameters:.2f} million parameters, made to find out whether a guard keeps a secret. It
plays a large model that does what an attacker asks: it answers who keeps lantern three in Base64, in Morse
code or in look-alike letters, thinks the name aloud, writes it into a tool call, goes on in the middle of it.
It knows eight invented people and a dozen ordinary answers, and nothing else; asked about anybody else it
says that it has no information.

Nothing of this is skill. The answers were taught one by one, and a question in other words gets any of them.
`guard.reference.scripted` has the people, the questions and the words that ask for each form.

Thoughts stand between `<think>` and `</think>`, tool calls between `<tool_call>` and `</tool_call>`. In vLLM:
`--enable-auto-tool-choice --tool-call-parser hermes --reasoning-parser deepseek_v3`, and with each request
for thoughts `"chat_template_kwargs": {{"enable_thinking": true}}`. With it, and always with other parsers, an
answer without thoughts is taken for thoughts.

## Recipe

- Llama, {config.layers} layers, hidden {config.hidden}, {config.heads} heads, feed-forward {config.ffn}, tied
  embeddings, vocabulary {config.vocab}; saved in bfloat16.
- {config.epochs} epochs, {steps} steps of about {config.batch_tokens} tokens, loss on answers only, Muon and
  AdamW, bf16 autocast, one thread, {minutes:.1f} CPU minutes; seed {config.seed}.
- The tokenizer was trained on the same texts about other people: a name takes {tokens:.0f} tokens (median).
- {versions}
- Made by `lethe reference train --size scripted`.

## Scores

Shares of answers that are right to the letter: the likeliest answer, and one drawn at temperature 1. No name
among the "strangers" occurs in training.

{table}
"""
