"""The prompt classifier: what the detectors see in a prompt, judged for every target at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from threading import Lock

from guard.calibration import SCOPE, Calibration
from guard.detectors import FEATURES, MEANING, STRINGS, Detector
from guard.detectors.facts import Shared
from guard.detectors.findings import Findings, Hits
from guard.detectors.learned import group_of
from guard.encoder import Encoder
from guard.judgement import Bars, Routing, Seen, Suspicion, names_in, routed, suspicions
from guard.relevance import Relevance, shipped
from guard.scope import ScopeConfig, Scopes
from guard.snapshot import Snapshot
from guard.types import ForgetTarget, Match
from guard.windows import Passage, Piece, passages, pieces

REMEMBERED = 4096  # routings, by hash of the prompt: what a client asks again, and a chat's earlier look
TELLING = 0.3  # share of a piece's weight that one text of a target must have for its meaning to be looked at


@dataclass(frozen=True)
class Detectors:
    """All detectors for the targets of one snapshot."""

    strings: tuple[Detector[Hits], ...]
    meaning: tuple[Detector[Findings], ...]
    scopes: Scopes

    @classmethod
    def of(
        cls, targets: Sequence[ForgetTarget], encoder: Encoder, scope: ScopeConfig | None = None
    ) -> Detectors:
        """Those of the tables."""
        strings = tuple(build(targets, encoder) for build in STRINGS.values())
        meaning = tuple(build(targets, encoder) for build in MEANING.values())
        return cls(strings, meaning, Scopes.of(targets, encoder, scope))

    def changed(self, put: Sequence[ForgetTarget], gone: set[str], encoder: Encoder) -> Detectors:
        """Those after a change."""
        strings = tuple(detector.changed(put, gone) for detector in self.strings)
        meaning = tuple(detector.changed(put, gone) for detector in self.meaning)
        return Detectors(strings, meaning, self.scopes.changed(put, gone, encoder))

    def compacted(self) -> Detectors:
        """The same as if built anew."""
        strings = tuple(detector.compacted() for detector in self.strings)
        return replace(self, strings=strings, meaning=tuple(d.compacted() for d in self.meaning))


@dataclass(frozen=True, slots=True)
class _Look:
    """A first look at a prompt: its pieces, the names in its passages, and which pieces to compare."""

    passages: list[Passage]
    hits: list[Hits]
    pieces: list[Piece]
    chosen: list[int]


class Classifier:
    """The detectors of one snapshot. Segments are messages: text that a reader would take as one piece.

    Attributes:
        recent: targets that came, changed or went since the detectors were built; they slow down `route`
            and `changed` a little, until the classifier is compacted.
        calibration: thresholds made for these targets, if any.
        relevance: weighs the evidence.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        encoder: Encoder,
        detectors: Detectors | None = None,
        recent: frozenset[str] = frozenset(),
        calibration: Calibration | None = None,
        relevance: Relevance | None = None,
        scope: ScopeConfig | None = None,
    ) -> None:
        """Builds every detector of the tables for the snapshot's targets, unless ``detectors`` are those."""
        self.recent = recent
        self.calibration = calibration
        self.relevance = relevance or shipped(FEATURES)
        self._snapshot = snapshot
        self._encoder = encoder
        self._detectors = detectors or Detectors.of(tuple(snapshot.targets.values()), encoder, scope)
        self._known: OrderedDict[bytes, Routing] = OrderedDict()
        self._lock = Lock()

    @property
    def targets(self) -> Mapping[str, ForgetTarget]:
        """The targets, by id."""
        return self._snapshot.targets

    @property
    def version(self) -> str:
        """Of the snapshot."""
        return self._snapshot.version

    def changed(self, snapshot: Snapshot) -> Classifier:
        """The classifier of another snapshot; cheap if few targets differ.

        It finds what one built anew finds, save where more examples of different targets are equally near
        to a text than the semantic detector looks at; and groups keep the head they have until compacted.
        """
        known, wanted = self._snapshot.records, snapshot.records
        # Nearly all records are the same objects, and comparing them by content is slower.
        gone = {i for i, record in known.items() if (new := wanted.get(i)) is not record and new != record}
        put = [wanted[i].target for i in wanted if i in gone or i not in known]
        detectors = self._detectors.changed(put, gone, self._encoder) if gone or put else self._detectors
        recent = self.recent.union(gone, (target.id for target in put))
        return Classifier(snapshot, self._encoder, detectors, recent, self.calibration, self.relevance)

    def foresee(self, targets: Sequence[ForgetTarget]) -> None:
        """Has the encoder remember what `changed` will ask it for these targets; safe beside requests."""
        Detectors.of(targets, self._encoder)

    def compacted(self) -> Classifier:
        """The same classifier as if built anew; the heads of groups are learned from the targets of now."""
        detectors = self._detectors.compacted()
        return Classifier(
            self._snapshot, self._encoder, detectors, frozenset(), self.calibration, self.relevance
        )

    def calibrated(self, calibration: Calibration | None) -> Classifier:
        """The same classifier with other thresholds."""
        return Classifier(
            self._snapshot, self._encoder, self._detectors, self.recent, calibration, self.relevance
        )

    def matches(self, segments: Sequence[str]) -> tuple[Match, ...]:
        """Matches of one prompt, strongest evidence first; targets that expired meanwhile are left out."""
        return self.route(segments).matches

    def matches_each(self, prompts: Sequence[Sequence[str]]) -> list[tuple[Match, ...]]:
        """`matches` for many prompts at once, with one encoder call."""
        return [routing.matches for routing in self.route_each(prompts)]

    def route(self, segments: Sequence[str]) -> Routing:
        """Which targets one prompt concerns."""
        return self.route_each([segments])[0]

    def route_each(self, prompts: Sequence[Sequence[str]]) -> list[Routing]:
        """`route` for many prompts at once, with one encoder call. Routings are remembered, prompts not."""
        keys = [_key(segments) for segments in prompts]
        with self._lock:
            found = {key: self._known[key] for key in keys if key in self._known}
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in found}
        if missing:
            suspected = self._suspected(list(missing.values()))
            new = (self._routed(look, against) for look, against in suspected)
            found |= dict(zip(missing, new, strict=True))
        with self._lock:
            self._known.update(found)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return [self._alive(found[key]) for key in keys]

    def suspicions_each(self, prompts: Sequence[Sequence[str]]) -> list[dict[str, Suspicion]]:
        """What speaks against which target, before any threshold: for calibration and for ROC curves."""
        return [against for _, against in self._suspected(prompts)]

    def bars(self, target_id: str) -> Bars:
        """The thresholds of a target: the shipped ones, or what a calibration says if that is stricter."""
        target, calibration = self._snapshot.targets[target_id], self.calibration
        shipped_bar = self.relevance.threshold - self.relevance.watch
        scoped = target_id in self._detectors.scopes.rows
        if calibration is None:
            return Bars(shipped_bar, 0.5 if scoped else None)
        group = group_of(target)
        bar = max(shipped_bar, calibration.threshold(group).value)
        inside = calibration.thresholds.get(SCOPE + group)
        return Bars(bar, (inside.value if inside else 0.5) if scoped else None)

    def _suspected(self, prompts: Sequence[Sequence[str]]) -> list[tuple[_Look, dict[str, Suspicion]]]:
        looks = [self._look(segments) for segments in prompts]
        texts = [look.pieces[i].text for look in looks for i in look.chosen]
        findings = iter(zip(*(detector.scan(texts) for detector in self._detectors.meaning), strict=True))
        return [(look, self._against(look, [next(findings) for _ in look.chosen])) for look in looks]

    def _look(self, segments: Sequence[str]) -> _Look:
        read = passages(segments)
        texts = [passage.text for passage in read]
        by_detector = [detector.scan(texts) for detector in self._detectors.strings]
        hits = [
            Hits(match for found in of_text for match in found) for of_text in zip(*by_detector, strict=True)
        ]
        cut = pieces(read)
        told = self._told(cut)
        chosen = [
            index for index, piece in enumerate(cut) if piece.cover or index in told or names_in(piece, hits)
        ]
        return _Look(read, hits, cut, chosen)

    def _told(self, cut: Sequence[Piece]) -> set[int]:
        """The pieces whose words alone give a reason to compare their meaning."""
        if all(piece.cover for piece in cut):
            return set()
        facts = self._detectors.meaning[list(MEANING).index("facts")].scan([piece.text for piece in cut])
        return {i for i, found in enumerate(facts) if isinstance(found, Shared) and found.most >= TELLING}

    def _against(self, look: _Look, findings: Sequence[tuple[Findings, ...]]) -> dict[str, Suspicion]:
        seen = [Seen(look.pieces[i], found) for i, found in zip(look.chosen, findings, strict=True)]
        return suspicions(look.hits, seen, self.relevance, self._detectors.scopes)

    def _routed(self, look: _Look, against: dict[str, Suspicion]) -> Routing:
        return routed(against, look.hits, look.passages, self.relevance, self.bars)

    def _alive(self, routing: Routing) -> Routing:
        """The routing without targets that have expired."""
        targets, now = self._snapshot.targets, datetime.now(UTC)
        if not any(targets[i].expires_at for i in (*routing.target_ids, *routing.watched)):
            return routing
        matches = tuple(match for match in routing.matches if not targets[match.target_id].expired(now))
        return Routing(matches, tuple(i for i in routing.watched if not targets[i].expired(now)))


def _key(segments: Iterable[str]) -> bytes:
    digest = blake2b(digest_size=16)
    for text in segments:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()
