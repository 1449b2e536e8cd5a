"""Words of texts that nobody disguises: what an operator registered and what is to be injected.

Cruder than `guard.normalize`, and a hundred times faster on long conversations.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

RUN = 5  # words in a row by which a text is recognised
_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text without case, accents and punctuation."""
    folded = text.casefold()
    if not folded.isascii():
        folded = "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
    return _WORD.findall(folded)


def plain(text: str) -> str:
    """The words of a text, each with a space before and behind, so that one text can be sought in another."""
    return f" {' '.join(words(text))} "


def runs(text: str) -> Iterator[str]:
    """Every five words in a row of a text as `plain` gives them; all of a text that has fewer."""
    found = words(text)
    for first in range(max(len(found) - RUN, 0) + 1):
        yield f" {' '.join(found[first : first + RUN])} "
