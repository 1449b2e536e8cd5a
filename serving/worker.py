"""What the server may ask of a worker process: take a snapshot or a change of one, say what is enforced.

vLLM mixes the class into its worker (``--worker-extension-cls``) and calls it by `collective_rpc`. A call
holds up decoding, so a whole snapshot is compiled in a thread, and only then put into force.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from vllm.distributed.parallel_state import get_pp_group

from guard.snapshot import Record, Snapshot, load_snapshot
from serving import logits

_threads = ThreadPoolExecutor(1, thread_name_prefix="lethe-compile")


class GuardWorker:
    """Methods added to every worker; the prefix keeps them apart from the worker's own."""

    _lethe_prepared: Future[Snapshot]

    def lethe_prepare(self, directory: str) -> None:
        """Starts to load and compile the snapshot in a directory; `lethe_install` puts it into force."""
        self._lethe_prepared = _threads.submit(_prepare, directory)

    def lethe_prepared(self) -> bool:
        """True when `lethe_install` need not wait.

        Raises:
            SnapshotError: the snapshot cannot be loaded.
        """
        done = self._lethe_prepared.done()
        if done:
            self._lethe_prepared.result()
        return done

    def lethe_install(self, compacting: bool = False) -> str:
        """Enforces the prepared snapshot from the next step on, also on running requests.

        To be called when all workers are prepared: those that sample the same tokens must change together.

        Args:
            compacting: the prepared snapshot only compiles older targets anew; changes since then stay.

        Returns:
            The version in force, "" if nothing is enforced here.
        """
        prepared, version = self._lethe_prepared.result(), ""
        for processor in logits.live:
            tables = processor.tables
            tables.install(tables.snapshot.on(prepared) if compacting else prepared)
            version = tables.snapshot.version
        return version

    def lethe_change(self, put: Sequence[Sequence[str]], removed: Sequence[str]) -> str:
        """Enforces a small change from the next step on, also on running requests.

        Args:
            put: id, JSON and penalised words (`guard.snapshot.Record`) of the targets that came or changed.
            removed: ids of those that went.

        Returns:
            The version in force, by which the caller knows that this process holds the same targets; "" if
            nothing is enforced here. It is the old one if the change is none to make between two steps.
        """
        records = {target_id: Record(line, soft) for target_id, line, soft in put}
        version = ""
        for processor in logits.live:
            tables = processor.tables
            snapshot = tables.snapshot.changed(records, removed)
            if tables.at_hand(snapshot):
                tables.install(snapshot)
            version = tables.snapshot.version
        return version

    def lethe_status(self) -> dict[str, Any]:
        """What this rank enforces: ``snapshots`` (versions) and ``routed`` have one entry per processor."""
        processors = list(logits.live)
        return {
            # Only the last pipeline stage samples, so only there a processor is needed.
            "samples": get_pp_group().is_last_rank,
            "snapshots": [processor.tables.snapshot.version for processor in processors],
            "routed": [processor.wiring.router for processor in processors],
        }


def _prepare(directory: str) -> Snapshot:
    snapshot = load_snapshot(directory)
    for processor in logits.live:
        processor.tables.prepare(snapshot)
    return snapshot
