"""Figures of one detector with one number of targets."""

from __future__ import annotations

import ctypes
import gc
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from benchmarks.scaling import vectors as made_vectors
from benchmarks.scaling.people import People, longer, prompts

PROMPTS = 200
SIZE = 200  # characters of the longer texts, at least
CANDIDATES = 32  # what the semantic detector looks at


def strings(detector: str, count: int) -> dict[str, Any]:
    """Figures of the lexical or the fuzzy detector."""
    from guard.detectors.fuzzy import FuzzyDetector
    from guard.detectors.lexical import LexicalDetector

    build = {"lexical": LexicalDetector, "fuzzy": FuzzyDetector}[detector]
    build(People(10)).scan([text for text, _ in prompts(3, 10, 0)])  # loads what is loaded once
    people = People(count)
    before, started = resident(), time.perf_counter()
    built: Any = build(people)
    seconds = time.perf_counter() - started - people.seconds
    report = {"build_seconds": seconds, "bytes_per_target": (resident() - before) / count}
    report["object_bytes_per_target"] = held(built) / count
    asked = prompts(PROMPTS, count, 5)
    report |= latency([lambda text=text: built.scan([text])[0] for text, _ in asked])
    draw = random.Random(6)
    texts = [longer(text, SIZE, draw) for text, _ in asked]
    report["longer_characters"] = sum(map(len, texts)) / len(texts)
    times = latency([lambda text=text: built.scan([text])[0] for text in texts])
    report |= {f"longer_{name}": value for name, value in times.items()}
    found = built.scan([text for text, _ in asked])
    sure = [{m.target_id for m in matches if m.score >= m.threshold} for matches in found]
    for at, kind in enumerate(("named", "misspelt")):
        hits = [
            f"person-{meant:07d}" in ids for ids, (_, meant) in zip(sure[at::3], asked[at::3], strict=True)
        ]
        report[f"found_{kind}"] = sum(hits) / len(hits)
    report["others_matched"] = sum(map(bool, sure[2::3])) / len(sure[2::3])
    report["matches_per_prompt"] = sum(map(len, found)) / len(found)
    return report | changes(built, lambda number: People(count + number + 1)[count + number])


def examples(real: Path, count: int) -> dict[str, Any]:
    """Figures of the index of example vectors, one vector per target."""
    import faiss

    from guard.detectors.examples import Examples, nearest
    from guard.detectors.layers import Layers

    faiss.omp_set_num_threads(1)
    with np.load(real) as held:
        encoded, reworded = held["encoded"], held["reworded"]
    vectors = made_vectors.made(encoded, count)
    owners = [f"person-{row:07d}" for row in range(count)]
    draw = np.random.default_rng(2)
    repeated = draw.integers(count, size=PROMPTS)
    queries = {
        "repeated": vectors[repeated],
        "reworded": reworded,
        "new": made_vectors.mixed(encoded, PROMPTS, draw),
    }
    truth = {kind: made_vectors.nearest(vectors, asked, CANDIDATES) for kind, asked in queries.items()}
    before, started = resident(), time.perf_counter()
    layers = Layers(Examples(owners, vectors))
    report: dict[str, Any] = {"build_seconds": time.perf_counter() - started}
    report["bytes_per_target"] = (resident() - before) / count
    for kind, asked in queries.items():
        report[f"recall_{kind}"] = recall(nearest(layers, asked, CANDIDATES), truth[kind].tolist())
    lines = nearest(layers, queries["repeated"], CANDIDATES)
    report["repetitions_found"] = sum(
        any(owner == owners[row] and score > 0.995 for score, owner in line)
        for line, row in zip(lines, repeated.tolist(), strict=True)
    ) / len(lines)
    asked = np.concatenate([queries["reworded"][::2], queries["new"][::2]])
    report |= latency([lambda row=row: nearest(layers, row, CANDIDATES) for row in asked[:, None]])
    new = made_vectors.mixed(encoded, 1, draw)
    started = time.perf_counter()
    layers = layers.changed(Examples(["new"], new), ["new"], [owners[0]])
    nearest(layers, new, CANDIDATES)  # which targets are gone is worked out by the first search
    report["change_ms"] = 1e3 * (time.perf_counter() - started)
    started = time.perf_counter()
    layers.compacted()
    return report | {"compact_seconds": time.perf_counter() - started}


def recall(lines: Sequence[Sequence[tuple[float, str]]], truth: Sequence[Sequence[int]]) -> dict[str, float]:
    """How often the nearest is first, how often it is among the first 32, and the share of 32 that are."""
    found = [[int(owner.rpartition("-")[2]) for _, owner in line] for line in lines]
    pairs = list(zip(found, truth, strict=True))
    return {
        "first": sum(line[0] == rows[0] for line, rows in pairs) / len(pairs),
        "nearest_in_32": sum(rows[0] in line for line, rows in pairs) / len(pairs),
        "of_32": sum(len({*line} & {*rows}) for line, rows in pairs) / CANDIDATES / len(pairs),
    }


def changes(built: Any, person: Callable[[int], Any]) -> dict[str, float]:
    """Milliseconds of a live change up to its first answer, and seconds of compacting."""
    times = []
    for number in range(20):
        new = person(number)
        started = time.perf_counter()
        built = built.changed([new], [f"person-{number:07d}"])
        built.scan([f"Who is {new.name}?"])
        times.append(1e3 * (time.perf_counter() - started))
    started = time.perf_counter()
    built.compacted()
    return {"change_ms": float(np.median(times)), "compact_seconds": time.perf_counter() - started}


def latency(calls: Sequence[Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of each call, by the clock and of the processor: median and 95th percentile."""
    for call in calls[:10]:
        call()
    taken = []
    for call in calls:
        clock, worked = time.perf_counter(), time.thread_time()
        call()
        taken.append((1e3 * (time.perf_counter() - clock), 1e3 * (time.thread_time() - worked)))
    low, high = np.percentile(np.array(taken), [50, 95], axis=0)
    return {"p50_ms": low[0], "p95_ms": high[0], "processor_p50_ms": low[1], "processor_p95_ms": high[1]}


def held(built: Any) -> int:
    """Bytes of all Python objects and arrays that a detector holds, each once: no heap kept for reuse."""
    seen: dict[int, Any] = {}
    waiting = [built]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, (type, ModuleType, FunctionType)):
            seen[id(one)] = one
            waiting += gc.get_referents(one)
    return sum(map(sys.getsizeof, seen.values()))


def resident() -> int:
    """Bytes of memory that the process holds, after it gave back what it can."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
