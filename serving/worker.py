"""What the server may ask of a worker process: load a snapshot, say what is enforced.

vLLM mixes the class into its worker (``--worker-extension-cls``) and calls it by `collective_rpc`.
"""

from __future__ import annotations

from typing import Any

from vllm.distributed.parallel_state import get_pp_group

from guard.snapshot import load_snapshot
from serving import logits


class GuardWorker:
    """Methods added to every worker; the prefix keeps them apart from the worker's own."""

    def lethe_load_snapshot(self, directory: str) -> str:
        """Enforces the snapshot from the next step on, also on running requests; returns its version."""
        snapshot = load_snapshot(directory)
        for processor in logits.live:
            processor.enforcer.install(snapshot)
        return snapshot.version

    def lethe_status(self) -> dict[str, Any]:
        """What this rank enforces: ``snapshots`` (versions) and ``routed`` have one entry per processor."""
        processors = list(logits.live)
        return {
            # Only the last pipeline stage samples, so only there a processor is needed.
            "samples": get_pp_group().is_last_rank,
            "snapshots": [processor.enforcer.snapshot.version for processor in processors],
            "routed": [processor.wiring.router for processor in processors],
        }
