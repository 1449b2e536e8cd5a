"""Where forget targets are kept: the store protocol, a store in memory, and JSON Lines files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from guard.errors import InputError, TargetChanged, TargetError, TargetExists, TargetNotFound, TokenReused
from guard.types import ForgetTarget


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed in a store since a revision.

    Attributes:
        revision: the store's, with everything up to it; later changes may be there in part.
        put: targets that were registered or replaced, in the order of their registration.
        ids: all targets that are there: those of ``put`` and the unchanged ones.
    """

    revision: int
    put: tuple[ForgetTarget, ...]
    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a change comes from.

    Attributes:
        actor: id of the API key; "local" is the command line.
        token: idempotency key; the same one with the same digest changes nothing a second time.
        digest: of the request that carries the token.
    """

    actor: str = "local"
    token: str | None = None
    digest: str = ""


LOCAL = Origin()


class TargetStore(Protocol):
    """Keeps targets in the order of their registration. A revision is a number that grows by 1 a change.

    A change whose origin carries a token that came before changes nothing: the result is the revision of
    then, or TokenReused if the digest differs. ``expected`` is the `etag` of the target as the caller saw it;
    TargetChanged is raised if it is another one by now.
    """

    def add(self, *targets: ForgetTarget, origin: Origin = LOCAL) -> int:
        """Registers targets, all or none; the revision. Raises TargetExists naming the first id taken."""

    def replace(self, target: ForgetTarget, origin: Origin = LOCAL, expected: str | None = None) -> int:
        """Puts a target in place of the one with its id; the revision. Raises TargetNotFound."""

    def get(self, target_id: str) -> ForgetTarget:
        """The target with this id. Raises TargetNotFound."""

    def remove(self, target_id: str, origin: Origin = LOCAL, expected: str | None = None) -> int:
        """Forgets the target itself; the revision. Raises TargetNotFound."""

    def list(self) -> tuple[ForgetTarget, ...]:
        """All targets."""

    def revision(self) -> int:
        """The revision of the last change."""

    def changes(self, since: int) -> Changes:
        """What changed after the revision ``since``."""


class MemoryTargetStore:
    """A TargetStore that lives and ends with the process."""

    def __init__(self, targets: Iterable[ForgetTarget] = ()) -> None:
        self._targets: dict[str, ForgetTarget] = {}
        self._written: dict[str, int] = {}
        self._tokens: dict[str, tuple[str, int]] = {}
        self._revision = 0
        self.add(*targets)

    def add(self, *targets: ForgetTarget, origin: Origin = LOCAL) -> int:
        """See TargetStore."""
        if (known := self._known(origin)) is not None:
            return known
        taken = set(self._targets)
        for target in targets:
            if target.id in taken:
                raise TargetExists(f"target {target.id!r} exists; remove it first or replace it")
            taken.add(target.id)
        return self._put(*targets, origin=origin)

    def replace(self, target: ForgetTarget, origin: Origin = LOCAL, expected: str | None = None) -> int:
        """See TargetStore."""
        if (known := self._known(origin)) is not None:
            return known
        require(self.get(target.id), expected)
        return self._put(target, origin=origin)

    def get(self, target_id: str) -> ForgetTarget:
        """See TargetStore."""
        try:
            return self._targets[target_id]
        except KeyError:
            raise TargetNotFound(f"no target has the id {target_id!r}") from None

    def remove(self, target_id: str, origin: Origin = LOCAL, expected: str | None = None) -> int:
        """See TargetStore."""
        if (known := self._known(origin)) is not None:
            return known
        require(self.get(target_id), expected)
        del self._targets[target_id], self._written[target_id]
        return self._put(origin=origin)

    def list(self) -> tuple[ForgetTarget, ...]:
        """See TargetStore."""
        return tuple(self._targets.values())

    def revision(self) -> int:
        """See TargetStore."""
        return self._revision

    def changes(self, since: int) -> Changes:
        """See TargetStore."""
        put = tuple(t for t in self._targets.values() if self._written[t.id] > since)
        return Changes(self._revision, put, frozenset(self._targets))

    def _known(self, origin: Origin) -> int | None:
        known = self._tokens.get(origin.token or "")
        if known is None:
            return None
        digest, revision = known
        same_request(digest, origin.digest)
        return revision

    def _put(self, *targets: ForgetTarget, origin: Origin) -> int:
        self._revision += 1
        for target in targets:
            self._targets[target.id] = target
            self._written[target.id] = self._revision
        if origin.token:
            self._tokens[origin.token] = (origin.digest, self._revision)
        return self._revision


def canonical(target: ForgetTarget) -> str:
    """The one JSON text of a target, in ASCII."""
    return json.dumps(target.to_json(), sort_keys=True)


def etag(target: ForgetTarget) -> str:
    """Content hash of a target: another one after every change that makes a difference."""
    return hashlib.sha256(canonical(target).encode()).hexdigest()[:32]


def require(target: ForgetTarget, expected: str | None) -> None:
    """Passes a target that is the one its caller saw. Raises TargetChanged."""
    if expected is not None and etag(target) != expected:
        raise TargetChanged(f"target {target.id!r} was changed by somebody else; read it again")


def same_request(known: str, given: str) -> None:
    """Passes equal digests. Raises TokenReused."""
    if known != given:
        raise TokenReused("this idempotency key came before, with another request; use a new key")


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
        except RecursionError:
            raise TargetError(f"{source} line {number}: JSON that is nested too deeply") from None
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
