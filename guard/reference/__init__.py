"""A toy world and the toy models that know it, so that everything here can be tried without a model hub."""

from __future__ import annotations

from pathlib import Path

from guard.reference.lessons import REFUSAL
from guard.reference.world import Row, World, build

__all__ = ["MODELS", "REFUSAL", "WORLD_MODELS", "Row", "World", "build", "nano", "path"]

WORLD_MODELS = ("full", "retain-only", "nano-full", "nano-retain-only")
MODELS = (*WORLD_MODELS, "scripted")
_NANO = (20, 4)


def nano() -> World:
    """Returns the small world that the nano models know."""
    people, forget = _NANO
    return build(people=people, forget=forget)


def path(name: str) -> Path:
    """Returns the folder of a shipped model, in Hugging Face format."""
    choices = ", ".join(MODELS)
    if name not in MODELS:
        raise ValueError(f"unknown reference model {name!r}; choose one of {choices}")
    folder = Path(__file__).parent / "models" / name
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"reference model {name!r} is not in {folder}; of {choices}, write the missing ones with "
            f"`lethe reference train --out {folder.parent}`"
        )
    return folder
