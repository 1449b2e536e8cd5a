"""Many streams at once while targets change every second: does anything leak, break or grow?

python -m benchmarks.soak [--streams 200] [--seconds 120] [--model nano-full] [--control] [--out FILE]

A real `lethe serve` on the loopback interface is asked about people by ``streams`` clients at once, each
asking anew when its answer ends. Once a second an always-on target is added, replaced or removed over the
admin API. A stream leaks if its text holds a string whose target was acknowledged before the stream was asked
for and not sent away before it ended. A stream is dropped if it lacks a finish reason or [DONE].
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from matplotlib.figure import Figure

from benchmarks.soaking.findings import complaints, counters, report
from benchmarks.soaking.load import KEY, Watch, load
from guard import reference
from serving.launch import EAGER, guarded_command, plain_command, running

SERVED = ("--served-model-name", "toy", "--max-num-seqs", "256", "--disable-uvicorn-access-log")
# The cache's pages become resident as they are first written; so small, that is over after some 500 requests.
CACHE = ("--kv-cache-memory-bytes", str(96 << 20))
COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red")


def soak(streams: int, seconds: float, model: str) -> tuple[dict[str, Any], Watch]:
    """What was counted on a guarded server, which is stopped by SIGTERM at the end."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "lethe"
        environment = {"LETHE_HOME": str(home), "LETHE_ADMIN_KEY": KEY, "LETHE_LOG_FORMAT": "json"}
        command = guarded_command([str(reference.path(model)), *SERVED, *CACHE])
        with running(command, Path(folder) / "log", environment) as server:
            server.wait(limit=420)
            watch = asyncio.run(load(server, streams, seconds))
            metrics = httpx.get(server.url + "/metrics").text
            server.process.send_signal(signal.SIGTERM)
            status = server.process.wait(120)
            log = server.log.read_text(errors="replace")
        asked = "select count(*) from audit where request_id != ''"
        ((recorded,),) = sqlite3.connect(home / "lethe.db").execute(asked).fetchall()
    ends = {"exit_status": status, "audit_records": recorded, "log": complaints(log)}
    return report(watch) | ends | counters(metrics), watch


def control(streams: int, seconds: float, model: str) -> dict[str, Any]:
    """The same load on vLLM's own server, without guard and targets: what memory and streams do there."""
    with tempfile.TemporaryDirectory() as folder:
        command = plain_command(reference.path(model), [*SERVED, *CACHE, *EAGER])
        with running(command, Path(folder) / "log", {"TORCHDYNAMO_DISABLE": "1"}) as server:
            server.wait(limit=420)
            watch = asyncio.run(load(server, streams, seconds, targets=False))
    return {name: value for name, value in report(watch).items() if name in ("streams", "dropped", "memory")}


def draw(watch: Watch, path: Path) -> None:
    """Memory by process and running streams over time, with every change of the targets."""
    figure = Figure(figsize=(10, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    times = [moment for moment, _, _ in watch.memory]
    for colour, name in zip(COLOURS, watch.memory[-1][1], strict=False):
        upper.plot(times, [f.get(name, np.nan) for _, f, _ in watch.memory], color=colour, label=name)
    upper.set_ylabel("resident memory, MB")
    upper.set_ylim(bottom=0)
    upper.legend()
    lower.plot(times, [count for _, _, count in watch.memory], label="running streams")
    ends = sorted(stream.ended for stream in watch.streams)
    lower.plot(ends, np.arange(1, len(ends) + 1) / 10, label="ended streams / 10")
    lower.vlines([o.since for o in watch.orders], 0, 5, color="black", linewidth=0.5, label="target enforced")
    lower.set_xlabel("seconds")
    lower.legend()
    figure.savefig(path, dpi=120)


def main() -> int:
    """Writes results and picture; 1 if anything leaked or was dropped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=200, help="clients that ask at the same time")
    parser.add_argument("--seconds", type=float, default=120, help="how long they go on asking")
    parser.add_argument("--model", default="nano-full", help="name of a reference model")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "soak.json")
    parser.add_argument("--control", action="store_true", help="put the same load on stock vLLM, too")
    options = parser.parse_args()
    asked = options.streams, options.seconds, options.model
    found: dict[str, Any] = {"benchmark": "soak"} | dict(
        zip(("clients", "seconds", "model"), asked, strict=True)
    )
    counted, watch = soak(*asked)
    found |= counted | {"cores": os.cpu_count(), "load_average": round(os.getloadavg()[1], 1)}
    if options.control:
        found["stock_vllm"] = control(*asked)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    draw(watch, options.out.with_suffix(".png"))
    print(json.dumps(found, indent=1))
    return int(found["leaks"] > 0 or found["dropped"] > 0)


if __name__ == "__main__":
    sys.exit(main())
