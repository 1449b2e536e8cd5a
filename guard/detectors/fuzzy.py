"""Names that are misspelt, transliterated otherwise, glued, turned round or given in part.

A word of a text stands for a word of a name if the two are alike by letters or sound the same. A known word
(one of the 29,000 most frequent of English, which has the frequent names too) is no misspelling of another:
"John Carver" is not taken for "John Carter", but scores below the threshold; "Jon Carter" and "John Cartier"
sound the same and are. The price: a slip that makes a known word ("Mira Sole") is evidence, but no match. And
an unknown surname one letter away ("John Harter") cannot be told from a slip.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from guard.detectors.findings import Hits
from guard.detectors.hit import FuzzyConfig, Hit
from guard.detectors.layers import Layers
from guard.detectors.names import Names
from guard.detectors.reading import Reading, read
from guard.detectors.resemblance import glued, several, sight
from guard.detectors.surnames import Surnames, rare, surnames
from guard.encoder import Encoder
from guard.types import ForgetTarget, Match


class FuzzyDetector:
    """The best hit of each target's names, from a score of `FuzzyConfig.report` on.

    A hit's threshold is that of a whole name. Hits below it are evidence for who weighs several detectors.
    """

    name = "fuzzy"

    def __init__(
        self,
        targets: Sequence[ForgetTarget],
        encoder: Encoder | None = None,
        config: FuzzyConfig | None = None,
        layers: Layers[Names] | None = None,
    ) -> None:
        """Files the names, unless ``layers`` holds them; the encoder is not used."""
        self._config = config or FuzzyConfig()
        self._layers = layers or Layers(Names.of(targets))

    def scan(self, texts: Sequence[str]) -> list[Hits]:
        """See Detector."""
        if not any(part.owners for part, _ in self._layers.parts):
            return [Hits() for _ in texts]
        return [Hits(self._scan(text)) for text in texts]

    def changed(self, put: Sequence[ForgetTarget], gone: Collection[str]) -> FuzzyDetector:
        """See Detector."""
        ids = [target.id for target in put]
        return FuzzyDetector((), None, self._config, self._layers.changed(Names.of(put), ids, gone))

    def compacted(self) -> FuzzyDetector:
        """See Detector."""
        return FuzzyDetector((), None, self._config, self._layers.compacted())

    def _scan(self, text: str) -> list[Match]:
        reading = read(text)
        if not reading.words:
            return []
        hits: list[Hit] = []
        alone: list[Surnames] = []
        for names, gone in self._layers.parts:
            hits += glued(names, gone, reading, self._config)
            seen = sight(names, gone, reading, self._config)
            hits += several(names, seen, reading, self._config)
            alone.append(surnames(names, gone, seen, reading, self._config))
        hits += rare(alone, self._config)
        best: dict[str, Hit] = {}
        for hit in hits:
            known = best.get(hit.target_id)
            if hit.score >= self._config.report and (known is None or hit.better(known)):
                best[hit.target_id] = hit
        return [self._match(best[target_id], reading) for target_id in sorted(best)]

    def _match(self, hit: Hit, reading: Reading) -> Match:
        span = reading.words[hit.low].start, reading.words[hit.high - 1].end
        return Match(hit.target_id, self.name, round(hit.score, 6), hit.threshold, span)
