"""Codes that write bytes with an alphabet of 64 or 32 signs: base64 and base32."""

from __future__ import annotations

import base64
import binascii
import re
from codecs import IncrementalDecoder, getincrementaldecoder
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from string import ascii_letters, digits

from guard.decoding.reading import Change, legible, printable

_LONG = 16  # signs from which on text is looked for inside a run that is not text from its first sign on


@dataclass(frozen=True, slots=True)
class Radix:
    """One alphabet.

    Attributes:
        odd: a sign of a run that is no ordinary word.
        first: a run of its signs, padding included.
        more: another run behind white space.
        group: signs that stand for whole bytes.
        width: how many bytes these are.
        decode: the bytes of whole groups.
    """

    odd: re.Pattern[str]
    first: re.Pattern[str]
    more: re.Pattern[str]
    group: int
    width: int
    decode: Callable[[str], bytes]


_URL_SAFE = str.maketrans("-_", "+/")
_SIGNS = ascii_letters + digits + "+/_-"
_REST = re.compile("[A-Za-z0-9+/_-]*")
_SIGN64, _SIGN32 = "[A-Za-z0-9+/_-]", "[A-Z2-7]"
# What ordinary words lack: a capital or a figure behind a small letter, a letter behind a figure, a small
# letter behind two capitals, a plus sign, padding.
_ODD64 = re.compile(
    "[A-Z0-9+=](?:(?<=[a-z][A-Z0-9])|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Z]{2})(?=[a-z])|(?<=[A-Za-z0-9]=)|(?<=[+]))"
)
_ODD32 = re.compile("[2-7](?:(?<=[a-z].)|(?=[a-z]))|[A-Z2-7](?<=[A-Z2-7]{8})")
_BASE64 = Radix(
    _ODD64,
    re.compile(rf"{_SIGN64}{{4,}}={{0,2}}"),
    re.compile(rf"\s+({_SIGN64}+={{0,2}})"),
    4,
    3,
    lambda signs: base64.b64decode(signs.translate(_URL_SAFE)),
)
_BASE32 = Radix(
    _ODD32,
    re.compile(rf"(?:{_SIGN32}{{7,}}|[a-z2-7]{{7,}})={{0,6}}(?![A-Za-z0-9])"),
    re.compile(rf"\s+((?:{_SIGN32}+|[a-z2-7]+)={{0,6}})(?![A-Za-z0-9])"),
    8,
    5,
    lambda signs: base64.b32decode(signs.upper()),
)


def base64_(text: str) -> Iterator[Change]:
    """Base64 of both alphabets, with padding or without; runs behind each other are read as one."""
    return _read(text, _BASE64)


def base32(text: str) -> Iterator[Change]:
    """Base32 in one case, with padding or without; runs behind each other are read as one."""
    return _read(text, _BASE32)


def _read(text: str, radix: Radix) -> Iterator[Change]:
    at, last = 0, -1
    while (odd := radix.odd.search(text, at)) is not None:
        start = at + len(text[at : odd.start()].rstrip(_SIGNS))
        first = radix.first.match(text, start)
        if first is None or first.end() <= odd.start():
            at = _REST.match(text, odd.end()).end()  # type: ignore[union-attr]  # matches anything
            continue
        pieces = _pieces(text, first, radix)
        at = pieces[-1].end if pieces else first.end()
        joined = "".join(piece.text for piece in pieces)
        if legible(joined) or (joined.isalpha() and text[last:start].isspace()):
            yield Change(start, at, joined)
            yield Change(start, at, " ".join(piece.text for piece in pieces), 1)  # words encoded one by one
            last = at
        elif len(first[0]) >= _LONG:
            at = first.end()
            yield from _inside(first, radix)


def _pieces(text: str, first: re.Match[str], radix: Radix) -> list[Change]:
    """What the run says, and those behind it as long as they go on to be text; none is decoded thrice."""
    reader = getincrementaldecoder("utf-8")()
    pieces: list[Change] = []
    run, held, place = first[0], "", first.span()
    while True:
        signs = held + run.rstrip("=")
        whole = len(signs) - len(signs) % radix.group
        said = _said(reader, radix.decode(signs[:whole]))
        if said is None:
            break
        pieces.append(Change(*place, said))
        held = signs[whole:]
        more = None if run.endswith("=") else radix.more.match(text, place[1])
        if more is None:
            break
        run, place = more[1], more.span(1)
    rest = _said(reader, _last_bytes(held, radix)) if pieces else None
    if rest:
        pieces[-1] = pieces[-1]._replace(text=pieces[-1].text + rest)
    while pieces and not pieces[-1].text:
        pieces.pop()  # a short word behind the code, of too few signs to say anything
    return pieces


def _said(reader: IncrementalDecoder, data: bytes) -> str | None:
    """The characters that the bytes complete, None if they are no text; zeros are one half of UTF-16."""
    try:
        said = reader.decode(data.replace(b"\0", b""))
    except UnicodeDecodeError:
        return None
    return said if printable(said) else None


def _last_bytes(signs: str, radix: Radix) -> bytes:
    """The bytes of an unfinished group; none if its length is one that no bytes have."""
    try:
        return radix.decode(signs + "=" * (-len(signs) % radix.group))
    except binascii.Error:
        return b""


def _inside(run: re.Match[str], radix: Radix) -> Iterator[Change]:
    """The longest text in the run, wherever its first sign stands: something else was put in front of it."""
    signs = run[0].rstrip("=")
    best = Change(0, 0, "")
    for skipped in range(radix.group):
        whole = len(signs) - (len(signs) - skipped) % radix.group
        for found in _TEXT.finditer(radix.decode(signs[skipped:whole])):
            said = found[0].decode()
            if len(said) > len(best.text) and legible(said):
                start, end = (skipped + place * radix.group // radix.width for place in found.span())
                best = Change(run.start() + start, run.start() + end, said)
    if best.text:
        yield best


_TEXT = re.compile(rb"[\n -~]{8,}")
