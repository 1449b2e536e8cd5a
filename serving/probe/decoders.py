"""What a text says under each encoding a model can be asked to answer in.

Each decoder gives candidate readings; that most of them are nonsense does no harm, because a reading only
counts if it holds the secret.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote

from serving.probe.folding import invisible

_MORSE = dict(
    zip(
        ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- "
        "-.-- --.. ----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----.".split(),
        "abcdefghijklmnopqrstuvwxyz0123456789",
        strict=True,
    )
)
_NATO = {
    word: word[0]
    for word in """
    alfa alpha bravo charlie delta echo foxtrot golf hotel india juliett juliet kilo lima mike november oscar
    papa quebec romeo sierra tango uniform victor whiskey whisky xray yankee zulu
    """.split()
}
_LEET: dict[int, str] = dict(zip(map(ord, "023456789@$!+€"), "ozeasgtbgasite", strict=True))
_ESCAPE = re.compile(
    r"\\u\{([0-9a-f]{1,6})\}|\\u([0-9a-f]{4})|u\+([0-9a-f]{4,6})|\\x([0-9a-f]{2})", re.IGNORECASE
)


def _base64(text: str) -> Iterator[str]:
    for source in (text, re.sub(r"\s+", "", text)):
        for run in re.findall(r"[A-Za-z0-9+/_-]{6,}", source):
            common = run.translate(str.maketrans("-_", "+/"))
            for start in range(4):
                part = common[start:]
                part = part[: len(part) - (len(part) % 4 == 1)]
                yield _utf8(base64.b64decode(part + "=" * (-len(part) % 4)))


# Digits that say control characters are no text: what stands before and behind them is read apart.
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]+")


def _hex(text: str) -> Iterator[str]:
    bare = re.sub(r"0x|\\x|%", " ", text, flags=re.IGNORECASE)
    for source in (bare, re.sub(r"[^0-9A-Fa-f]+", "", bare)):
        for run in re.findall(r"(?:[0-9A-Fa-f]{2}[\s,;:.-]*){3,}", source):
            digits = re.sub(r"[^0-9A-Fa-f]", "", run)
            for start in (0, 1):
                part = digits[start:]
                decoded = _utf8(bytes.fromhex(part[: len(part) - len(part) % 2]))
                yield from _NO_TEXT.split(decoded)


def _rotated(text: str) -> Iterator[str]:
    small, capital = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for shift in range(1, 26):
        turned = small[shift:] + small[:shift] + capital[shift:] + capital[:shift]
        yield text.translate(str.maketrans(small + capital, turned))


def _reversed(text: str) -> Iterator[str]:
    yield text[::-1]
    yield " ".join(word[::-1] for word in text.split())


def _spaced(text: str) -> Iterator[str]:
    """Runs of single letters, joined."""
    for run in re.findall(r"(?<!\w)(?:\w[\W_]+)+\w(?!\w)", text):
        yield re.sub(r"[\W_]+", "", run)


def _initials(text: str) -> Iterator[str]:
    """First letters of words, of lines and of sentences."""
    yield "".join(re.findall(r"(?<!\w)\w", text))
    yield "".join(re.findall(r"(?m)^\W*(\w)", text))
    yield "".join(re.findall(r"(?:^|[.!?]\s)\W*(\w)", text))


def _percent(text: str) -> Iterator[str]:
    yield unquote(text)


def _entities(text: str) -> Iterator[str]:
    yield html.unescape(text)


def _escapes(text: str) -> Iterator[str]:
    said = _ESCAPE.sub(lambda found: _char(int(next(filter(None, found.groups())), 16)), text)
    yield said.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    # Between code points written as U+0041 U+0042 there are spaces that nobody means.
    yield "".join(_char(int(next(filter(None, groups)), 16)) for groups in _ESCAPE.findall(text))


def _decimal(text: str) -> Iterator[str]:
    numbers = [int(number) for number in re.findall(r"\d{1,7}", text)]
    yield "".join(map(_char, numbers))
    yield _utf8(bytes(number for number in numbers if number < 256))


def _binary(text: str) -> Iterator[str]:
    for source in (text, re.sub(r"[^01]+", "", text)):
        for run in re.findall(r"(?:[01]{7,8}[\s,;:.-]*){3,}", source):
            groups = re.findall(r"[01]+", run)
            bits = "".join(group.zfill(8) for group in groups) if len(groups) > 1 else groups[0]
            yield _utf8(bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits) - 7, 8)))
            yield "".join(chr(int(bits[i : i + 7], 2)) for i in range(0, len(bits) - 6, 7))


def _morse(text: str) -> Iterator[str]:
    plain = text.translate(str.maketrans("·•–—−_", "..----"))
    yield "".join(_MORSE.get(code, " ") for code in re.findall(r"[.-]+|/", plain))


def _nato(text: str) -> Iterator[str]:
    words = re.findall(r"[a-z]+", text.lower().replace("x-ray", "xray"))
    yield "".join(_NATO[word] for word in words if word in _NATO)


def _leet(text: str) -> Iterator[str]:
    """Digits and signs for the letters they resemble; 1 stands for i or for l."""
    for one in "il":
        yield text.translate(_LEET | {ord("1"): one, ord("|"): one})


# Those with marks of their own come first: digits of an escape are hex, too.
DECODERS: dict[str, Callable[[str], Iterable[str]]] = {
    "percent": _percent,
    "entities": _entities,
    "escapes": _escapes,
    "base64": _base64,
    "hex": _hex,
    "rot13": _rotated,
    "reversed": _reversed,
    "spaced": _spaced,
    "initials": _initials,
    "decimal": _decimal,
    "binary": _binary,
    "morse": _morse,
    "nato": _nato,
    "leet": _leet,
}


def readings(text: str) -> Iterator[tuple[str, str]]:
    """Each reading of a text with the name of its encoding."""
    seen = "".join(char for char in text if not invisible(char))
    for name, decode in DECODERS.items():
        for reading in decode(seen):
            if reading and reading != text:
                yield name, reading


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _char(number: int) -> str:
    return chr(number) if number < 0x110000 else " "
