"""Where forget targets are kept: the store protocol, a store in memory, and JSON Lines files."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from guard.errors import InputError, TargetError, TargetExists, TargetNotFound
from guard.types import ForgetTarget


class TargetStore(Protocol):
    """Keeps targets in the order of their registration."""

    def add(self, *targets: ForgetTarget) -> None:
        """Registers targets, all or none. Raises TargetExists naming the first id that is taken."""

    def replace(self, target: ForgetTarget) -> None:
        """Puts a target in place of the one with its id. Raises TargetNotFound."""

    def get(self, target_id: str) -> ForgetTarget:
        """The target with this id. Raises TargetNotFound."""

    def remove(self, target_id: str) -> None:
        """Forgets the target itself. Raises TargetNotFound."""

    def list(self) -> tuple[ForgetTarget, ...]:
        """All targets."""

    def revision(self) -> int:
        """A number that grows with every change."""


class MemoryTargetStore:
    """A TargetStore that lives and ends with the process."""

    def __init__(self, targets: Iterable[ForgetTarget] = ()) -> None:
        self._targets: dict[str, ForgetTarget] = {}
        self._revision = 0
        self.add(*targets)

    def add(self, *targets: ForgetTarget) -> None:
        """See TargetStore."""
        taken = set(self._targets)
        for target in targets:
            if target.id in taken:
                raise TargetExists(f"target {target.id!r} exists; remove it first or replace it")
            taken.add(target.id)
        self._targets.update((target.id, target) for target in targets)
        self._revision += 1

    def replace(self, target: ForgetTarget) -> None:
        """See TargetStore."""
        self.get(target.id)
        self._targets[target.id] = target
        self._revision += 1

    def get(self, target_id: str) -> ForgetTarget:
        """See TargetStore."""
        try:
            return self._targets[target_id]
        except KeyError:
            raise TargetNotFound(f"no target has the id {target_id!r}") from None

    def remove(self, target_id: str) -> None:
        """See TargetStore."""
        self.get(target_id)
        del self._targets[target_id]
        self._revision += 1

    def list(self) -> tuple[ForgetTarget, ...]:
        """See TargetStore."""
        return tuple(self._targets.values())

    def revision(self) -> int:
        """See TargetStore."""
        return self._revision


def parse_jsonl(text: str, source: str = "input") -> list[ForgetTarget]:
    """The targets of a JSON Lines text; blank lines are skipped.

    Raises:
        TargetError: a line is no JSON or no target, or two have the same id; names source, line and field.
    """
    targets: dict[str, ForgetTarget] = {}
    # Split at newlines only: JSON text may hold U+2028, which str.splitlines() takes for a line end.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            target = ForgetTarget.parse(json.loads(line))
        except json.JSONDecodeError as error:
            raise TargetError(
                f"{source} line {number}: no JSON at column {error.colno}; write one object a line"
            ) from None
        except TargetError as error:
            raise TargetError(f"{source} line {number}: {error}") from None
        if target.id in targets:
            raise TargetError(f"{source} line {number}: id {target.id!r} occurs twice; ids must differ")
        targets[target.id] = target
    return list(targets.values())


def read_jsonl(path: Path | str) -> list[ForgetTarget]:
    """The targets of a JSON Lines file.

    Raises:
        InputError: the file cannot be read.
        TargetError: as `parse_jsonl`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as UTF-8 text ({type(error).__name__})") from None
    return parse_jsonl(text, str(path))


def write_jsonl(path: Path | str, targets: Iterable[ForgetTarget]) -> None:
    """Writes targets as JSON Lines that `read_jsonl` takes."""
    lines = (json.dumps(target.to_json(), ensure_ascii=False) + "\n" for target in targets)
    Path(path).write_text("".join(lines), encoding="utf-8")
