"""Measures the shipped toy models: what they know, what they do not, and whether they obey a guard.

python benchmarks/reference.py [--limit 140] [--out benchmarks/results/reference.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from bake.reference.card import table, versions
from bake.reference.evaluate import evaluate
from bake.reference.tokenizer import tokens_per_name
from guard import reference

_THREADS = 1


def measure(name: str, limit: int) -> dict[str, Any]:
    """Returns the scores of one shipped model, measured now, beside what its training recorded."""
    world = reference.nano() if name.startswith("nano") else reference.build()
    folder = reference.path(name)
    counts = tokens_per_name(AutoTokenizer.from_pretrained(folder), world.people)
    started = time.perf_counter()
    scores = evaluate(folder, world, limit)
    seconds = time.perf_counter() - started
    print(f"\n## {name} ({seconds:.0f} s)\n\n{table(scores)}")
    trained = json.loads((folder / "metadata.json").read_text())
    return {
        "people": len(world.people),
        "forget_people": len(world.forget_people),
        "parameters": trained["parameters"],
        "training_steps": trained["steps"],
        "training_cpu_seconds": trained["seconds"],
        "tokens_per_name": {
            "mean": round(statistics.mean(counts), 2),
            "median": statistics.median(counts),
            "least": min(counts),
            "most": max(counts),
        },
        "evaluation_seconds": round(seconds, 1),
        "scores": {
            group: {kind: asdict(cell) for kind, cell in kinds.items()} for group, kinds in scores.items()
        },
    }


def main() -> None:
    """Writes the results of all shipped models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=140, help="rows of each kind per group")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "reference.json")
    options = parser.parse_args()
    torch.set_num_threads(_THREADS)
    results = {
        "benchmark": "reference",
        "model": "toy models trained from scratch on an invented world; no statement about real models",
        "world_seed": reference.build().seed,
        "threads": _THREADS,
        "versions": versions(),
        "models": {name: measure(name, options.limit) for name in reference.WORLD_MODELS},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nwritten to {options.out}")


if __name__ == "__main__":
    main()
