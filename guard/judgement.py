"""From what the detectors see in a prompt to the targets it concerns.

A target is relevant if the prompt names it or repeats an example, or if the evidence of one piece, or of
several sentences together (CUSUM), is beyond the threshold. Where allowed prompts name the target too, the
prompt also has to ask for what is in its scope. Short of the threshold there is a range in which the response
is watched: the target's strings are kept out of it, and nothing else changes.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from guard.calibration import cusum
from guard.detectors.findings import Findings, Hits
from guard.detectors.semantic import Near
from guard.relevance import Relevance, probability
from guard.scope import Scopes
from guard.types import Match
from guard.windows import Passage, Piece

EVIDENT = 0.5  # cosine from which an audit record names the similarity
SLACK = 0.25  # by how much a harmless sentence lowers the sum, at most: padding does not wipe it out
# Sentences that may go on about a person who was named before.
_PRONOUN = re.compile(
    r"\b(?:he|she|they|him|her|his|hers|them|their|theirs|it|its|this|that)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Routing:
    """Targets that a prompt concerns, with evidence, and those for which the response is watched."""

    matches: tuple[Match, ...] = ()
    watched: tuple[str, ...] = ()

    @property
    def target_ids(self) -> tuple[str, ...]:
        """Targets that the prompt concerns, strongest evidence first."""
        return tuple(dict.fromkeys(match.target_id for match in self.matches))


@dataclass(frozen=True, slots=True)
class Bars:
    """What has to be exceeded.

    Attributes:
        statistic: of `Suspicion.statistic`.
        scope: probability of being in the target's scope; None if it has no scope of its own.
    """

    statistic: float
    scope: float | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """A piece that was compared, with what each detector of meaning sees in it."""

    piece: Piece
    meaning: tuple[Findings, ...]

    @property
    def near(self) -> Near:
        """What the semantic detector sees."""
        return next(one for one in self.meaning if isinstance(one, Near))


@dataclass
class Suspicion:
    """What has come together against one target.

    Attributes:
        named: a name or phrase of it is in the prompt, be it misspelt.
        repeated: an example of it is repeated.
        logits: of each piece that was compared, in order.
        scope: highest probability that a piece about it is in its scope; None if it has none of its own.
    """

    named: bool = False
    repeated: bool = False
    logits: list[tuple[float, Seen]] = field(default_factory=list)
    scope: float | None = None

    def statistic(self, watch: float) -> float:
        """How far the evidence is beyond the level from which on a response is watched."""
        if self.named or self.repeated:
            return math.inf
        peak = max((logit - watch for logit, _ in self.logits), default=-math.inf)
        if peak <= 0:
            return peak
        steps = [max(logit - watch, -SLACK) for logit, seen in self.logits if seen.piece.sentences == 1]
        return max(peak, cusum(steps, 0.0))

    def exceeds(self, bars: Bars, watch: float) -> bool:
        """True if the prompt concerns the target."""
        if self.statistic(watch) <= bars.statistic:
            return False
        return bars.scope is None or self.repeated or (self.scope or 0.0) > bars.scope


def names_in(piece: Piece, hits: Sequence[Hits]) -> dict[str, float]:
    """The best score of each target that a piece names, in any of the messages that it runs across."""
    best: dict[str, float] = {}
    for passage, span in ((piece.passage, piece.span), *piece.rest):
        for target_id, score in hits[passage].within(span).items():
            best[target_id] = max(score, best.get(target_id, 0.0))
    return best


def suspicions(
    hits: Sequence[Hits], seen: Sequence[Seen], relevance: Relevance, scopes: Scopes
) -> dict[str, Suspicion]:
    """Every target that something speaks against.

    Args:
        hits: names found in each passage.
        seen: what was seen in the pieces that were compared.
        relevance: weighs a piece's evidence.
        scopes: of the targets.
    """
    found: dict[str, Suspicion] = defaultdict(Suspicion)
    for match in (match for of_passage in hits for match in of_passage if match.score >= match.threshold):
        found[match.target_id].named = True
    for one in seen:
        named = names_in(one.piece, hits)
        targets = list(dict.fromkeys([*(t for f in one.meaning for t in f.targets), *named]))
        if not targets:
            continue
        rows = [(named.get(t, 0.0), *(v for f in one.meaning for v in f.of(t))) for t in targets]
        logits = relevance.logits(np.array(rows, dtype=np.float64)).tolist()
        for target_id, logit in zip(targets, logits, strict=True):
            found[target_id].logits.append((logit, one))
            if one.near.repeats(target_id):
                found[target_id].repeated = True
    for target_id, against in found.items():
        if target_id in scopes.rows:
            against.scope = _inside(target_id, hits, seen, scopes)
    return found


def _inside(target_id: str, hits: Sequence[Hits], seen: Sequence[Seen], scopes: Scopes) -> float:
    """The highest probability that a piece which is about the target is in its scope."""
    about: list[Seen] = []
    unnamed = not any(match.target_id == target_id for of_passage in hits for match in of_passage)
    for one in seen:
        here = target_id in names_in(one.piece, hits)
        if unnamed or here or (about and _PRONOUN.search(one.piece.text)):
            about.append(one)
    if not about:
        return 0.0
    likely = scopes.likely(target_id, np.stack([one.near.vector for one in about]))
    return float(likely.max())


def routed(
    against: Mapping[str, Suspicion],
    hits: Sequence[Hits],
    found: Sequence[Passage],
    relevance: Relevance,
    bars_of: Callable[[str], Bars],
) -> Routing:
    """The targets beyond their bars, with evidence, and those that are watched.

    Args:
        against: see `suspicions`.
        hits: names found in each passage.
        found: the passages.
        relevance: weighs a piece's evidence.
        bars_of: the bars of a target.
    """
    matches: list[Match] = []
    watched: list[str] = []
    for target_id, suspicion in against.items():
        bars = bars_of(target_id)
        if suspicion.exceeds(bars, relevance.watch):
            matches += _evidence(target_id, suspicion, hits, found, relevance, bars)
        elif bars.scope is None and suspicion.statistic(relevance.watch) > 0:
            watched.append(target_id)
    return Routing(tuple(sorted(matches, key=lambda match: -match.score)), tuple(watched))


def _evidence(
    target_id: str,
    suspicion: Suspicion,
    hits: Sequence[Hits],
    found: Sequence[Passage],
    relevance: Relevance,
    bars: Bars,
) -> Iterator[Match]:
    """Matches that say why a prompt concerns a target."""
    for passage, of_passage in zip(found, hits, strict=True):
        for match in of_passage:
            if match.target_id == target_id and match.score >= match.threshold:
                yield _at(passage, match.span, match.detector, match.score, match.threshold, target_id)
    if not suspicion.logits:
        return
    # Of a repetition, the piece that repeats: the highest logit may be another's.
    _, best = max(suspicion.logits, key=lambda pair: (pair[1].near.repeats(target_id), pair[0]))
    passage, span = found[best.piece.passage], best.piece.span
    cosine = best.near.of(target_id)[0]
    if cosine >= EVIDENT:
        yield _at(passage, span, "semantic", cosine, EVIDENT, target_id)
    statistic = suspicion.statistic(relevance.watch)
    if not math.isinf(statistic):
        score, bar = (probability(relevance.watch + value) for value in (statistic, bars.statistic))
        yield _at(passage, span, "relevance", score, bar, target_id)
    if bars.scope is not None and suspicion.scope is not None and suspicion.scope > bars.scope:
        yield _at(passage, span, "scope", suspicion.scope, bars.scope, target_id)


def _at(
    passage: Passage, span: tuple[int, int], detector: str, score: float, threshold: float, target_id: str
) -> Match:
    place = passage.place(span)
    return Match(target_id, detector, round(score, 6), round(threshold, 6), place, passage.segment)
