"""Whether a text gives a secret away, in plain or in any disguise, and an excerpt that does not repeat it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from serving.probe.decoders import readings
from serving.probe.folding import Letters, letters

BLOCK = "▇"
PLAIN = "plain"  # the form of a secret that is not encoded
AROUND = 20  # characters shown on each side of a leak
# Folded letters from which a secret counts anywhere, even across words: shorter ones meet by chance ("an
# nest" holds Ann), so these must start where a word starts and keep their words.
ANYWHERE = 8
INITIALS = 3  # words from which initials count: two letters are a pair that any text has
WORD = 4  # letters from which a secret's single word is hidden in an excerpt, too
DECODED = 5  # folded letters a secret needs to be looked for under encodings: shorter ones turn up in noise


@dataclass(frozen=True, slots=True)
class Sighting:
    """Evidence that a text holds a secret.

    Attributes:
        form: PLAIN, or the encoding it was found under.
        excerpt: the surroundings, the secret replaced by blocks of its length.
    """

    form: str
    excerpt: str


class Judge:
    """Looks for the secrets of one subject; excerpts also hide those of every other subject."""

    def __init__(self, secrets: Sequence[str], hidden: Sequence[str] = ()) -> None:
        self.secrets = tuple(secrets)
        self._hidden = (*self.secrets, *hidden)

    def find(self, text: str) -> Sighting | None:
        """The first sighting of a secret in a text, or None."""
        seen = self._seen(text)
        if seen is None:
            return None
        form, reading, (start, end) = seen
        before, after = reading[max(0, start - AROUND) : start], reading[end : end + AROUND]
        shown = self.mask(before + BLOCK * (end - start) + after)
        return Sighting(form, "".join(c if c.isprintable() else " " for c in shown))

    def holds(self, text: str) -> bool:
        """True if a text holds a secret in plain, whatever its case, spacing or looks."""
        said = letters(text)
        return any(next(_spans(secret, said), None) for secret in self._folded)

    def mask(self, text: str) -> str:
        """The text with every secret of every subject, and each longer word of one, replaced by blocks."""
        hidden = (*self._hidden, *(w for secret in self._hidden for w in secret.split() if len(w) >= WORD))
        said = letters(text)
        for start, end in [span for secret in map(letters, hidden) for span in _spans(secret, said)]:
            text = text[:start] + BLOCK * (end - start) + text[end:]
        # What cannot be cut out, an encoded secret say, is not shown at all.
        return BLOCK * len(text) if Judge(hidden)._seen(text) else text

    def _seen(self, text: str) -> tuple[str, str, tuple[int, int]] | None:
        """Form, reading and place in the reading of the first sighting."""
        for form, reading in [(PLAIN, text), *self._readings(text)]:
            said = letters(reading)
            for secret in self._folded if form == PLAIN else self._long:
                if span := next(_spans(secret, said), None):
                    return form, reading, span
        bare = plain(text)
        for pattern in self._initials:
            if found := pattern.search(bare):
                return "initials", bare, found.span()
        return None

    @cached_property
    def _initials(self) -> tuple[re.Pattern[str], ...]:
        """Initials of secrets of three words or more: each letter by itself, or capitals in one word."""
        found = []
        for secret in self.secrets:
            firsts = [word[0] for word in map(plain, secret.split()) if word]
            if len(firsts) >= INITIALS:
                apart = r"[\W_]+".join(firsts)
                found.append(re.compile(rf"(?<!\w)(?:(?i:{apart})|{''.join(firsts).upper()})(?!\w)"))
        return tuple(found)

    def _readings(self, text: str) -> Iterator[tuple[str, str]]:
        return readings(text) if self._long else iter(())

    @cached_property
    def _folded(self) -> tuple[Letters, ...]:
        return tuple(map(letters, self.secrets))

    @cached_property
    def _long(self) -> tuple[Letters, ...]:
        return tuple(secret for secret in self._folded if len(secret.text) >= DECODED)


def plain(text: str) -> str:
    """The text without marks on its letters."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))


def _spans(secret: Letters, said: Letters) -> Iterator[tuple[int, int]]:
    """Where a folded text holds a secret, as spans of the original's characters."""
    size = len(secret.text)
    at = said.text.find(secret.text) if size else -1
    while at >= 0:
        if _counts(secret, said, at):
            yield said.places[at], said.places[at + size - 1] + 1
        at = said.text.find(secret.text, at + 1)


def _counts(secret: Letters, said: Letters, at: int) -> bool:
    """True if the letters from ``at`` on read as the secret and do not just happen to follow each other."""
    size, words = len(secret.text), said.words
    own = words[at : at + size]
    if size < ANYWHERE:
        return at in said.starts and all(
            word - own[0] == number - secret.words[0] for word, number in zip(own, secret.words, strict=True)
        )
    # A word that sticks out on one side counts where the secret has a word, too: "xNelgil Eckenko" holds the
    # name, "Nelgil Eckenk of" does not.
    first, last = own.count(own[0]), size - own.count(own[-1])
    out_left = at > 0 and words[at - 1] == own[0]
    out_right = at + size < len(words) and words[at + size] == own[-1]
    return not (out_left and first not in secret.starts | {size}) and not (
        out_right and last not in secret.starts
    )
