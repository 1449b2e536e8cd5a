r"""Escape sequences of the web and of programming languages: "%4D", "&#77;", "\u004d"."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from html import escape
from html.entities import codepoint2name
from urllib.parse import quote, quote_plus

from guard.encodings.forms import Encoded
from guard.encodings.numbers import long_enough

Escape = Callable[[str], str]

_AS_IN_SCRIPTS = "!'()*"  # what JavaScript's encodeURIComponent leaves alone, but Python's quote does not


def percent(phrase: str) -> Iterator[Encoded]:
    """URL encoding of every byte, and of those that a URL cannot hold; a space is "%20", "+" or itself."""
    for text in long_enough(phrase):
        yield from _full(text, (_bytes,))
        for form in (quote(text, safe=""), quote(text, safe=_AS_IN_SCRIPTS), quote_plus(text)):
            yield Encoded(form, False)


def entities(phrase: str) -> Iterator[Encoded]:
    """HTML character references, decimal and hexadecimal, of every character or of the unusual ones only."""
    for text in long_enough(phrase):
        yield from _full(text, (_decimal, _hexadecimal))
        yield Encoded(escape(text), False)
        for unusual in (_decimal, _hexadecimal, _named):
            yield Encoded("".join(char if char.isascii() else unusual(char) for char in text), False)


def escapes(phrase: str) -> Iterator[Encoded]:
    r"""Escapes of strings in JSON, JavaScript and Python, of every character or of those beyond ASCII only.

    "\u004d", "\x4d", "\U0000004d" and "\u{4d}"; what stands for the spaces may be a space.
    """
    for text in long_enough(phrase):
        yield from _full(text, (_short, _byte_or_short, _long, _braced))
        in_bytes = text.encode().decode("latin-1")
        for source in (text, in_bytes):
            yield Encoded(source.encode("unicode_escape").decode(), False)
        for unusual in (_short, _braced):
            yield Encoded("".join(char if char.isascii() else unusual(char) for char in text), False)


def _full(text: str, ways: Iterable[Escape]) -> Iterator[Encoded]:
    """Every character escaped, and every one but spaces."""
    for way in ways:
        yield Encoded("".join(map(way, text)), False)
        yield Encoded("".join(char if char == " " else way(char) for char in text), False)


def _bytes(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def _decimal(char: str) -> str:
    return f"&#{ord(char)};"


def _hexadecimal(char: str) -> str:
    return f"&#x{ord(char):x};"


def _named(char: str) -> str:
    name = codepoint2name.get(ord(char))
    return f"&{name};" if name else _decimal(char)


def _short(char: str) -> str:
    r"""As JSON writes it: "\u004d", a pair of them beyond 16 bits."""
    return f"\\u{ord(char):04x}" if char.isascii() else json.dumps(char)[1:-1]


def _byte_or_short(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 0x100 else _short(char)


def _long(char: str) -> str:
    return f"\\U{ord(char):08x}"


def _braced(char: str) -> str:
    return f"\\u{{{ord(char):x}}}"
