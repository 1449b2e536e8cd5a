"""The hold-back filter: releases response text as soon as it can no longer become a forbidden phrase.

The second net behind the token filter: it works on text, so it also covers engines and routes where no
logits processor runs, and what only the end of a response decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from guard.automaton import Automaton


class ResponseFilter:
    """Filters one response piece by piece.

    At any time exactly the longest suffix that could still become a phrase is held back: never more than the
    longest phrase, and what folds to nothing within it. A completed phrase trips the filter: from its first
    character on, nothing is released any more.
    """

    def __init__(self, automata: Sequence[Automaton]) -> None:
        """Starts a response; automata of penalised words have no part in it."""
        self._watches = [_Watch(a) for a in automata if a.weights is None and a.longest]
        self._text = b""  # what is not released yet
        self._start = 0  # bytes released
        self.tripped = False

    @property
    def watching(self) -> bool:
        """True if there is anything to look for."""
        return bool(self._watches)

    @property
    def held(self) -> int:
        """Number of characters held back now."""
        return len(_decoded(self._text))

    def feed(self, text: str) -> str:
        """Takes the next piece of the response and returns what may be released."""
        if not self._watches:
            return text
        if self.tripped or not text:
            return ""
        data = text.encode("utf-8", "surrogatepass")
        before = [watch.copy() for watch in self._watches]
        ends = [end for watch in self._watches if (end := watch.read(data)) >= 0]
        if ends:
            # As if it had come byte by byte: the others have not read past the first completed phrase.
            self.tripped = True
            self._watches = before
            for watch in self._watches:
                watch.read(data[: min(ends)])
        self._text += data
        return self._release(min(watch.live for watch in self._watches))

    def finish(self) -> str:
        """Ends the response and returns what was still held back: a started phrase that never came."""
        if not self.tripped and any(watch.closes for watch in self._watches):
            # The end of the response ends the word, and with it a phrase.
            self.tripped = True
        rest = "" if self.tripped else _decoded(self._text)
        self._text = b""
        return rest

    def _release(self, end: int) -> str:
        """The text up to a byte of the response, which is held no longer."""
        count = end - self._start
        released, self._text, self._start = self._text[:count], self._text[count:], end
        return _decoded(released)


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
