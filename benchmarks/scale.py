"""How the prompt classifier grows with the number of targets, from a thousand to a million.

python -m benchmarks.scale            # writes benchmarks/results/scale.json and .png, in half an hour
python -m benchmarks.scale --quick    # up to 10,000 targets, written nowhere

Each detector and number of targets runs in a process of its own, on one core. Latencies are of a detector
without the sentence encoder, which takes 12 ms for a short prompt whatever the number of targets: by the
clock, and in processor time, in which other work on the machine does not count. Names are invented; a million
texts cannot be encoded here, so most vectors are made from 1,600 really encoded ones (scaling/vectors.py).
Memory is what the process holds more than before, heap kept for reuse included, which below 100,000 targets
is most; `object_bytes` is without it. Ids of targets count in both, although a server holds them anyway.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.scaling import measuring
from benchmarks.scaling import vectors as made_vectors

RESULTS = Path(__file__).parent / "results"
COUNTS = (1_000, 10_000, 100_000, 1_000_000)
DETECTORS = ("lexical", "fuzzy", "examples")
GOALS = {
    "fuzzy, 10,000 targets, processor ms per text of 200 characters or more": 1.0,
    "fuzzy, 1,000,000 targets, processor ms per text of 200 characters or more": 2.0,
    "fuzzy, 1,000,000 targets, bytes of objects per target": 300,
    "examples, 1,000,000 targets, nearest among the first 32, reworded": 0.99,
    "examples, 1,000,000 targets, repetitions found": 1.0,
}
console = Console()


def in_process(detector: str, count: int, real: Path) -> dict[str, Any]:
    """Figures of one detector, measured in a process of its own, and the most memory it needed."""
    command = [sys.executable, "-m", "benchmarks.scale", "--only", detector, str(count), str(real)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{detector} with {count} targets failed:\n{done.stderr[-2000:]}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def only(detector: str, count: int, real: Path) -> None:
    """Prints the figures of one detector as JSON."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    report = measuring.examples(real, count) if detector == "examples" else measuring.strings(detector, count)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    report["peak_megabytes"] = int(status["VmHWM"].split()[0]) / 1024
    print(json.dumps(report))


def goals(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each goal with what was measured."""
    fuzzy, examples = rows["fuzzy"], rows["examples"]["1000000"]
    measured = (
        fuzzy["10000"]["longer_processor_p50_ms"], fuzzy["1000000"]["longer_processor_p50_ms"],
        fuzzy["1000000"]["object_bytes_per_target"], examples["recall_reworded"]["nearest_in_32"],
        examples["repetitions_found"],
    )  # fmt: skip
    return {
        name: {
            "goal": goal,
            "measured": value,
            "met": value >= goal if "found" in name or "nearest" in name else value <= goal,
        }
        for (name, goal), value in zip(GOALS.items(), measured, strict=True)
    }


def show(rows: dict[str, dict[str, Any]]) -> None:
    """Prints the figures."""
    columns = (
        "p50_ms p95_ms processor_p50_ms bytes_per_target build_seconds change_ms compact_seconds".split()
    )
    table = Table("detector", "targets", *(column.replace("_", " ") for column in columns))
    for detector, found in rows.items():
        for count, row in found.items():
            table.add_row(detector, f"{int(count):,}", *(f"{row[column]:,.2f}" for column in columns))
    console.print(table)


def draw(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Latency and memory of each detector against the number of targets."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for detector, found in rows.items():
        counts = [int(count) for count in found]
        (line,) = left.plot(counts, [r["processor_p50_ms"] for r in found.values()], "-o", label=detector)
        left.plot(
            counts, [r["processor_p95_ms"] for r in found.values()], "--", color=line.get_color(), lw=0.8
        )
        right.plot(counts, [r["bytes_per_target"] for r in found.values()], "-o", label=detector)
    left.set_ylabel("ms per prompt (processor; dashed: p95)")
    right.set_ylabel("bytes per target")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("targets")
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> int:
    """Measures, writes the results, and says which goals are missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few targets, and nothing is written")
    parser.add_argument("--only", nargs=3, metavar=("DETECTOR", "COUNT", "VECTORS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        only(given.only[0], int(given.only[1]), Path(given.only[2]))
        return 0
    counts = COUNTS[:2] if given.quick else COUNTS
    rows: dict[str, dict[str, Any]] = {detector: {} for detector in DETECTORS}
    with tempfile.TemporaryDirectory() as folder:
        real = Path(folder) / "real.npz"
        encoded, reworded = made_vectors.encoded()
        np.savez(real, encoded=encoded, reworded=reworded)
        for count in counts:
            for detector in DETECTORS:
                with console.status(f"{detector}, {count:,} targets"):
                    rows[detector][str(count)] = in_process(detector, count, real)
    show(rows)
    if given.quick:
        return 0
    report = {
        "benchmark": "scale: detectors without the sentence encoder; most vectors are made, not encoded",
        "command": "python -m benchmarks.scale",
        "prompts": measuring.PROMPTS,
        "really_encoded_vectors": int(encoded.shape[0] * encoded.shape[1]),
        "rows": rows,
        "goals": goals(rows),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load": os.getloadavg()[1]},
        "versions": {name: version(name) for name in ("faiss-cpu", "rapidfuzz", "ahocorasick_rs", "numpy")},
    }
    (RESULTS / "scale.json").write_text(json.dumps(report, indent=1) + "\n")
    draw(rows, RESULTS / "scale.png")
    console.print_json(json.dumps(report["goals"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
