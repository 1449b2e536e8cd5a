"""What a text is about, word by word: stems and pairs of stems, each with how much it says.

A common word says little, a rare one much: a term's weight is 7 less its Zipf frequency (wordfreq), which is
about 0 for "the" and 7 for a word that no list has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_ASCII_WORD = re.compile(r"[a-z0-9]+(?:'[a-z0-9]+)?")
_RAREST = 7.0
# Words of questions and answers, whatever they are about.
_STOP = frozenset(
    """
who what which where when how whose whom the a an of in on at to for by with from as is are was were be been
did do does has have had and or that this these those his her their he she it its they you i me my your can
could would will tell name please answer following question also known famous most
""".split()
)
_ENDINGS = ("ing", "ed", "es", "s")
_SHORTEST_STEM = 4
# "Who", and "which actor": the answer is a person. In the languages of the background corpus.
_ASKS_WHO = re.compile(
    r"\b(?:who|whose|whom|qui|quién|quien|quem|chi|wer|wessen|кто)\b"
    r"|\b(?:which|what|what's|identify|name)\b(?: the| an?)?(?: [\w-]+){0,2} "
    r"(?:\w{3,}(?:ist|ian|or|er|ess|ete)|person|man|woman|star|celebrity|figure|icon|idol)\b"
    r"|谁",
    re.IGNORECASE,
)

Terms = Mapping[int, float]
"""Hashes of terms, each with its weight."""


def terms(text: str) -> dict[int, float]:
    """The terms of a text, each once: its telling words, and each two in a row with their mean weight."""
    words = [word for word in _words(text) if word not in _STOP and len(word) > 1]
    found: dict[int, float] = {}
    last: tuple[str, float] | None = None
    for word in words:
        stem, weight = _stem(word), _weight(word)
        found[_key(stem)] = weight
        if last is not None:
            found[_key(f"{last[0]} {stem}")] = (last[1] + weight) / 2
        last = stem, weight
    return found


def asks_who(text: str) -> bool:
    """True if the text asks for a person; the answer may be a target that it does not name."""
    return _ASKS_WHO.search(text) is not None


def _words(text: str) -> list[str]:
    if text.isascii():
        return [word.removesuffix("'s") for word in _ASCII_WORD.findall(text.lower())]
    from anyascii import anyascii

    latin = (anyascii(word).lower() for word in _WORD.findall(text))
    return [word.removesuffix("'s") for word in latin]


def _stem(word: str) -> str:
    # Only so that "films" meets "film"; a stemmer of each language would first have to know the language.
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            return word[: -len(ending)]
    return word


@lru_cache(maxsize=100_000)
def _weight(word: str) -> float:
    from wordfreq import zipf_frequency

    return max(0.0, _RAREST - zipf_frequency(word, "en"))


def _key(term: str) -> int:
    return int.from_bytes(blake2b(term.encode(), digest_size=8).digest(), "little")
