"""Invented names and titles: pronounceable, unique, and in no dictionary."""

from __future__ import annotations

import random


def words(text: str) -> tuple[str, ...]:
    """Returns the words of a text; long lists read better as text."""
    return tuple(text.split())


_GIVEN_HEADS = words(
    "Bre Cal Dov Elu Fen Gar Hul Ive Jor Kes Lom Myr Nel Oda Pry Quo Rhu Sev Tam Ulf Ves Wyn Yar Zel"
)
_GIVEN_TAILS = words("bik dra fon gil ham kor len mav nis pel ric sha tov vun wen zar")
_FAMILY_HEADS = words(
    "Ash Bol Crem Dral Eck Fosh Grun Hask Izz Jent Kolv Lurm Mosk Nard Ovel Pesk Rask Stav Thur Urd Vask Wolm"
)
_FAMILY_TAILS = words("abel ador anik emar enko eris ibar idel omir onda ovic ubek udan ulis yash yron")

_ADJECTIVES = words(
    "Amber Blue Broken Copper Crooked Distant Empty Frozen Gentle Golden Hidden Hollow Lost Painted "
    "Patient Quiet Red Restless Silent Silver Sleeping Twisted White Winter"
)
_NOUNS = words(
    "Anchor Bell Bridge Candle Compass Door Feather Garden Harbour Island Key Ladder Lantern Letter "
    "Map Mirror Mountain Orchard Owl River Shadow Staircase Tower Window"
)
_MATTERS = words("Ash Clay Dust Glass Honey Iron Rain Salt Sand Smoke Snow Stone Thorns Wool")


def people(count: int, rng: random.Random) -> tuple[str, ...]:
    """Returns `count` full names in which no given name and no family name occurs twice."""
    given = [head + tail for head in _GIVEN_HEADS for tail in _GIVEN_TAILS]
    family = [head + tail for head in _FAMILY_HEADS for tail in _FAMILY_TAILS]
    if count > min(len(given), len(family)):
        raise ValueError(f"a world of {count} people asks for more names than the {len(family)} there are")
    return tuple(f"{a} {b}" for a, b in zip(rng.sample(given, count), rng.sample(family, count), strict=True))


def titles(count: int, rng: random.Random) -> tuple[str, ...]:
    """Returns `count` different titles of works."""
    every = [f"The {adjective} {noun}" for adjective in _ADJECTIVES for noun in _NOUNS]
    every += [f"The {noun} of {matter}" for noun in _NOUNS for matter in _MATTERS]
    if count > len(every):
        raise ValueError(f"a world with {count} works asks for more titles than the {len(every)} there are")
    return tuple(rng.sample(every, count))
