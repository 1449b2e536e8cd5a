"""Scope inside an entity: which questions about a person are forbidden, and which are allowed.

A target has a scope of its own if some of its neighbors name it too, or if it has no name at all and enough
of both kinds of prompts. What lies in the scope is learned from the prompts of all such targets of a group
together, by a head of `guard.heads`: one person's few examples would teach little.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from guard.adaptation import AdaptationConfig, Adapter, Layered
from guard.detectors.learned import group_of
from guard.detectors.lexical import LexicalDetector
from guard.encoder import Encoder, Vectors
from guard.errors import InputError
from guard.heads import HEADS, Head
from guard.heads.rows import Labels
from guard.types import ForgetTarget

_FROZEN = AdaptationConfig()
FEWEST = 8  # examples, and neighbors, from which on a nameless target has a scope of its own


@dataclass(frozen=True, slots=True)
class ScopeConfig:
    """How scopes are learned."""

    head: Literal["kernel", "logistic", "mlp", "bottleneck"] = "kernel"  # of `guard.heads`
    adaptation: AdaptationConfig = _FROZEN  # to traffic; for the heads logistic and mlp

    def __post_init__(self) -> None:
        """Raises InputError if the head cannot adapt."""
        if self.adaptation.enabled and self.head not in {"logistic", "mlp"}:
            raise InputError(
                f"head {self.head!r} cannot adapt; take logistic or mlp, or leave adaptation off"
            )


@dataclass(frozen=True)
class _Rows:
    """What one target teaches.

    Attributes:
        group: targets that are learned from together.
        vectors: float16 [n, d], of its examples, then of its neighbors.
        examples: how many of them are examples.
    """

    group: str
    vectors: npt.NDArray[np.float16]
    examples: int


@dataclass(frozen=True)
class Scopes:
    """The scopes of all targets that have one. Immutable; heads are learned when first asked for.

    Attributes:
        config: how they are learned.
        rows: what each target with a scope teaches.
        heads: by group, those that hold still.
    """

    config: ScopeConfig
    rows: Mapping[str, _Rows]
    heads: Mapping[str, _Learned]

    @classmethod
    def of(
        cls, targets: Sequence[ForgetTarget], encoder: Encoder, config: ScopeConfig | None = None
    ) -> Scopes:
        """The scopes of the targets; encodes their prompts."""
        return cls(config or ScopeConfig(), {}, {}).changed(targets, (), encoder)

    def changed(self, put: Sequence[ForgetTarget], gone: Collection[str], encoder: Encoder) -> Scopes:
        """The scopes after a change; groups that it does not touch keep their heads."""
        new = {target.id: _rows(target, encoder) for target in put if has_scope(target)}
        touched = {self.rows[i].group for i in gone if i in self.rows} | {r.group for r in new.values()}
        if not touched:
            return self
        rows = {i: r for i, r in self.rows.items() if i not in gone} | new
        by_group: dict[str, dict[str, _Rows]] = defaultdict(dict)
        for target_id, of_target in rows.items():
            by_group[of_target.group][target_id] = of_target
        kept = {group: lazy for group, lazy in self.heads.items() if group not in touched}
        made = {group: _Learned(self.config, by_group[group]) for group in touched if group in by_group}
        return Scopes(self.config, rows, kept | made)

    def likely(self, target_id: str, vectors: Vectors) -> Vectors:
        """Probability that each text, float32 [n, d], is in the scope of a target that has one."""
        return self.heads[self.rows[target_id].group].probability(vectors)


class _Learned:
    """A head that is learned when first asked, and adapts to what it is asked if that is wanted."""

    def __init__(self, config: ScopeConfig, rows: Mapping[str, _Rows]) -> None:
        self._config = config
        self._rows = rows
        self._lock = Lock()

    def probability(self, vectors: Vectors) -> Vectors:
        """See Head."""
        with self._lock:
            head, adapter = self._head
        if adapter is None:
            return head.probability(vectors)
        with self._lock:
            found: Vectors = adapter.head.probability(vectors)
            adapter.observe(vectors)
        return found

    @cached_property
    def _head(self) -> tuple[Head, Adapter[Any] | None]:
        vectors, labels, owners = training(self._rows)
        head = HEADS[self._config.head]().fit(vectors, labels, owners)
        if not self._config.adaptation.enabled:
            return head, None
        return head, Adapter(cast("Layered", head), vectors, self._config.adaptation)


def training(rows: Mapping[str, _Rows]) -> tuple[Vectors, Labels, list[str]]:
    """What a head is fitted to: vectors float32 [n, d], labels bool [n], and the target of each."""
    order = sorted(rows)
    vectors = np.concatenate([rows[i].vectors for i in order]).astype(np.float32)
    labels = np.concatenate([np.arange(len(rows[i].vectors)) < rows[i].examples for i in order])
    return vectors, labels, [i for i in order for _ in rows[i].vectors]


def has_scope(target: ForgetTarget) -> bool:
    """True if being about the target is not enough for a prompt to be forbidden."""
    if not target.neighbors or not target.examples:
        return False
    if not target.names:
        return min(len(target.neighbors), len(target.examples)) >= FEWEST
    names = LexicalDetector([target.model_copy(update={"phrases": ()})])
    return any(names.scan([neighbor.prompt for neighbor in target.neighbors]))


def _rows(target: ForgetTarget, encoder: Encoder) -> _Rows:
    texts = [one.prompt for one in (*target.examples, *target.neighbors)]
    return _Rows(group_of(target), encoder.encode(texts).astype(np.float16), len(target.examples))
