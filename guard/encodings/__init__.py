"""Encoded forms of a forbidden phrase, as further forbidden strings: base64, ROT13, Morse and eleven others.

A model that may not write a name can be asked to write it encoded. Only what a fixed string can catch is
caught: a code with letters put in between, or of a spelling not listed here, passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from guard.encodings.alphabets import morse, nato
from guard.encodings.common_words import COMMON
from guard.encodings.escapes import entities, escapes, percent
from guard.encodings.forms import Encoded, folded
from guard.encodings.letters import initials, leet, reversed_, rot13, spaced
from guard.encodings.numbers import base64, binary, decimal, hexadecimal
from guard.errors import InputError

__all__ = ["ENCODINGS", "Encoded", "encoded"]

ENCODINGS: dict[str, Callable[[str], Iterable[Encoded]]] = {
    "base64": base64,
    "hex": hexadecimal,
    "rot13": rot13,
    "reversed": reversed_,
    "spaced": spaced,
    "initials": initials,
    "percent": percent,
    "entities": entities,
    "escapes": escapes,
    "decimal": decimal,
    "binary": binary,
    "morse": morse,
    "nato": nato,
    "leet": leet,
}


def encoded(phrase: str, names: Iterable[str]) -> tuple[Encoded, ...]:
    """The forms of a phrase in the named encodings, in the order of the table.

    Of an encoding's forms that fold alike only the first is given; those that fold to the phrase itself or to
    a common word are left out.

    Raises:
        InputError: an encoding has an unknown name.
    """
    chosen = set(names)
    unknown = sorted(chosen - ENCODINGS.keys())
    if unknown:
        raise InputError(f"encoding {unknown[0]!r} is unknown; known encodings are {', '.join(ENCODINGS)}")
    phrase = " ".join(phrase.split())
    forms: dict[Encoded, None] = {}
    for encode in (encode for name, encode in ENCODINGS.items() if name in chosen):
        # A form of another encoding may fold alike ("%4D%69" and "4d 69"), but only if punctuation is folded,
        # which a target can switch off.
        seen = {"", folded(phrase)} | COMMON
        for form in encode(phrase):
            key = "" if form.exact else folded(form.text)
            if form.exact or key not in seen:
                forms[form] = None
                seen.add(key)
    return tuple(forms)
