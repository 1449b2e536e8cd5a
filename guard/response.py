"""The hold-back filter: releases response text as soon as it can no longer become a forbidden phrase.

The second net behind the token filter: it works on text, so it also covers engines and routes where no
logits processor runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from guard.automaton import START, Automaton


class ResponseFilter:
    """Filters one response piece by piece.

    At any time exactly the longest suffix that could still become a phrase is held back, so never more than
    the longest phrase. A completed phrase trips the filter: its first byte on, nothing is released any more.
    """

    def __init__(self, automata: Sequence[Automaton]) -> None:
        self._automata = automata
        self._states = [START] * len(automata)
        self._held = ""
        self.tripped = False

    @property
    def held(self) -> int:
        """Number of characters held back now."""
        return len(self._held)

    def feed(self, text: str) -> str:
        """Takes the next piece of the response and returns what may be released."""
        if not self._automata:
            return text
        released: list[str] = []
        for char in text:
            if self.tripped:
                break
            self._held += char
            live = self._advance(char.encode("utf-8", "surrogatepass"))
            safe = self._safe_characters(live)
            released.append(self._held[:safe])
            self._held = self._held[safe:]
        return "".join(released)

    def finish(self) -> str:
        """Ends the response and returns what was still held back: a started phrase that never came."""
        rest, self._held = self._held, ""
        return "" if self.tripped else rest

    def _advance(self, data: bytes) -> int:
        """Moves the automata; returns the bytes at the end of the text that belong to a live phrase."""
        live = 0
        for index, automaton in enumerate(self._automata):
            state = self._states[index]
            for byte in data:
                state = int(automaton.delta[state, byte])
                self.tripped |= bool(automaton.accept[state])
            self._states[index] = state
            live = max(live, int(automaton.depth[state]))
        return live

    def _safe_characters(self, live: int) -> int:
        """How many held characters end before the last ``live`` bytes."""
        safe = len(self._held)
        while live > 0 and safe > 0:
            safe -= 1
            live -= len(self._held[safe].encode("utf-8", "surrogatepass"))
        return safe
