"""The way from the targets in force to those in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import reduce

from guard.snapshot import Soften, compile_snapshot
from guard.targets import TargetStore
from guard.types import ForgetTarget
from serving.edits import Edit
from serving.state import State, Step


class Course:
    """Finds the way; what this server itself has changed need not be read again."""

    def __init__(self, store: TargetStore, soften: Soften | None) -> None:
        self._store = store
        self._soften = soften
        self._edits: dict[int, Edit] = {}  # own changes that are not in force yet, by the store's revision

    def store(
        self, write: Callable[[], int], put: Iterable[ForgetTarget], removed: Iterable[str]
    ) -> tuple[int, Edit]:
        """Has a change written: its revision, and what it does. Raises InputError if it is unenforceable."""
        edit = Edit.of(put, removed, self._soften)  # first: a target that cannot be enforced is not stored
        return write(), edit

    def own(self, revision: int, edit: Edit) -> None:
        """Remembers what a revision did."""
        self._edits[revision] = edit

    def reached(self, revision: int) -> None:
        """Forgets what is in force."""
        self._edits = {r: edit for r, edit in self._edits.items() if r > revision}

    def next(self, old: State | None) -> Step:
        """The way to what the store asks for; None: nobody knows from where."""
        # The revision is read first: what is written in between is then read once more, never missed.
        revision, now = self._store.revision(), datetime.now(UTC)
        if old is None:
            return Step(compile_snapshot(self._store.list(), self._soften), revision)
        own = [self._edits[r] for r in range(old.revision + 1, revision + 1) if r in self._edits]
        if len(own) == revision - old.revision:
            edit = reduce(Edit.then, own, Edit())
        else:
            changes = self._store.changes(old.revision)
            revision, gone = changes.revision, old.snapshot.records.keys() - changes.ids
            edit = Edit.of(changes.put, gone, self._soften)
        return old.step(old.due(edit, now), revision)
