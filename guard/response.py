"""The hold-back filter: releases response text as soon as it can no longer become a forbidden phrase.

The second net behind the token filter: it works on text, so it also covers engines and routes where no
logits processor runs, and what only the end of a response decides.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from guard.automaton import Automaton
from guard.escapes import Unescaper


class ResponseFilter:
    r"""Filters one response piece by piece.

    At any time exactly the longest suffix that could still become a phrase is held back: never more than the
    longest phrase, and what folds to nothing within it. A letter may be written as an escape of up to 12
    characters, as JSON allows: ``\\u004d`` is an M. A completed phrase trips the filter: from its first
    character on, nothing is released any more.
    """

    def __init__(self, automata: Sequence[Automaton]) -> None:
        """Starts a response; automata of penalised words have no part in it."""
        watches = [_Watch(a) for a in automata if a.weights is None and a.longest]
        self._views = [_View(watches)] if watches else []
        self._text = b""  # what is not released yet
        self._start = 0  # bytes released
        self.tripped = False

    @property
    def watching(self) -> bool:
        """True if there is anything to look for."""
        return bool(self._views)

    @property
    def held(self) -> int:
        """Number of characters held back now."""
        return len(_decoded(self._text))

    def feed(self, text: str) -> str:
        """Takes the next piece of the response and returns what may be released."""
        if not self._views:
            return text
        if self.tripped or not text:
            return ""
        at = text.find("\\") if len(self._views) == 1 else -1
        if at >= 0:
            # From the first escape on the response is also read as what it says.
            released = self._feed(text[:at])
            if not self.tripped:
                self._views.append(self._views[0].unescaped())
            return released + self.feed(text[at:])
        return self._feed(text)

    def finish(self) -> str:
        """Ends the response and returns what was still held back: a started phrase that never came."""
        if not self.tripped and any(view.closes for view in self._views):
            # The end of the response ends the word, and with it a phrase.
            self.tripped = True
        rest = "" if self.tripped else _decoded(self._text)
        self._text = b""
        return rest

    def _feed(self, text: str) -> str:
        before = [view.copy() for view in self._views]
        ends = [end for view in self._views if (end := view.read(text)) >= 0]
        if ends:
            # As if it had come letter by letter: the others have not read past the first completed phrase.
            self.tripped = True
            self._views = before
            for view in self._views:
                view.read(text[: min(ends)])
        self._text += text.encode("utf-8", "surrogatepass")
        return self._release(min(view.live for view in self._views))

    def _release(self, end: int) -> str:
        """The text up to a byte of the response, which is held no longer."""
        count = end - self._start
        released, self._text, self._start = self._text[:count], self._text[count:], end
        return _decoded(released)


@dataclass
class _View:
    """One way to read the response: as it is written, or with its escapes undone.

    ``written`` counts bytes of the response, ``said`` those that the watches read. ``shifts`` holds, after
    each escape, the bytes read and by how many the response is ahead of them.
    """

    watches: list[_Watch]
    escapes: Unescaper | None = None
    written: int = 0
    said: int = 0
    shifts: list[tuple[int, int]] = field(default_factory=list)

    @property
    def live(self) -> int:
        """The byte of the response from which on it may still become a phrase."""
        live = min(watch.live for watch in self.watches)
        at = bisect.bisect_right(self.shifts, live, key=lambda shift: shift[0])
        return live + (self.shifts[at - 1][1] if at else 0)

    @property
    def closes(self) -> bool:
        """True if the end of a word would complete a phrase."""
        return any(watch.closes for watch in self.watches)

    def copy(self) -> _View:
        escapes = self.escapes and self.escapes.copy()
        return _View([w.copy() for w in self.watches], escapes, self.written, self.said, [*self.shifts])

    def unescaped(self) -> _View:
        """The other view, from here on."""
        return _View([w.copy() for w in self.watches], Unescaper(), self.written, self.said)

    def read(self, text: str) -> int:
        """Reads up to the first completed phrase; how many characters, or -1 for all of them."""
        if self.escapes is None:
            return self._read(text, text)
        done = -len(self.escapes.pending)
        for piece in self.escapes.read(text):
            end = self._read(piece.written, piece.said)
            if end >= 0:
                return max(done + end, 0)
            done += len(piece.written)
        return -1

    def _read(self, written: str, said: str) -> int:
        data = said.encode("utf-8", "surrogatepass")
        ends = [end for watch in self.watches if (end := watch.read(data)) >= 0]
        self.said += len(data)
        self.written += len(data) if said is written else len(written.encode("utf-8", "surrogatepass"))
        if said is not written:
            # Those before the oldest byte that may still be held are not needed any more.
            live = min(watch.live for watch in self.watches)
            del self.shifts[: max(bisect.bisect_right(self.shifts, live, key=lambda shift: shift[0]) - 1, 0)]
            self.shifts.append((self.said, self.written - self.said))
        if not ends:
            return -1
        return len(_decoded(data[: min(ends)])) if said is written else len(written)


@dataclass
class _Watch:
    """Where the response stands in one automaton; ``state`` and ``origins`` as in `guard.holding.hold`."""

    automaton: Automaton
    state: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, dtype=np.int64))
    origins: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if not len(self.origins):
            self.origins = np.zeros(self.automaton.longest, dtype=np.int64)

    @property
    def live(self) -> int:
        """The byte of the response from which on it may still become a phrase."""
        return int(self.state[3])

    @property
    def closes(self) -> bool:
        """True if the end of a word would complete a phrase."""
        from guard.loops import PENDING

        return bool(self.automaton.accept[self.state[0]] & PENDING)

    def copy(self) -> _Watch:
        return _Watch(self.automaton, self.state.copy(), self.origins.copy())

    def read(self, data: bytes) -> int:
        """Reads bytes up to the first completed phrase; how many, or -1 for all of them."""
        from guard.holding import hold

        a, raw = self.automaton, np.frombuffer(data, dtype=np.uint8)
        bounded, collapses = a.rule.bounded, a.rule.collapses
        return int(hold(a.machine, a.depth, bounded, collapses, self.state, self.origins, raw))


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
