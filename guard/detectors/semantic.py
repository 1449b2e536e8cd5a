"""Similarity to a target's examples, weighed by whether the text mentions the target.

A question about another person in the same frame is almost as similar to an example as a paraphrase is, so
similarity alone cannot decide. A text that mentions the target, be it misspelt, needs little similarity. Any
other must nearly repeat an example, and be clearly closer to it than to the contrasts: the same sentence
with other names in it, and the target's neighbors.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.fuzz import partial_ratio

from guard.detectors.examples import Examples, nearest
from guard.detectors.layers import Layers
from guard.encoder import Encoder, Vectors
from guard.normalize import fold
from guard.phrases import extract
from guard.types import ForgetTarget, Match

# What contrasts say in place of a target's names and of its titles. One each: encoding them is what a live
# change waits for, and a second one moved no decision on the invented world.
OTHER_NAME = "Tobrin Valdeck"
OTHER_TITLE = "The Silent Harbour"
ENTITY_FRAMES = ("Who is {name}?", "Tell me about {name}.")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True, slots=True)
class SemanticConfig:
    """When a text counts as similar. Set on the invented world, not on benchmark rows."""

    mentioned: float = 0.40  # cosine to the nearest example that suffices where the target is mentioned
    unmentioned: float = 0.90  # ... and where it is not
    margin: float = (
        0.10  # by which the nearest example must beat the nearest contrast, unless a name is found
    )
    spelling: float = 80.0  # partial similarity (0..100) from which a misspelt name counts as mentioned
    window: int = 240  # characters of text compared at once; longer texts are cut at sentence ends
    candidates: int = 32  # nearest examples looked at per window


@dataclass(frozen=True, slots=True)
class _Subject:
    """What one target is compared by.

    Attributes:
        names: folded names and aliases.
        terms: folded names and titles of several words from the example prompts, which count as they are.
        contrasts: float32 [c, d], vectors of the contrasts; c may be 0.
    """

    names: tuple[str, ...]
    terms: tuple[str, ...]
    contrasts: Vectors

    def nearest_contrast(self, vector: Vectors) -> float:
        """Cosine of the most similar contrast, -1 without any."""
        return float((self.contrasts @ vector).max()) if self.contrasts.size else -1.0

    def named(self, folded: str, spelling: float) -> bool:
        """True if a name occurs, misspelt or not; names under five letters must occur as they are."""
        cutoffs = ((name, spelling if len(name) >= 5 else 100.0) for name in self.names)
        return any(partial_ratio(name, folded, score_cutoff=cutoff) > 0 for name, cutoff in cutoffs)


@dataclass(frozen=True)
class _Knowledge:
    """What there is to compare texts with."""

    subjects: Mapping[str, _Subject]
    examples: Layers[Examples]


class SemanticDetector:
    """Nearest examples of all targets, judged against the contrasts of their target."""

    name = "semantic"

    def __init__(
        self,
        targets: Sequence[ForgetTarget],
        encoder: Encoder,
        config: SemanticConfig | None = None,
        known: _Knowledge | None = None,
    ) -> None:
        """Encodes examples and contrasts, unless ``known`` holds them."""
        self._config = config or SemanticConfig()
        self._encoder = encoder
        self._known = known or _Knowledge(*_read(targets, encoder))

    def scan(self, texts: Sequence[str]) -> list[list[Match]]:
        """See Detector."""
        found: list[list[Match]] = [[] for _ in texts]
        if not any(part.owners for part, _ in self._known.examples.parts):
            return found
        pieces = [
            (row, span) for row, text in enumerate(texts) for span in windows(text, self._config.window)
        ]
        if not pieces:
            return found
        parts = [texts[row][start:end] for row, (start, end) in pieces]
        vectors = self._encoder.encode(parts)
        candidates = nearest(self._known.examples, vectors, self._config.candidates)
        for (row, span), part, vector, near in zip(pieces, parts, vectors, candidates, strict=True):
            scores: dict[str, float] = {}
            for score, target_id in near:
                scores.setdefault(target_id, score)  # the first is the nearest
            found[row].extend(self._judge(fold(part).text, vector, span, scores))
        return found

    def changed(self, put: Sequence[ForgetTarget], gone: Collection[str]) -> SemanticDetector:
        """See Detector."""
        subjects, examples = _read(put, self._encoder)
        kept = {i: subject for i, subject in self._known.subjects.items() if i not in gone}
        layers = self._known.examples.changed(examples.base, subjects.keys(), gone)
        return self._with(_Knowledge({**kept, **subjects}, layers))

    def compacted(self) -> SemanticDetector:
        """See Detector."""
        return self._with(_Knowledge(self._known.subjects, self._known.examples.compacted()))

    def _with(self, known: _Knowledge) -> SemanticDetector:
        return SemanticDetector((), self._encoder, self._config, known)

    def _judge(
        self, folded: str, vector: Vectors, span: tuple[int, int], scores: dict[str, float]
    ) -> Iterator[Match]:
        config = self._config
        for target_id, score in scores.items():
            if score < config.mentioned:
                continue
            subject = self._known.subjects[target_id]
            threshold = config.mentioned
            if not subject.named(folded, config.spelling):
                floor = config.mentioned if any(t in folded for t in subject.terms) else config.unmentioned
                # An exact repetition must match even where a contrast lies close by.
                threshold = min(max(floor, subject.nearest_contrast(vector) + config.margin), 0.995)
            if score >= threshold:
                yield Match(target_id, self.name, round(score, 6), round(threshold, 6), span)


def _read(targets: Sequence[ForgetTarget], encoder: Encoder) -> tuple[dict[str, _Subject], Layers[Examples]]:
    """What targets are compared by, with one call of the encoder: a live change waits for it."""
    own, others = [positives(target) for target in targets], [contrasts(target) for target in targets]
    vectors = encoder.encode([text for group in (*own, *others) for text in group])
    owners = [target.id for target, group in zip(targets, own, strict=True) for _ in group]
    # A copy, so that the subjects do not keep the examples' vectors, which the index holds.
    rest, subjects, start = vectors[len(owners) :].copy(), {}, 0
    for target, group in zip(targets, others, strict=True):
        terms = dict.fromkeys(term for example in target.examples for term in extract(example.prompt))
        subjects[target.id] = _Subject(
            names=tuple(fold(name).text for name in target.names),
            # One capitalised word (a nationality, a city) says too little about who is meant.
            terms=tuple(fold(term).text for term in terms if " " in term),
            contrasts=rest[start : start + len(group)],
        )
        start += len(group)
    return subjects, Layers(Examples(owners, vectors[: len(owners)]))


def positives(target: ForgetTarget) -> list[str]:
    """Prompts that concern the target."""
    frames = [frame.format(name=name) for name in target.names for frame in ENTITY_FRAMES]
    return [*(frames if target.kind == "entity" else ()), *(example.prompt for example in target.examples)]


def contrasts(target: ForgetTarget) -> list[str]:
    """Prompts that do not: the neighbors', and the target's own with other names."""
    neighbors = [neighbor.prompt for neighbor in target.neighbors]
    swapped: list[str] = []
    for text in positives(target):
        named = [name for name in target.names if name in text]
        other = OTHER_NAME if named else OTHER_TITLE
        swapped += [text.replace(own, other) for own in named or extract(text)]
    return list(dict.fromkeys((*neighbors, *swapped)))


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
