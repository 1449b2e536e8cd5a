"""Every metric, declared in one place. Labels have few values: never a target's id, name or text.

They live in the process's default registry, which vLLM's ``/metrics`` exposes. Each gauge says how several
processes are merged, because vLLM switches to that mode when it runs more than one API process.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_FAST = (
    0.0001,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.02,
    0.03,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    5.0,
)

REQUESTS = Counter("lethe_requests_total", "Requests judged, by the action carried out", ["action"])
OBSERVED = Counter(
    "lethe_observed_total",
    "What was only observed, by the action it would have met; `filter`: a response would have been cut",
    ["action"],
)
CLOSED = Counter(
    "lethe_closed_surfaces_total",
    "Requests for something that a guarded server does not offer: a route, or logprobs, echo, beam search",
    ["surface"],
)
MATCHES = Counter("lethe_matches_total", "Evidence found in prompts, by detector", ["detector"])
STAGE_SECONDS = Histogram(
    "lethe_stage_seconds",
    "Time of one stage: edge (read and rewrite the body), inspect (judge a prompt), generate (the whole "
    "response), filter (all of its pieces); and refresh (registered to enforced)",
    ["stage"],
    buckets=_FAST,
)
FIRST_TOKEN_SECONDS = Histogram(
    "lethe_first_token_seconds",
    "Time from a prompt's arrival at the guard to the first text that leaves it",
    buckets=_FAST,
)
HELD_BACK = Histogram(
    "lethe_held_back_characters",
    "Characters the response filter withholds after a chunk, because a forbidden string may begin there",
    buckets=(0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
FILTER_TRIPS = Counter(
    "lethe_filter_trips_total", "Responses cut because a forbidden string was about to leave"
)
DETECTOR_ERRORS = Counter("lethe_detector_errors_total", "Detector failures, each answered with a refusal")
SNAPSHOT = Gauge(
    "lethe_snapshot_info", "1 for the snapshot version in force", ["version"], multiprocess_mode="mostrecent"
)
SNAPSHOT_TIME = Gauge(
    "lethe_snapshot_timestamp_seconds",
    "When the snapshot in force was installed, seconds since 1970; its age is time() minus this",
    multiprocess_mode="mostrecent",
)
TARGETS = Gauge("lethe_targets", "Targets in force", multiprocess_mode="mostrecent")
CALIBRATION = Gauge(
    "lethe_calibration_threshold",
    "Threshold made last for all groups of targets together; the shipped one holds where it is higher",
    multiprocess_mode="mostrecent",
)
REFRESH_ERRORS = Counter(
    "lethe_refresh_errors_total", "Failed attempts to bring the store's targets into force"
)
STORE_ERRORS = Counter("lethe_store_errors_total", "Database operations that failed, retries included")
AUDIT_BACKLOG = Gauge(
    "lethe_audit_backlog", "Audit records waiting for the database", multiprocess_mode="sum"
)
AUDIT_BLOCKED = Counter(
    "lethe_audit_blocked_total", "Audit records whose request waited because the queue was full"
)
AUDIT_LOST = Counter("lethe_audit_lost_total", "Audit records the database refused until shutdown")

METRICS = (
    REQUESTS,
    OBSERVED,
    CLOSED,
    MATCHES,
    STAGE_SECONDS,
    FIRST_TOKEN_SECONDS,
    HELD_BACK,
    FILTER_TRIPS,
    DETECTOR_ERRORS,
    SNAPSHOT,
    SNAPSHOT_TIME,
    TARGETS,
    CALIBRATION,
    REFRESH_ERRORS,
    STORE_ERRORS,
    AUDIT_BACKLOG,
    AUDIT_BLOCKED,
    AUDIT_LOST,
)


def announce(version: str, targets: int, now: float, previous: str | None) -> None:
    """Shows a snapshot as the one in force."""
    if previous is not None and previous != version:
        # Set to 0 rather than removed: removal does not exist when several processes share metrics.
        SNAPSHOT.labels(previous).set(0)
    SNAPSHOT.labels(version).set(1)
    SNAPSHOT_TIME.set(now)
    TARGETS.set(targets)
