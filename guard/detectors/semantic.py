"""Similarity to a target's examples, against contrasts that differ only in what must be kept.

A question about another person in the same frame is almost as similar to an example as a paraphrase is.
What tells them apart is whether the example's own subject matters, so each example brings contrasts: the
same sentence with other names, and the target's neighbors. A text matches when it is similar to an example
and clearly more so than to every contrast.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from guard.encoder import Encoder, Vectors
from guard.types import ForgetTarget, Match

# Background names for the contrasts: common ones from several languages, none of a known person.
STAND_INS = ("Maria Fernandez", "John Carter", "Wei Zhang", "Amara Okafor")
ENTITY_FRAMES = ("Who is {name}?", "Tell me about {name}.")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True, slots=True)
class SemanticConfig:
    """When a text counts as similar. Set on the invented world, not on benchmark rows."""

    threshold: float = 0.60  # cosine to the nearest example, 0..1
    margin: float = 0.10  # by which the nearest example must beat the nearest contrast
    window: int = 240  # characters of text compared at once; longer texts are cut at sentence ends
    candidates: int = 32  # nearest examples looked at per window


@dataclass(frozen=True, slots=True)
class _Contrasts:
    """Vectors of one target's contrasts, float32 [c, d]; c may be 0."""

    vectors: Vectors

    def nearest(self, vector: Vectors) -> float:
        """Cosine of the most similar contrast, -1 without any."""
        return float((self.vectors @ vector).max()) if self.vectors.size else -1.0


class SemanticDetector:
    """Nearest examples in a faiss index, judged against the contrasts of their target."""

    name = "semantic"

    def __init__(
        self, targets: Sequence[ForgetTarget], encoder: Encoder, config: SemanticConfig | None = None
    ) -> None:
        """Encodes examples and contrasts; what the encoder remembers costs nothing."""
        self._config = config or SemanticConfig()
        self._encoder = encoder
        self._owners = [target.id for target in targets for _ in positives(target)]
        self._index = self._build([text for target in targets for text in positives(target)])
        texts = {target.id: contrasts(target) for target in targets}
        vectors = (
            encoder.encode([text for group in texts.values() for text in group]) if self._index else None
        )
        self._contrasts: dict[str, _Contrasts] = {}
        start = 0
        for target_id, group in texts.items():
            if vectors is not None:
                self._contrasts[target_id] = _Contrasts(vectors[start : start + len(group)])
            start += len(group)

    def scan(self, texts: Sequence[str]) -> list[list[Match]]:
        """See Detector."""
        if self._index is None:
            return [[] for _ in texts]
        pieces = [
            (row, span) for row, text in enumerate(texts) for span in windows(text, self._config.window)
        ]
        found: list[list[Match]] = [[] for _ in texts]
        if not pieces:
            return found
        vectors = self._encoder.encode([texts[row][start:end] for row, (start, end) in pieces])
        similarities, neighbors = self._index.search(vectors, min(self._config.candidates, len(self._owners)))
        for (row, span), vector, near, ids in zip(pieces, vectors, similarities, neighbors, strict=True):
            found[row].extend(self._judge(vector, span, near, ids))
        return found

    def _judge(self, vector: Vectors, span: tuple[int, int], near: Vectors, ids: Any) -> Iterator[Match]:
        """At most one match per target, that of its nearest example."""
        seen: set[str] = set()
        for score, index in zip(near.tolist(), ids.tolist(), strict=True):
            target_id = self._owners[index]
            if score < self._config.threshold or target_id in seen:
                continue
            seen.add(target_id)
            needed = max(
                self._config.threshold, self._contrasts[target_id].nearest(vector) + self._config.margin
            )
            # An exact repetition must match even where a contrast lies close by.
            if score >= min(needed, 0.995):
                yield Match(target_id, self.name, round(score, 6), round(min(needed, 0.995), 6), span)

    def _build(self, texts: list[str]) -> Any:
        if not texts:
            return None
        import faiss

        vectors = self._encoder.encode(texts)
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return index


def positives(target: ForgetTarget) -> list[str]:
    """Prompts that concern the target."""
    frames = [frame.format(name=name) for name in target.names for frame in ENTITY_FRAMES]
    return [*(frames if target.kind == "entity" else ()), *(example.prompt for example in target.examples)]


def contrasts(target: ForgetTarget) -> list[str]:
    """Prompts that do not: the neighbors', and the target's own with other names."""
    neighbors = [neighbor.prompt for neighbor in target.neighbors]
    named = [(text, name) for text in positives(target) for name in target.names if name in text]
    return [*neighbors, *(text.replace(name, other) for text, name in named for other in STAND_INS)]


def windows(text: str, size: int) -> list[tuple[int, int]]:
    """Spans that cover the text: whole sentences up to ``size`` characters; longer sentences are cut.

    Comparing windows keeps a long harmless surrounding from diluting one forbidden question.
    """
    spans: list[tuple[int, int]] = []
    for start, end in _sentences(text):
        for cut in range(start, end, size):
            stop = min(cut + size, end)
            if spans and stop - spans[-1][0] <= size:
                spans[-1] = (spans[-1][0], stop)
            else:
                spans.append((cut, stop))
    return spans


def _sentences(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for match in (*_SENTENCE_END.finditer(text), None):
        end = match.start() if match else len(text)
        if text[start:end].strip():
            yield start, end
        start = match.end() if match else end
