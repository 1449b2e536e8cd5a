"""What a head learned from a whole group's examples and neighbors says of a text (GUARD's router).

It tells forbidden from allowed where one target's few prompts cannot. It cannot tell targets apart, so it
proposes none; it only adds to what else speaks against one of its group.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from guard.detectors.findings import Values
from guard.encoder import Encoder
from guard.heads import HEADS, Head
from guard.types import ForgetTarget


@dataclass(frozen=True, slots=True)
class LearnedConfig:
    """When and from what a head is learned."""

    head: str = "kernel"  # of `guard.heads`
    fewest: int = 50  # examples, and neighbors, that a group must have
    most: int = 3000  # of each that are learned from
    surest: float = 6.0  # logit, at most


@dataclass(frozen=True)
class Likely:
    """Findings on one text: by group, the logit of being forbidden."""

    logits: Mapping[str, float]
    groups: Mapping[str, ForgetTarget]
    targets: Collection[str] = ()

    def of(self, target_id: str) -> Values:
        """See Findings."""
        if not self.logits:
            return 0.0, 0.0
        logit = self.logits.get(group_of(self.groups[target_id]))
        return (0.0, 0.0) if logit is None else (logit, 1.0)


class LearnedDetector:
    """Heads of the groups that have prompts enough. A change leaves them as they are until `compacted`."""

    name = "learned"
    features = ("learned", "has_learned")

    def __init__(
        self,
        targets: Sequence[ForgetTarget],
        encoder: Encoder,
        config: LearnedConfig | None = None,
        known: tuple[Mapping[str, ForgetTarget], Mapping[str, Head]] | None = None,
    ) -> None:
        """Learns the heads, unless ``known`` has them."""
        self._config = config or LearnedConfig()
        self._encoder = encoder
        self._targets: Mapping[str, ForgetTarget] = {target.id: target for target in targets}
        self._heads: Mapping[str, Head] = {}
        if known is not None:
            self._targets, self._heads = known
        else:
            self._heads = dict(self._learned())

    def scan(self, texts: Sequence[str]) -> list[Likely]:
        """See Detector."""
        if not self._heads or not texts:
            return [Likely({}, self._targets) for _ in texts]
        vectors = self._encoder.encode(texts)
        surest = self._config.surest
        found = []
        for group, head in self._heads.items():
            likely = np.clip(head.probability(vectors).astype(np.float64), 1e-9, 1 - 1e-9)
            logits = np.clip(np.log(likely / (1 - likely)), -surest, surest)
            found.append([(group, logit) for logit in logits.tolist()])
        return [Likely(dict(of_text), self._targets) for of_text in zip(*found, strict=True)]

    def changed(self, put: Sequence[ForgetTarget], gone: Collection[str]) -> LearnedDetector:
        """See Detector."""
        kept = {i: target for i, target in self._targets.items() if i not in gone}
        targets = kept | {target.id: target for target in put}
        groups = {group_of(target) for target in targets.values()} if gone else self._heads.keys()
        heads = {group: head for group, head in self._heads.items() if group in groups}
        return LearnedDetector((), self._encoder, self._config, (targets, heads))

    def compacted(self) -> LearnedDetector:
        """See Detector."""
        return LearnedDetector(tuple(self._targets.values()), self._encoder, self._config)

    def _learned(self) -> Iterable[tuple[str, Head]]:
        groups: dict[str, list[ForgetTarget]] = {}
        for target in self._targets.values():
            groups.setdefault(group_of(target), []).append(target)
        for group, targets in groups.items():
            examples = self._drawn((e.prompt, t.id) for t in targets for e in t.examples)
            neighbors = self._drawn((n.prompt, t.id) for t in targets for n in t.neighbors)
            if min(len(examples), len(neighbors)) < self._config.fewest:
                continue
            vectors = self._encoder.encode([prompt for prompt, _ in (*examples, *neighbors)])
            labels = np.arange(len(vectors)) < len(examples)
            owners = [owner for _, owner in (*examples, *neighbors)]
            yield group, HEADS[self._config.head]().fit(vectors, labels, owners)

    def _drawn(self, prompts: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """The prompts, or as many as are learned from; which ones does not depend on their order."""
        found = sorted(set(prompts), key=lambda pair: hashlib.blake2b(repr(pair).encode()).digest())
        return found[: self._config.most]


def group_of(target: ForgetTarget) -> str:
    """Targets that are calibrated, and learned from, together."""
    return target.group or target.kind
