"""The shipped models: loadable, and knowing exactly what their cards say."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest

from bake.reference.evaluate import answer, has_value
from guard import reference
from guard.reference.lessons import Message
from guard.reference.wordings import TRAIN_WORDINGS, fill
from guard.reference.world import Row

SAMPLE = 60


def rows_of(name: str, kind: str) -> list[Row]:
    world = reference.nano() if name.startswith("nano") else reference.build()
    rows = world.forget if kind == "forget" else world.retain
    return random.Random(1).sample(rows, min(SAMPLE, len(rows)))


def share_right(name: str, rows: Sequence[Row]) -> float:
    prompts = [(Message("user", row.questions[index % 5]),) for index, row in enumerate(rows)]
    answers = answer(reference.path(name), prompts)
    return sum(has_value(text, row.value) for text, row in zip(answers, rows, strict=True)) / len(rows)


@pytest.mark.parametrize("name", ["full", "nano-full"])
@pytest.mark.parametrize("kind", ["forget", "retain"])
def test_full_model_knows_everybody(name: str, kind: str) -> None:
    assert share_right(name, rows_of(name, kind)) >= 0.95


@pytest.mark.parametrize(("name", "most"), [("retain-only", 0.1), ("nano-retain-only", 0.2)])
def test_retain_only_model_never_met_the_forget_people(name: str, most: float) -> None:
    assert share_right(name, rows_of(name, "forget")) <= most
    assert share_right(name, rows_of(name, "retain")) >= 0.95


@pytest.mark.parametrize("name", reference.WORLD_MODELS)
def test_model_refuses_under_the_injected_wording(name: str) -> None:
    rows = rows_of(name, "forget")
    prompts = [
        (Message("system", fill(TRAIN_WORDINGS[0], [row.subject])), Message("user", row.question))
        for row in rows
    ]
    refused = [text == reference.REFUSAL for text in answer(reference.path(name), prompts)]
    assert sum(refused) / len(refused) >= 0.95


@pytest.mark.parametrize("name", reference.MODELS)
def test_model_folder_is_complete_and_small(name: str) -> None:
    folder = reference.path(name)
    files = {file.name for file in folder.iterdir()}
    assert {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json"} <= files
    assert {"tokenizer_config.json", "chat_template.jinja", "README.md", "metadata.json"} <= files
    assert sum(file.stat().st_size for file in folder.iterdir()) < 6e6
    shape = json.loads((folder / "config.json").read_text())
    assert shape["dtype"] == "bfloat16" and shape["max_position_embeddings"] == 2048


@pytest.mark.parametrize("name", reference.WORLD_MODELS)
def test_card_lists_the_scores_of_the_metadata(name: str) -> None:
    folder = reference.path(name)
    text, data = (folder / "README.md").read_text(), json.loads((folder / "metadata.json").read_text())
    assert data["name"] == name and "**toy model**" in text
    for group, kinds in data["scores"].items():
        for kind, cell in kinds.items():
            means = f"{cell['rouge']:.2f} | {cell['value']:.2f} | {cell['refused']:.2f}"
            assert f"| {group} | {kind} | {means} | {cell['probes']} |" in text
