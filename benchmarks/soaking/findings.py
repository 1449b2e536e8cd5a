"""What a load shows: strings that came out, streams that broke, memory that grew."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.soaking.load import Order, Stream, Watch


def leaks(streams: Sequence[Stream], orders: Sequence[Order]) -> tuple[int, int, int]:
    """Streams that said a string in force all their life; pairs checked; streams asked for such a string."""
    found = tempted = pairs = 0
    for stream in streams:
        whole = [o for o in orders if o.since < stream.begun and stream.ended < o.until]
        pairs += len(whole)
        said = stream.text.casefold()
        tempted += any(_says(stream.value.casefold(), o.string) for o in whole)
        found += any(_says(said, o.string) for o in whole)
    return found, pairs, tempted


def _says(text: str, string: str) -> bool:
    """True if a string occurs where a word starts, by a rule of its own: not the guard's automaton."""
    return re.search(rf"(?<!\w){re.escape(string.casefold())}", text) is not None


def report(watch: Watch) -> dict[str, Any]:
    """What came out, what broke, how long changes took, and what memory did."""
    ended = [stream for stream in watch.streams if stream.fault is None]
    leaked, pairs, tempted = leaks(ended, watch.orders)
    free = [s for s in ended if not any(o.since < s.ended and s.begun < o.until for o in watch.orders
                                        if _says(s.value.casefold(), o.string))]  # fmt: skip
    told = sum(_says(stream.text.casefold(), stream.value) for stream in free)
    return {
        "streams": len(watch.streams),
        "leaks": leaked,
        "checked": pairs,
        "streams_asked_for_a_string_in_force": tempted,
        "streams_asked_for_a_free_string": len(free),
        "of_these_told": told,
        "dropped": len(watch.streams) - len(ended),
        "faults": sorted({stream.fault for stream in watch.streams if stream.fault}),
        "changes": len(watch.changes),
        "changes_failed": watch.failed,
        "change_ms": _percentiles(watch.changes),
        "change_ms_by_the_servers_word": _percentiles(watch.enforced),
        "memory": _memory(watch),
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Milliseconds; nothing of nothing."""
    return {f"p{p}": round(1e3 * float(np.percentile(seconds, p)), 1) for p in (50, 99, 100) if seconds}


def _memory(watch: Watch) -> dict[str, Any]:
    """First and last megabytes, and the slope over the second half, together and by process."""
    times = np.array([moment for moment, _, _ in watch.memory])
    half = times > times[-1] / 2
    rows = {name: np.array([found.get(name, 0.0) for _, found, _ in watch.memory])
            for name in watch.memory[-1][1]}  # fmt: skip
    rows = {"all": sum(rows.values())} | rows
    return {
        name: {
            "first_mb": round(float(row[0]), 1),
            "half_mb": round(float(row[half][0]), 1),
            "last_mb": round(float(row[-1]), 1),
            "second_half_mb_per_minute": round(60 * float(np.polyfit(times[half], row[half], 1)[0]), 2),
        }
        for name, row in rows.items()
    }


def complaints(log: str) -> dict[str, int]:
    """Our own lines above the level of information, and tracebacks of anybody."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith('{"event')]
    levels = [line["level"] for line in lines]
    return {level: levels.count(level) for level in ("warning", "error")}


def counters(text: str) -> dict[str, float]:
    """The server's own counts of what must not happen, and the mean time of its stages."""
    names = (
        "lethe_refresh_errors_total lethe_store_errors_total lethe_audit_lost_total lethe_filter_trips_total"
    )
    found = {name: _number(text, name) for name in names.split()}
    means = {}
    for stage in ("inspect", "generate", "filter", "refresh"):
        total, count = (
            _number(text, f'lethe_stage_seconds_{kind}{{stage="{stage}"}}') for kind in ("sum", "count")
        )
        means[stage] = round(1e3 * total / max(count, 1), 1)
    return found | {"stage_mean_ms": means}


def _number(text: str, sample: str) -> float:
    match = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(match.group(1)) if match else 0.0
