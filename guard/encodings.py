"""Encoded forms of a forbidden phrase, as further forbidden strings: base64, hex, ROT13, reversed and others.

A model that may not write a name can be asked to write it encoded. Only what a fixed string can catch is
caught: base64 broken by a line end, or of a spelling not listed here, passes.
"""

from __future__ import annotations

import base64
import codecs
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from guard.errors import InputError
from guard.normalize import PHRASES, fold

# Strings compared byte by byte count anywhere, so they must be too rare to meet by chance. In 110 MB of
# prose, source code and web pages, base64 strings of five characters turned up in ordinary identifiers too,
# those of six only inside base64 (every phrase of five bytes has six in each alignment). Hex strings of six
# digits turned up as plain numbers, those of eight (four bytes) never.
MIN_BASE64 = 6
MIN_HEX = 8
MIN_WORDS = 3  # two initials are a pair of letters that any text has

_URL_SAFE = str.maketrans("+/", "-_")
# What initials, reversed and rotated words may spell by chance ("Alma Nora Dent", "Nam"): forbidding these
# would break any answer.
_COMMON_WORDS = """
and are art ask bad bag bat bed big bit box boy bus but buy can car cat cup cut day did die dog dry due eat
end far few fit fly for fun get god got gun had has hat her him his hit hot how ice its job key kid law lay
led leg let lie lot low mad man map may men met mid mix mom net new non nor not now odd off oil old one our
out own pay per pet put ran raw red rid row run sad sat saw say sea see set sex she sit six sky son sum sun
tax tea ten the tie tip too top toy try two use van via war was way web wet who why win won yes yet you able
also area away back ball bank base been best body book both call came care case city come cost dark data date
days deal does done door down draw each east edge else even ever eyes face fact fall fast feel feet felt find
fine fire five food foot form four free from full game gave girl give goes gold gone good half hand hard have
head hear held help here high hold home hope hour idea into just keep kept kind knew know land last late lead
left less life like line list live long look lost love made mail main make many mean meet mind moon more most
move much must name near need next nine none once only open over page paid part past plan play read real rest
rise road room rule said same save seem seen self sent show side some soon sort stay step stop such sure take
talk team tell than that them then they this time told took town tree true turn type unit upon used very view
walk wall want warm ways week well went were west what when whom wide wife will wind wish with word work year
your
"""
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True)
class Encoded:
    """One form of a phrase.

    Attributes:
        text: the string to forbid.
        exact: True compares it byte by byte, anywhere in the text; False compares it like the phrase itself,
            folded and from the start of a word.
    """

    text: str
    exact: bool


def encoded(phrase: str, names: Iterable[str]) -> tuple[Encoded, ...]:
    """The forms of a phrase in the named encodings, in the order of the table.

    Of forms that fold alike only the first is given; those that fold to the phrase itself or to a common word
    are left out.

    Raises:
        InputError: an encoding has an unknown name.
    """
    chosen = set(names)
    unknown = sorted(chosen - ENCODINGS.keys())
    if unknown:
        raise InputError(f"encoding {unknown[0]!r} is unknown; known encodings are {', '.join(ENCODINGS)}")
    phrase = " ".join(phrase.split())
    seen = {"", _folded(phrase)} | _COMMON
    forms: dict[Encoded, None] = {}
    for form in (f for name, encode in ENCODINGS.items() if name in chosen for f in encode(phrase)):
        folded = "" if form.exact else _folded(form.text)
        if form.exact or folded not in seen:
            forms[form] = None
            seen.add(folded)
    return tuple(forms)


def _base64(phrase: str) -> Iterator[Encoded]:
    """For each place in a longer text, the characters that do not depend on what stands around the phrase.

    Of the first and last letter they may hold only some bits, so a word that differs in one of them can
    count as the phrase.
    """
    for data in _spellings(phrase):
        for before in range(3):  # bytes of the last unfinished group of three in front of the phrase
            whole = base64.b64encode(bytes(before) + data).decode()
            # A character stands for six bits; those shared with a neighbour's bytes are dropped.
            part = whole[-(-8 * before // 6) : 8 * (before + len(data)) // 6]
            if len(part) >= MIN_BASE64:
                yield Encoded(part, True)
                yield Encoded(part.translate(_URL_SAFE), True)


def _hex(phrase: str) -> Iterator[Encoded]:
    r"""Digits without gaps in both cases, and with gaps.

    A gapless form may stand inside a longer run, hence exact. With gaps, folding takes care of case and of
    what separates: "4d 69" is also "4D:69" and "%4d%69", "x4d x69" is also "\x4d\x69", "0x4d 0x69" is also
    "0x4D, 0x69".
    """
    for data in _spellings(phrase):
        if 2 * len(data) < MIN_HEX:
            continue
        yield Encoded(data.hex(), True)
        yield Encoded(data.hex().upper(), True)
        for prefix in ("", "x", "0x"):
            yield Encoded(" ".join(f"{prefix}{byte:02x}" for byte in data), False)


def _rot13(phrase: str) -> Iterator[Encoded]:
    """Latin letters moved by 13 places, those with accents left alone or moved without their accents."""
    for text in (phrase, _folded(phrase)):
        if any(char.isascii() and char.isalpha() for char in text):
            yield Encoded(codecs.encode(text, "rot13"), False)


def _reversed(phrase: str) -> Iterator[Encoded]:
    yield Encoded("".join(reversed(_letters(phrase))), False)


def _spaced(phrase: str) -> Iterator[Encoded]:
    """Single letters; folding makes any separators between them one space."""
    letters = [letter for letter in _letters(phrase) if letter[0].isalnum()]
    if len(letters) > 1:
        yield Encoded(" ".join(letters), False)


def _initials(phrase: str) -> Iterator[Encoded]:
    words = [[letter for letter in _letters(word) if letter[0].isalnum()] for word in phrase.split()]
    firsts = [word[0] for word in words if word]
    if len(firsts) >= MIN_WORDS:
        yield Encoded(" ".join(firsts), False)
        yield Encoded("".join(firsts), False)


ENCODINGS: dict[str, Callable[[str], Iterable[Encoded]]] = {
    "base64": _base64,
    "hex": _hex,
    "rot13": _rot13,
    "reversed": _reversed,
    "spaced": _spaced,
    "initials": _initials,
}


def _spellings(phrase: str) -> list[bytes]:
    """UTF-8 of the phrase in its usual cases, as given and composed; encoding hides them from folding."""
    cases = (phrase, phrase.lower(), phrase.upper(), phrase.title())
    texts = (form for text in cases for form in (text, unicodedata.normalize("NFC", text)))
    return [text.encode() for text in dict.fromkeys(texts)]


def _letters(text: str) -> list[str]:
    """Characters, each with the combining marks behind it."""
    letters: list[str] = []
    for char in text:
        if letters and unicodedata.category(char).startswith("M"):
            letters[-1] += char
        else:
            letters.append(char)
    return letters


def _folded(text: str) -> str:
    return fold(text, PHRASES).text.strip()
