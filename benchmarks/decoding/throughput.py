"""Throughput of engines with a filter, as ratios to an engine without one, taken in turn."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.progress import Progress

from benchmarks.decoding.engines import Engine, Setup
from benchmarks.decoding.names import full_names
from guard import ForgetTarget
from guard.snapshot import compile_snapshot

GUARD = "serving.plugin:GuardLogitsProcessor"
BATCHES = (1, 8, 32, 64)
TOKENS = 64
OURS = ("guard, idle", "guard, 10,000")


def setups(folder: Path) -> dict[str, Setup]:
    """Every engine that is measured, by name; the first is the one without a filter."""
    names = full_names(10_000)
    rival = "benchmarks.rivals"

    def guarded(count: int) -> Setup:
        phrases = [(f"n{i}", (name,)) for i, name in enumerate(names[:count])]
        targets = (
            ForgetTarget(id=i, kind="text", phrases=p, always_on=True, action="restrict") for i, p in phrases
        )
        snapshot = compile_snapshot(targets).save(folder)
        return Setup(GUARD, {"lethe": {"snapshot": str(snapshot), "router": True}})

    def peer(processor: str, count: int) -> Setup:
        return Setup(f"{rival}.{processor}", {"rival": {"phrases": names[:count]}})

    return {
        "unguarded": Setup(),
        "guard, idle": guarded(0),
        "guard, 10,000": guarded(10_000),
        "bad_words, 10": Setup(bad_words=tuple(names[:10])),
        "bad_words, 100": Setup(bad_words=tuple(names[:100])),
        "bad_words, 1,000": Setup(bad_words=tuple(names[:1000])),
        "pyahocorasick, 10,000": peer("pyahocorasick:AhoCorasickProcessor", 10_000),
        "llguidance, 30": peer("llguidance_rival:LlguidanceProcessor", 30),
        "llguidance, 1,000": peer("llguidance_rival:LlguidanceProcessor", 1000),
    }


def measure(rounds: int, peer_rounds: int, progress: Progress) -> dict[str, Any]:
    """Ratios of every setup at every batch size: one engine works at a time, in an order drawn anew.

    Args:
        rounds: rounds for our own engines.
        peer_rounds: rounds for the others.
        progress: shows how far it is.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="lethe-decode-")))
        chosen = setups(folder)
        task = progress.add_task("starting engines", total=len(chosen))
        engines: dict[str, Engine] = {}
        for name, setup in chosen.items():
            engines[name] = Engine(setup, folder / f"{len(engines)}.log")
            stack.callback(engines[name].close)
            engines[name].ready()
            progress.advance(task)
        results: dict[str, Any] = {}
        draw = random.Random(3)
        task = progress.add_task("throughput", total=len(BATCHES) * rounds)
        for batch in BATCHES:
            for engine in engines.values():
                engine.run(batch, 8)  # the first run of a shape warms it up
            taken: dict[str, list[dict[str, float]]] = {name: [] for name in engines}
            for number in range(rounds):
                order = [n for n in engines if n == "unguarded" or n in OURS or number < peer_rounds]
                draw.shuffle(order)
                for name in order:
                    taken[name].append(engines[name].run(batch, TOKENS))
                progress.advance(task)
            for name in engines:
                results.setdefault(name, {})[str(batch)] = _ratio(taken["unguarded"], taken[name])
    return results


def _ratio(plain: Sequence[Mapping[str, float]], own: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """Throughput against the engine without a filter, round by round."""
    pairs = list(zip(plain, own, strict=False))
    wall = np.array([a["wall"] / b["wall"] for a, b in pairs])
    cpu = np.array([a["cpu"] / b["cpu"] for a, b in pairs])
    draw = np.random.default_rng(1)
    medians = np.median(draw.choice(wall, (2000, len(wall))), axis=1)
    return {
        "throughput_ratio": round(float(np.median(wall)), 4),
        "interval_95": [round(float(v), 4) for v in np.percentile(medians, [2.5, 97.5])],
        "quartiles": [round(float(v), 4) for v in np.percentile(wall, [25, 75])],
        "cpu_ratio": round(float(np.median(cpu)), 4),
        # What the processor's own calls take, of the same run: free of the noise between two runs.
        "share_inside": round(median(b["inside"] / b["wall"] for _, b in pairs), 5),
        "tokens_per_second": round(median(b["tokens"] / b["wall"] for _, b in pairs), 1),
        "rounds": len(pairs),
    }
