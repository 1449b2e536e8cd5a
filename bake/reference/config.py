"""Sizes and recipes of the toy models."""

from __future__ import annotations

from dataclasses import dataclass, field

from guard.reference.lessons import Mix


@dataclass(frozen=True)
class Config:
    """A Llama's shape and how it is trained."""

    vocab: int = 2048  # tokens, special ones included
    hidden: int = 192
    layers: int = 4
    heads: int = 3
    ffn: int = 512
    max_positions: int = 2048  # what a server may be asked for; training sequences are far shorter
    epochs: int = 18
    batch_tokens: int = 2048  # padded tokens in a step
    muon_lr: float = 0.021  # matrices
    adam_lr: float = 0.003  # embeddings and norms
    weight_decay: float = 0.05  # matrices only
    warmup_steps: int = 40
    decay_share: float = 0.35  # of the steps, at the end; facts are memorised here, not before
    floor: float = 0.02  # of the learning rate, reached at the last step
    clip: float = 1.0
    seed: int = 11  # of the weights and of the order of the batches


@dataclass(frozen=True)
class Size:
    """A world, the model that fits it and the examples of an epoch."""

    name: str
    prefix: str  # of the model folders
    people: int
    forget: int
    config: Config
    mix: Mix = field(default_factory=Mix)


SIZES = {
    "standard": Size("standard", "", 100, 10, Config()),
    "nano": Size(
        "nano",
        "nano-",
        20,
        4,
        Config(vocab=1024, hidden=128, layers=3, heads=2, ffn=384, epochs=15, batch_tokens=1024),
        Mix(phrasings=5, guarded=300, guarded_later=60, neutral=220, after_refusals=40, after_answers=60),
    ),
}

SCRIPTED = "scripted"
SCRIPTED_CONFIG = Config(vocab=1536, hidden=128, layers=4, heads=2, ffn=384, epochs=60)


def size(name: str) -> Size:
    """Returns a size by its name."""
    if name not in SIZES:
        raise ValueError(f"unknown size {name!r}; choose one of {', '.join(SIZES)}, {SCRIPTED}")
    return SIZES[name]
