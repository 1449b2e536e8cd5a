"""What a prompt says in code: base64, ROT13, Morse and others, decoded for the detectors to read.

The other direction, how a phrase is written in these codes, is `guard.encodings`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from guard.decoding.alphabets import morse, nato, spaced
from guard.decoding.escapes import entities, escapes, percent
from guard.decoding.lookalikes import invisible, leet, scripts, upside_down
from guard.decoding.numbers import binary, decimal, hexadecimal, octal, positions
from guard.decoding.radix import base32, base64_
from guard.decoding.reading import Decoder, Reading, composed
from guard.decoding.rotated import caesar, reversed_

__all__ = ["DECODERS", "MAX_CHARACTERS", "MAX_READINGS", "Reading", "capped", "readings"]

DECODERS: dict[str, Decoder] = {
    "base64": base64_,
    "base32": base32,
    "hex": hexadecimal,
    "binary": binary,
    "decimal": decimal,
    "octal": octal,
    "positions": positions,
    "caesar": caesar,
    "reversed": reversed_,
    "spaced": spaced,
    "leet": leet,
    "percent": percent,
    "entities": entities,
    "escapes": escapes,
    "morse": morse,
    "nato": nato,
    "scripts": scripts,
    "upside_down": upside_down,
    "invisible": invisible,
}

# Codes that rewrite letters as letters; inside one another they would only find chance.
_LETTERS = frozenset({"caesar", "reversed", "spaced", "leet", "scripts", "upside_down"})
_OTHERS = tuple(name for name in DECODERS if name not in _LETTERS)

MAX_READINGS = 32
MAX_CHARACTERS = 65_536
"""Readings of one text, and characters of all of them together."""


def readings(text: str) -> list[Reading]:
    """What a text's codes say, and what codes inside those say; the text as it stands is not among them.

    The work is linear in the text. Of more than `MAX_READINGS` readings, or of more than `MAX_CHARACTERS`
    characters, the earliest in the text are kept, those that are codes inside codes after all others: see
    `capped`. A code inside a code is read, one inside that is not. Ordinary prose hardly ever has a reading.
    """
    found: list[Reading] = []
    seen = {text}
    outer = _kept(_read(text, DECODERS.keys()), found, seen)
    for reading in outer:
        names = _OTHERS if reading.encoding in _LETTERS else DECODERS.keys()
        inner = (
            replace(one, encoding=reading.encoding, span=reading.span) for one in _read(reading.text, names)
        )
        _kept(inner, found, seen)
    return found


def capped(found: Sequence[Reading]) -> bool:
    """True if the readings of a text may be incomplete: it is hostile, or long and not in Latin letters."""
    return len(found) >= MAX_READINGS or sum(len(reading.text) for reading in found) >= MAX_CHARACTERS


def _read(text: str, names: Collection[str]) -> list[Reading]:
    """The readings of the text's codes, in the order of their places."""
    read: list[Reading] = []
    for name in names:
        changes = list(DECODERS[name](text))
        if changes:
            read.extend(composed(text, name, changes))
    return sorted(read, key=lambda reading: reading.span)


def _kept(read: Iterable[Reading], found: list[Reading], seen: set[str]) -> list[Reading]:
    """The readings that are new and for which there is room; the last one may be cut."""
    kept: list[Reading] = []
    room = MAX_CHARACTERS - sum(len(reading.text) for reading in found)
    for reading in read:
        if len(found) >= MAX_READINGS or room <= 0:
            break
        if reading.text in seen:
            continue
        seen.add(reading.text)
        reading = replace(reading, text=reading.text[:room])
        room -= len(reading.text)
        found.append(reading)
        kept.append(reading)
    return kept
