r"""Escape sequences of the web and of programming languages: "%4D", "&#77;", "\u004d"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from html import unescape
from urllib.parse import unquote_plus

from guard.decoding.reading import Change

_HEX = "[0-9A-Fa-f]"
_PERCENT = re.compile(rf"%{_HEX}{{2}}")
_WORD = re.compile(r"\S+")
_ENTITY = re.compile(rf"&(?:#\d{{1,7}}|#[xX]{_HEX}{{1,6}}|[A-Za-z][A-Za-z0-9]{{1,31}});?")
# References that HTML needs wherever text holds these signs, unless they are the sign of another reference.
_ORDINARY = re.compile(r"&(?:lt|gt|quot|apos|#39|#x27|#34|amp(?!;?(?:#|[A-Za-z]+;)));?", re.IGNORECASE)
_NUMBERED = rf"u{_HEX}{{4}}|u\{{{_HEX}{{1,6}}\}}|U{_HEX}{{8}}|x{_HEX}{{2}}|[0-3][0-7]{{2}}"
_ESCAPES = re.compile(rf"(?:\\(?:{_NUMBERED}|N\{{[A-Z0-9 -]{{2,80}}\}}))+")
_ESCAPE = re.compile(rf"\\(?:N\{{([^}}]+)\}}|[uU]\{{?({_HEX}+)\}}?|x({_HEX}{{2}})|([0-7]{{3}}))")


def percent(text: str) -> Iterator[Change]:
    """Words that hold URL-encoded bytes; a plus sign in them is a space."""
    if "%" not in text or not _PERCENT.search(text):
        return
    for word in _WORD.finditer(text):
        if "%" in word[0] and _PERCENT.search(word[0]):
            yield Change(*word.span(), unquote_plus(word[0]))


def entities(text: str) -> Iterator[Change]:
    """HTML character references, but for those of signs that every page needs."""
    for found in _ENTITY.finditer(text):
        if not _ORDINARY.match(text, found.start()) and (said := unescape(found[0])) != found[0]:
            yield Change(*found.span(), said)


def escapes(text: str) -> Iterator[Change]:
    r"""Escapes of JSON, JavaScript, Python and C: "\u004d", "\u{4d}", "\x4d", "\115", "\N{DIGIT ONE}"."""
    if "\\" not in text:
        return
    for found in _ESCAPES.finditer(text):
        said = _said(found[0])
        if said.isprintable():
            yield Change(*found.span(), said)


def _said(run: str) -> str:
    characters = []
    for name, point, byte, octal in _ESCAPE.findall(run):
        if name:
            characters.append(_named(name))
        else:
            number = int(point or byte, 16) if point or byte else int(octal, 8)
            characters.append(chr(min(number, 0x10FFFF)))
    said = "".join(characters)
    try:
        if not said.isascii() and max(said) <= "\xff":
            return said.encode("latin-1").decode()  # bytes
        return said.encode("utf-16", "surrogatepass").decode("utf-16")  # pairs of surrogates
    except UnicodeDecodeError:
        return said


def _named(name: str) -> str:
    try:
        return unicodedata.lookup(name)
    except KeyError:
        return ""
