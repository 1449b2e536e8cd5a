"""What has to change in a target set that is in force."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from guard.snapshot import Record, Soften
from guard.types import ForgetTarget


@dataclass(frozen=True, slots=True)
class Edit:
    """Some targets come or change, others go.

    Attributes:
        put: records that came or changed, by id.
        removed: ids that went; none of them is in ``put``.
    """

    put: Mapping[str, Record] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()

    @classmethod
    def of(cls, put: Iterable[ForgetTarget], removed: Iterable[str], soften: Soften | None) -> Edit:
        """The edit of targets. Raises InputError, as `Record.of`."""
        return cls({target.id: Record.of(target, soften) for target in put}, frozenset(removed))

    def __bool__(self) -> bool:
        """True if anything changes."""
        return bool(self.put or self.removed)

    @property
    def ids(self) -> frozenset[str]:
        """All targets concerned."""
        return self.removed.union(self.put)

    def then(self, later: Edit) -> Edit:
        """This edit and a later one as one."""
        put = {i: record for i, record in self.put.items() if i not in later.removed}
        return Edit({**put, **later.put}, (self.removed - later.put.keys()) | later.removed)

    def expiring(self, ids: Iterable[str], now: datetime) -> Edit:
        """The same, without targets whose time is over; ``ids`` are those of the ones in force."""
        over = {i for i, record in self.put.items() if record.target.expired(now)}
        return self.then(Edit(removed=frozenset({*over, *ids} - (self.put.keys() - over))))

    def on(self, records: Mapping[str, Record]) -> Edit:
        """The part that makes a difference to these records."""
        put = {i: record for i, record in self.put.items() if records.get(i) != record}
        return Edit(put, self.removed & records.keys())


def between(old: Mapping[str, Record], new: Mapping[str, Record]) -> Edit:
    """The edit from one target set to another that shares most of its records with it."""
    put = {i: record for i, record in new.items() if old.get(i) is not record}
    return Edit(put, frozenset(old.keys() - new.keys())).on(old)
