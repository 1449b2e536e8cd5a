"""Codes that write bytes or letters as numbers: hexadecimal, binary, decimal, octal, alphabet positions."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise

from guard.decoding.english import looks_english
from guard.decoding.gaps import parted, spelt
from guard.decoding.reading import MIN_LENGTH, Change, as_text, legible

_PAIR = "[0-9A-Fa-f]{2}"
# Pairs in a row or with up to three signs between them. "\x4d" and "%4d" are escapes.
_HEX = re.compile(
    rf"[0-9C-Ec-ex](?<![0-9A-Za-z\\%&#+].)(?:(?<=0)x{_PAIR}|(?<=x){_PAIR}|[0-9A-Fa-f])(?:[\s,;:._|-]{{0,3}}(?:0x|x)?{_PAIR}){{3,}}(?![0-9A-Za-z])"
)
_POINTS = re.compile(r"U\+[0-9A-Fa-f]{4,6}(?:\W{0,3}[Uu]\+[0-9A-Fa-f]{4,6}){3,}")
_BITS = re.compile(r"[01](?<!\w.)(?:(?<=0)b[01]{3})?[01]{3,}(?:[\s,;:._|-]{1,3}(?:0b)?[01]{4,})*(?!\w)")
_NUMBERS = re.compile(r"\d(?<![\w.]\d)\d{0,6}(?:[\s,;:|/._-]{1,3}\d{1,7}){3,}(?!\w)")
_NUMBER = re.compile(r"\d+")
_OCTAL = re.compile("0?[01]?[0-7]{2}")
# Latin, Greek and Cyrillic letters lie below; years lie above.
_LAST_POINT = 1327
# Half nats a pair; rows of small numbers are ordinary, so letters must stand in better order than elsewhere.
_MAX_COST = 6.5
_ALPHABET = " abcdefghijklmnopqrstuvwxyz"


def hexadecimal(text: str) -> Iterator[Change]:
    """Bytes as pairs of digits, with gaps and prefixes or without, and code points as "U+004D"."""
    for found in _HEX.finditer(text):
        digits = re.sub(r"0?x|[^0-9A-Fa-f]", "", found[0])
        said = as_text(bytes.fromhex(digits[: len(digits) // 2 * 2]))
        if said:
            yield Change(*found.span(), said)
    for found in _POINTS.finditer(text):
        points = [int(number, 16) for number in re.findall(r"\+(\w+)", found[0])]
        if max(points) <= sys.maxunicode:
            yield Change(*found.span(), "".join(map(chr, points)))


def binary(text: str) -> Iterator[Change]:
    """Bytes as groups of eight or seven bits, with gaps and prefixes or without."""
    for found in _BITS.finditer(text):
        groups = re.findall(r"(?:0b)?([01]+)", found[0])
        if not all(6 <= len(group) <= 8 for group in groups):
            row = "".join(groups)
            size = 7 if len(row) % 8 and not len(row) % 7 else 8
            groups = [row[i : i + size] for i in range(0, len(row) - size + 1, size)]
        said = as_text(bytes(int(group, 2) for group in groups))
        if said:
            yield from parted(*found.span(), said)


def decimal(text: str) -> Iterator[Change]:
    """Decimal code points or bytes."""
    return _rows(text, lambda digits: int(digits) <= _LAST_POINT, lambda row: _points(row, 10))


def octal(text: str) -> Iterator[Change]:
    """Octal bytes."""
    return _rows(text, lambda digits: _OCTAL.fullmatch(digits) is not None, lambda row: _points(row, 8))


def positions(text: str) -> Iterator[Change]:
    """Places of letters in the alphabet: "13 9 18 1" is "mira"; zeros and other gaps part words."""
    return _rows(text, lambda digits: int(digits) < len(_ALPHABET), _letters)


def _rows(
    text: str, valid: Callable[[str], bool], read: Callable[[list[re.Match[str]]], str | None]
) -> Iterator[Change]:
    """What the rows of valid numbers say."""
    for found in _NUMBERS.finditer(text):
        row: list[re.Match[str]] = []
        for number in _NUMBER.finditer(text, *found.span()):
            if valid(number[0]):
                row.append(number)
            else:
                yield from _row(row, read)
                row = []
        yield from _row(row, read)


def _row(row: list[re.Match[str]], read: Callable[[list[re.Match[str]]], str | None]) -> Iterator[Change]:
    said = read(row) if len(row) >= MIN_LENGTH else None
    if said:
        yield from parted(row[0].start(), row[-1].end(), said)


def _points(row: list[re.Match[str]], base: int) -> str | None:
    numbers = [int(number[0], base) for number in row]
    if max(numbers) < 256:
        said = as_text(bytes(numbers))
    else:
        said = "".join(map(chr, numbers))
        said = said if legible(said) else None
    return said if said and looks_english(said) else None


def _letters(row: list[re.Match[str]]) -> str | None:
    said = "".join(_ALPHABET[int(number[0])] for number in row)
    if not legible(said) or not looks_english(said, _MAX_COST):
        return None
    text = row[0].string
    gaps = [text[one.end() : other.start()] for one, other in pairwise(row)]
    return spelt(list(said), gaps)
