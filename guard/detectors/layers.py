"""What a detector holds of many targets, in two layers, so that a change of a few costs little."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, Self, TypeVar


class Part(Protocol):
    """What a detector holds of some targets."""

    @classmethod
    def join(cls, *given: tuple[Self, Collection[str]]) -> Self:
        """One part of several, each without the targets named beside it."""


P = TypeVar("P", bound=Part)


@dataclass(frozen=True)
class Layers(Generic[P]):
    """A large part that stays as it is, and a small one that every change makes anew.

    Attributes:
        base: the large part.
        recent: the small part; None while nothing has changed.
        recent_ids: its targets.
        gone: targets of ``base`` that count no more, because they were removed or are in ``recent`` now.
    """

    base: P
    recent: P | None = None
    recent_ids: frozenset[str] = field(default_factory=frozenset)
    gone: frozenset[str] = field(default_factory=frozenset)

    @property
    def parts(self) -> tuple[tuple[P, frozenset[str]], ...]:
        """The parts, each with the targets in it that count no more."""
        base = (self.base, self.gone)
        return (base,) if self.recent is None else (base, (self.recent, frozenset()))

    def changed(self, new: P, ids: Collection[str], gone: Collection[str]) -> Layers[P]:
        """The layers after a change.

        Args:
            new: what there is to hold of the targets that came or changed.
            ids: those targets.
            gone: targets that were held and were removed or changed.
        """
        left = frozenset(gone)
        kept = () if self.recent is None else ((self.recent, left),)
        return replace(
            self,
            recent=new.join(*kept, (new, ())),
            recent_ids=self.recent_ids - left | frozenset(ids),
            gone=self.gone | (left - self.recent_ids),
        )

    def compacted(self) -> Layers[P]:
        """The same with everything in ``base``."""
        if self.recent is None and not self.gone:
            return self
        return Layers(self.base.join(*self.parts))
