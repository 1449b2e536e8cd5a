"""Recent prompts and answers, in memory only, and what a target would have done to them."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from guard.classifier import Classifier
from guard.detectors import DETECTORS
from guard.encoder import Encoder
from guard.pipeline import Forms, Pipeline
from guard.snapshot import compile_snapshot, no_words
from guard.types import ForgetTarget
from serving.preview import notes_on

CHARACTERS = 16_000_000  # of all texts together; a few long documents must not fill the server's memory
BATCH = 16  # prompts encoded in one call: running requests wait for the encoder meanwhile
EXAMPLES = 20


@dataclass(frozen=True, slots=True)
class Passage:
    """One request that was served.

    Attributes:
        segments: the prompt's messages.
        response: what the client received.
        action: the action carried out.
        request_id: of its audit record.
        time: when it ended, ISO 8601, UTC.
    """

    segments: tuple[str, ...]
    response: str = ""
    action: str = ""
    request_id: str = ""
    time: str = ""

    @property
    def size(self) -> int:
        """Characters of text."""
        return len(self.response) + sum(map(len, self.segments))


class Traffic:
    """The latest requests of this process. Nothing of it is ever written down."""

    def __init__(self, capacity: int, characters: int = CHARACTERS) -> None:
        """Keeps at most ``capacity`` requests and, the latest one apart, ``characters`` of text."""
        self._capacity = capacity
        self._characters = characters
        self._kept: deque[Passage] = deque()
        self._size = 0
        self._lock = threading.Lock()

    @property
    def capacity(self) -> int:
        """Number of requests that are kept at most."""
        return self._capacity

    def note(self, segments: Sequence[str], response: str, action: str, request_id: str = "") -> None:
        """Takes a request that ended; from any thread."""
        if self._capacity <= 0:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        passage = Passage(tuple(segments), response, action, request_id, now)
        with self._lock:
            self._kept.append(passage)
            self._size += passage.size
            while len(self._kept) > self._capacity or (self._size > self._characters and len(self._kept) > 1):
                self._size -= self._kept.popleft().size

    def passages(self) -> tuple[Passage, ...]:
        """What is kept now, oldest first."""
        with self._lock:
            return tuple(self._kept)


@dataclass(frozen=True, slots=True)
class Touched:
    """One request that a target would have changed, or at least matched.

    Attributes:
        passage: the request.
        detectors: those that found the target in its prompt.
        restricted: the client would have received another answer.
    """

    passage: Passage
    detectors: frozenset[str]
    restricted: bool


@dataclass(slots=True)
class Blast:
    """What a target would have done to recent requests; carries ids and counts, never text.

    Attributes:
        target: the target.
        requests: number of requests looked at.
        touched: those that concern it, oldest first.
        covered: for each of them the registered targets that its prompt matches already.
    """

    target: ForgetTarget
    requests: int
    touched: list[Touched] = field(default_factory=list)
    covered: list[tuple[str, ...]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; of many requests the latest are named."""
        found = Counter(name for touch in self.touched for name in touch.detectors)
        pairs = list(zip(self.touched, self.covered, strict=True))
        return {
            "id": self.target.id,
            "action": self.target.action,
            "requests": self.requests,
            "affected": len(self.touched),
            "prompts": {name: found[name] for name in DETECTORS},
            "responses": sum(touch.restricted for touch in self.touched),
            "uncovered": sum(not ids for ids in self.covered),
            "covered": dict(Counter(target_id for ids in self.covered for target_id in ids).most_common()),
            "examples": [_example(touch, ids) for touch, ids in reversed(pairs[-EXAMPLES:])],
            "notes": notes_on(self.target),
        }


def blast(
    target: ForgetTarget, passages: Sequence[Passage], encoder: Encoder, registered: Pipeline | None = None
) -> dict[str, Any]:
    """What a target would have done to requests, as `Blast.to_json`; registers nothing.

    Args:
        target: the candidate.
        passages: the requests, oldest first.
        encoder: of the running guard, which remembers most of these texts.
        registered: what is in force now, to tell which requests it covers already.
    """
    snapshot = compile_snapshot([target], no_words)
    forms = registered.forms if registered else Forms()
    candidate = Pipeline(snapshot, Classifier(snapshot, encoder), forms)
    result = Blast(target, len(passages), list(_touched(candidate, passages)))
    for batch in _batches([touch.passage for touch in result.touched]):
        known = registered.classifier.matches_each([p.segments for p in batch]) if registered else ()
        result.covered += [tuple(dict.fromkeys(m.target_id for m in matches)) for matches in known]
    result.covered += [()] * (len(result.touched) - len(result.covered))
    return result.to_json()


def tried(
    targets: Sequence[ForgetTarget], passages: Sequence[Passage], encoder: Encoder, registered: Pipeline
) -> dict[str, Any]:
    """What each of several targets would have done by itself; plain JSON types."""
    results = [blast(target, passages, encoder, registered) for target in targets]
    since = passages[0].time if passages else ""
    return {"requests": len(passages), "since": since or None, "targets": results}


def _touched(candidate: Pipeline, passages: Sequence[Passage]) -> Iterator[Touched]:
    for batch in _batches(passages):
        # Raises where `release` would fail closed: a broken detector is no blast radius.
        each = candidate.classifier.matches_each([passage.segments for passage in batch])
        for passage, matches in zip(batch, each, strict=True):
            if matches or candidate.snapshot.always:
                _, released = candidate.release(passage.segments, passage.response)
                restricted = released != passage.response
                if matches or restricted:
                    yield Touched(passage, frozenset(match.detector for match in matches), restricted)


def _batches(passages: Sequence[Passage]) -> Iterator[Sequence[Passage]]:
    return (passages[start : start + BATCH] for start in range(0, len(passages), BATCH))


def _example(touch: Touched, covered: tuple[str, ...]) -> dict[str, Any]:
    return {
        "request_id": touch.passage.request_id,
        "time": touch.passage.time,
        "action": touch.passage.action,
        "detectors": sorted(touch.detectors),
        "restricted": touch.restricted,
        "covered": list(covered),
    }
