"""Words as they may be misspelt: plain letters, how they sound, and keys that similar words share.

Two words that are one inserted, deleted, replaced or swapped letter apart share a key, since one of the two
words, or each without one letter, is the same (Garbe's SymSpell; Mor and Fraenkel 1982, "A hash code method
for detecting and correcting spelling errors"). Words that are spelt by other rules share the key of their
sound: libraries for this (Soundex, Metaphone) know the rules of English, not those of transliteration.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from guard.normalize import PROMPTS, Fold, fold

Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

LONGEST = 48  # letters of a word that count
SHORTEST = 4  # letters from which on a word has keys for its misspellings
_SKELETON = 3  # consonants from which on vowels do not count

# Marks, and characters that show nothing, may stand inside a word; a Han character is a word.
_INSIDE = "\u0300-\u036f\u00ad\u200b-\u200f\u2060-\u2064\ufeff"
_HAN = "\u3400-\u9fff"
_LETTER = rf"[^\W_{_HAN}]"
_WORD = re.compile(
    rf"[{_HAN}]|{_LETTER}(?:{_LETTER}|[{_INSIDE}])*(?:['’ʼ`´]{_LETTER}(?:{_LETTER}|[{_INSIDE}])*)*"
)
_POSSESSIVE = re.compile(r"['’ʼ`´]s?$", re.IGNORECASE)
HYPHENS = ("-", "‐", "‑", "‒", "–")
_HYPHEN = re.compile(rf"(?<=\w)[{''.join(HYPHENS)}](?=\w)")
_NOT_PLAIN = re.compile(r"[^a-z0-9]")
_TWICE = re.compile(r"(.)\1+")
_VOWELS = "aiu"
_NO_VOWELS = str.maketrans("", "", _VOWELS)

# In this order. Spellings of English, German, French, Polish, pinyin and Wade-Giles.
_SOUNDS = (
    ("tsch", "k"), ("sch", "s"), ("tch", "k"), ("cz", "k"), ("hw", "u"), ("ph", "f"), ("tz", "s"),
    ("ts", "s"), ("h", ""), ("x", "ks"),
)  # fmt: skip
_LETTERS = str.maketrans("ceoqfwyjz", "kiukvviis")

_BASE = np.uint64(0x9E3779B97F4A7C15)
_UNBASE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 2**64))
_MIX = np.uint64(0xD6E8FEB86659FD93)
# A sound may be twice as long as its word.
_POWERS = np.cumprod(np.full(2 * LONGEST + 2, _BASE, dtype=np.uint64))


class Word(NamedTuple):
    """A word of a text in plain letters, and where it stands in the original."""

    text: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    """The words of a text in plain letters and digits, without possessive endings; "J. R. R." is one word."""
    found: list[Word] = []
    for match in _WORD.finditer(text):
        raw, start = match[0], match.start()
        if not raw.isalnum():
            raw = _POSSESSIVE.sub("", raw)
        plain = raw.lower() if raw.isascii() and raw.isalnum() else _plain(raw)
        if plain:
            word = Word(plain[:LONGEST], start, start + len(raw))
            if found and len(plain) == 1 and _initials(text, found[-1], word):
                last = found.pop()
                word = Word(last.text + plain, last.start, word.end)
            found.append(word)
    return found


def name_words(name: str) -> tuple[str, ...]:
    """The words of a name; parts with hyphens between them are one word."""
    return tuple(word.text for word in words(_HYPHEN.sub("", name)))


def sounds(texts: Sequence[str]) -> list[str]:
    """How plain words sound, roughly: "hsiao" and "xiao", "tchaikovsky" and "chaikovskij" are the same."""
    joined = "\n".join(["", *texts]).replace("\nx", "\ns")
    for letters, letter in _SOUNDS:
        joined = joined.replace(letters, letter)
    return _TWICE.sub(r"\1", joined.translate(_LETTERS)).split("\n")[1:]


def skeletons(heard: Sequence[str]) -> list[str]:
    """What sounds that may be of one word share: their consonants, or all letters if these are few."""
    consonants = "\n".join(heard).translate(_NO_VOWELS).split("\n") if heard else ()
    return [
        f"~{whole}" if len(few) < _SKELETON else f"~a{few}" if whole[0] in _VOWELS else f"~{few}"
        for whole, few in zip(heard, consonants, strict=True)
    ]


def exact_keys(texts: Sequence[str]) -> Keys:
    """One key per text of plain letters, below 2^32."""
    return _keys(texts)[0]


def near_keys(texts: Sequence[str]) -> tuple[Keys, Places]:
    """The keys of each text without one of its letters, and for each key the place of its text."""
    _, keys, places = _keys(texts)
    return keys, places


@cache
def frequencies() -> dict[str, float]:
    """How often each of the 29,000 most frequent English words and names is used, as a share of all words."""
    from wordfreq import get_frequency_dict

    return get_frequency_dict("en", wordlist="small")


def _keys(texts: Sequence[str]) -> tuple[Keys, Keys, Places]:
    """Keys of the texts, keys of the texts without one letter, and the texts that the latter are of.

    A text's key is a polynomial in its letters modulo 2^64, mixed: with the sums of its beginnings, a key
    without one letter costs three operations, whatever the length.
    """
    data = np.frombuffer("".join(texts).encode("ascii"), dtype=np.uint8).astype(np.uint64)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    ends = np.cumsum(lengths)
    starts = ends - lengths
    places = np.repeat(np.arange(len(texts)), lengths)
    sums = np.zeros(len(data) + 1, dtype=np.uint64)
    np.cumsum((data + np.uint64(1)) * _POWERS[np.arange(len(data)) - starts[places]], out=sums[1:])
    before, after = sums[starts], sums[ends]
    without = (sums[:-1] - before[places]) + (after[places] - sums[1:]) * _UNBASE
    return _mixed(after - before), _mixed(without), places


def _mixed(keys: Keys) -> Keys:
    keys = (keys ^ (keys >> np.uint64(32))) * _MIX
    keys = (keys ^ (keys >> np.uint64(29))) * _BASE
    return keys >> np.uint64(32)


def _plain(word: str) -> str:
    """A word in plain letters. Foreign letters among Latin ones count by their looks, else by their sound."""
    from anyascii import anyascii

    kinds = PROMPTS if any("a" <= char <= "z" for char in word.lower()) else PROMPTS - {Fold.CONFUSABLES}
    return _NOT_PLAIN.sub("", anyascii(fold(word, kinds).text).lower())


def _initials(text: str, last: Word, letter: Word) -> bool:
    """True if a single letter goes on with the initials before it: "J.R", "J. R", "J R"."""
    before = text[last.start : last.end]
    return (
        text[last.end : letter.start] in (".", ". ", " ")
        and text[letter.start].isupper()
        and before.isupper()
        and all(len(part) == 1 for part in before.replace(".", " ").split())
    )
