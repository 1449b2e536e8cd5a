"""Measures how long a new target takes from the call to its enforcement, among 10,000 that are always on.

python benchmarks/live.py [--adds 200] [--registered 10000] [--out benchmarks/results/live.json]

The targets are of kind "text" with one phrase, a name of two invented words: they need no sentence encoder.
Those of kind "entity" do, and are measured beside them.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from guard import reference
from serving.launch import guarded_command, running

KEY = "benchmark-key"
NAMED = 30  # targets of kind "entity" to add
SYLLABLES = (
    "ba",
    "dra",
    "el",
    "fi",
    "go",
    "hin",
    "ka",
    "lo",
    "mi",
    "nor",
    "qua",
    "ri",
    "shi",
    "tu",
    "vel",
    "zo",
)


def measure(adds: int = 200, registered: int = 10_000) -> dict[str, Any]:
    """Returns the times of adding single targets to ``registered`` ones on an idle `lethe serve`.

    Times in milliseconds: ``http`` around the request, ``inside`` as the server tells, from the call to the
    moment at which all workers and the classifier enforce the target.
    """
    names = _names(random.Random(5))
    with tempfile.TemporaryDirectory() as folder:
        environment = {"LETHE_HOME": f"{folder}/lethe", "LETHE_ADMIN_KEY": KEY}
        command = guarded_command([str(reference.path("nano-full")), "--served-model-name", "nano"])
        with running(command, Path(folder) / "log", environment) as server:
            server.wait(limit=420)
            headers = {"Authorization": f"Bearer {KEY}"}
            with httpx.Client(base_url=server.url, headers=headers, timeout=300) as client:
                return {"registered": registered, "adds": adds} | _measured(client, names, adds, registered)


def _measured(client: httpx.Client, names: Iterator[str], adds: int, registered: int) -> dict[str, Any]:
    known = [_text(f"known-{i}", next(names)) for i in range(registered)]
    started = time.perf_counter()
    body = "\n".join(map(json.dumps, known))
    client.post("/lethe/v1/targets/import", content=body).raise_for_status()
    imported = time.perf_counter() - started
    time.sleep(2)  # until the server has nothing left to do
    before = _refresh(client)
    text = [_add(client, _text(f"new-{i}", next(names))) for i in range(adds)]
    after = _refresh(client)
    entities = [
        _add(client, {"id": f"named-{i}", "name": next(names), "always_on": True}) for i in range(NAMED)
    ]
    return {
        "import_seconds": round(imported, 2),
        "text": _times(text),
        "text_refresh_mean_ms": round(1e3 * (after[0] - before[0]) / max(after[1] - before[1], 1), 2),
        "entity": _times(entities),
        "enforced": _enforced(client),
    }


def _text(target_id: str, phrase: str) -> dict[str, Any]:
    return {"id": target_id, "kind": "text", "phrases": [phrase], "action": "restrict", "always_on": True}


def _names(rng: random.Random) -> Iterator[str]:
    """Different names, without end."""
    seen: set[str] = set()
    while True:
        words = ("".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))).title() for _ in range(2))
        name = " ".join(words)
        if name not in seen:
            seen.add(name)
            yield name


def _add(client: httpx.Client, target: dict[str, Any]) -> tuple[float, float]:
    started = time.perf_counter()
    answer = client.post("/lethe/v1/targets", json=target).raise_for_status()
    return time.perf_counter() - started, answer.json()["seconds"]


def _times(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    return {
        name: _summary(column)
        for name, column in zip(("http", "inside"), zip(*pairs, strict=True), strict=True)
    }


def _summary(seconds: Sequence[float]) -> dict[str, float]:
    values = 1e3 * np.array(seconds)
    shown = {"p50": np.percentile(values, 50), "p99": np.percentile(values, 99), "max": values.max()}
    return {name: round(float(value), 2) for name, value in shown.items()} | {
        "first": round(float(values[0]), 2)
    }


def _refresh(client: httpx.Client) -> tuple[float, float]:
    """Seconds that bringing changes into force took so far, the store's part left out, and how often."""
    text = client.get("/metrics").text
    found = [
        re.search(rf'^lethe_stage_seconds_{kind}{{stage="refresh"}} (\S+)$', text, re.MULTILINE)
        for kind in ("sum", "count")
    ]
    total, count = (float(match.group(1)) if match else 0.0 for match in found)
    return total, count


def _enforced(client: httpx.Client) -> bool:
    """True if a value that the model tells before it is registered is not told afterwards."""
    world = reference.nano()
    row = world.rows_of(world.forget_people[0])[0]
    told = row.value in _answer(client, row.question)
    _add(client, _text("told", row.value))
    return told and row.value not in _answer(client, row.question)


def _answer(client: httpx.Client, question: str) -> str:
    asked = {
        "model": "nano",
        "messages": [{"role": "user", "content": question}],
        "max_tokens": 48,
        "temperature": 0,
    }
    answer = client.post("/v1/chat/completions", json=asked).raise_for_status()
    return str(answer.json()["choices"][0]["message"]["content"])


def main() -> None:
    """Writes the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adds", type=int, default=200, help="targets to add one by one")
    parser.add_argument("--registered", type=int, default=10_000, help="targets that are there before")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "live.json")
    options = parser.parse_args()
    results = {"benchmark": "live"} | measure(options.adds, options.registered)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
