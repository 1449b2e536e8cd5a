"""Terms that a text shares with a target's examples and their answers: descriptions that name nobody.

"Who sang the song of that film in 1998?" names no target; its answer does. What gives it away is that its
telling words are those of one example. So words are weighed by how rare they are, and what the text shares
with the target is set against what it shares with prompts that are allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest

from guard.detectors.findings import Values
from guard.detectors.layers import Layers
from guard.detectors.postings import Overlap, Postings
from guard.encoder import Encoder
from guard.terms import asks_who, terms
from guard.types import Example, ForgetTarget


@dataclass(frozen=True, slots=True)
class FactsConfig:
    """How far the detector looks."""

    candidates: int = 32  # targets proposed per text
    share: float = 0.15  # of the text's weight that a target's text must have to be proposed


@dataclass(frozen=True)
class Overlaps:
    """What the texts of all targets share with one text, in each layer."""

    layers: tuple[tuple[Postings, Collection[str], Overlap], ...]

    @classmethod
    def of_text(cls, layers: Layers[Postings], wanted: Mapping[int, float]) -> Overlaps:
        """The overlaps with the terms of a text."""
        return cls(tuple((one, gone, one.overlaps(one.look_up(wanted))) for one, gone in layers.parts))

    def of(self, target_id: str) -> tuple[float, float]:
        """Weight that the target's best text has, and that all its texts have together."""
        for postings, gone, overlap in self.layers:
            if target_id not in gone and target_id in postings.numbers:
                return overlap.of(postings.numbers[target_id])
        return 0.0, 0.0

    def above(self, least: float) -> list[tuple[float, str]]:
        """Weight and id of the targets of which a text has more than that."""
        return [one for _, gone, overlap in self.layers for one in overlap.above(least) if one[1] not in gone]


@dataclass(frozen=True)
class Shared:
    """Findings on one text.

    Attributes:
        total: weight of the text's terms.
        own: what targets' examples share with the text.
        allowed: what their neighbors share.
        most: the largest share of the text's weight that one example of any target has, from 0 to 1.
        nearest: the largest weight that one neighbor of any target has.
        who: the text asks for a person.
        targets: see Findings.
    """

    total: float
    own: Overlaps
    allowed: Overlaps
    most: float
    nearest: float
    who: bool
    targets: Collection[str]

    def of(self, target_id: str) -> Values:
        """See Findings."""
        best, union = self.own.of(target_id)
        contrast, contrasts = self.allowed.of(target_id)
        total = max(self.total, 1e-6)
        return (
            best / total, union / total, contrast / total, contrasts / total, self.nearest / total,
            min(best, 60.0) / 10, min(union, 60.0) / 10, min(contrasts, 60.0) / 10,
            min(total, 200.0) / 10, float(self.who),
        )  # fmt: skip


class FactsDetector:
    """Looks the terms of a text up in the examples and neighbors of all targets."""

    name = "facts"
    features = (
        "shared", "shared_by_all", "own_contrast", "own_contrasts", "any_contrast",
        "weight", "weight_by_all", "contrast_weight", "length", "asks_who",
    )  # fmt: skip

    def __init__(
        self,
        targets: Sequence[ForgetTarget],
        encoder: Encoder | None = None,
        config: FactsConfig | None = None,
        layers: tuple[Layers[Postings], Layers[Postings]] | None = None,
    ) -> None:
        """Files the terms, unless ``layers`` holds them; the encoder is not used."""
        self._config = config or FactsConfig()
        self._own, self._allowed = layers or (Layers(_told(targets)), Layers(_allowed(targets)))

    def scan(self, texts: Sequence[str]) -> list[Shared]:
        """See Detector."""
        return [self._scan(text) for text in texts]

    def changed(self, put: Sequence[ForgetTarget], gone: Collection[str]) -> FactsDetector:
        """See Detector."""
        ids = [target.id for target in put]
        own, allowed = (
            self._own.changed(_told(put), ids, gone),
            self._allowed.changed(_allowed(put), ids, gone),
        )
        return FactsDetector((), None, self._config, (own, allowed))

    def compacted(self) -> FactsDetector:
        """See Detector."""
        return FactsDetector((), None, self._config, (self._own.compacted(), self._allowed.compacted()))

    def _scan(self, text: str) -> Shared:
        if not any(owner not in gone for part, gone in self._own.parts for owner in part.owners):
            return Shared(0.0, Overlaps(()), Overlaps(()), 0.0, 0.0, False, ())
        wanted = terms(text)
        total = sum(wanted.values())
        own, allowed = Overlaps.of_text(self._own, wanted), Overlaps.of_text(self._allowed, wanted)
        found = nlargest(self._config.candidates, own.above(self._config.share * total))
        near = max((best for best, _ in allowed.above(0.0)), default=0.0)
        most = found[0][0] / total if found else 0.0
        return Shared(total, own, allowed, most, near, asks_who(text), [target_id for _, target_id in found])


def _told(targets: Sequence[ForgetTarget]) -> Postings:
    names = ((target.id, name) for target in targets for name in target.names)
    return Postings.of((*names, *_texts((t.id, t.examples) for t in targets)))


def _allowed(targets: Sequence[ForgetTarget]) -> Postings:
    return Postings.of(_texts((t.id, t.neighbors) for t in targets))


def _texts(groups: Iterable[tuple[str, tuple[Example, ...]]]) -> Iterator[tuple[str, str]]:
    """Question and answer as one text: a description may use the words of both."""
    for target_id, examples in groups:
        for example in examples:
            yield target_id, f"{example.prompt} {example.response}"
