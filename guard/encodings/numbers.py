"""Encodings of a phrase's bytes or code points as numbers: base64, hexadecimal, decimal, binary."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator

from guard.encodings.forms import Encoded, spellings

# Strings compared byte by byte count anywhere, so they must be too rare to meet by chance. In 110 MB of
# prose, source code and web pages, base64 strings of five characters turned up in ordinary identifiers too,
# those of six only inside base64 (every phrase of five bytes has six in each alignment). Hex strings of six
# digits turned up as plain numbers, those of eight (four bytes) never. In 160 MB of the same kinds, the forms
# of 1,600 names and words of four bytes and more turned up in encoded text only, whatever the encoding.
MIN_BASE64 = 6
MIN_BYTES = 4

_URL_SAFE = str.maketrans("+/", "-_")


def long_enough(phrase: str) -> list[str]:
    """The spellings of at least `MIN_BYTES` bytes."""
    return [text for text in spellings(phrase) if len(text.encode()) >= MIN_BYTES]


def base64(phrase: str) -> Iterator[Encoded]:
    """For each place in a longer text, the characters that do not depend on what stands around the phrase.

    Of the first and last letter they may hold only some bits, so a word that differs in one of them can
    count as the phrase.
    """
    for text in spellings(phrase):
        data = text.encode()
        for before in range(3):  # bytes of the last unfinished group of three in front of the phrase
            whole = b64encode(bytes(before) + data).decode()
            # A character stands for six bits; those shared with a neighbour's bytes are dropped.
            part = whole[-(-8 * before // 6) : 8 * (before + len(data)) // 6]
            if len(part) >= MIN_BASE64:
                yield Encoded(part, True)
                yield Encoded(part.translate(_URL_SAFE), True)


def hexadecimal(phrase: str) -> Iterator[Encoded]:
    r"""Digits without gaps in both cases, and with gaps.

    A gapless form may stand inside a longer run, hence exact. With gaps, folding takes care of case and of
    what separates: "4d 69" is also "4D:69" and "%4d%69", "x4d x69" is also "\x4d\x69", "0x4d 0x69" is also
    "0x4D, 0x69".
    """
    for text in long_enough(phrase):
        data = text.encode()
        yield Encoded(data.hex(), True)
        yield Encoded(data.hex().upper(), True)
        for prefix in ("", "x", "0x"):
            yield Encoded(" ".join(f"{prefix}{byte:02x}" for byte in data), False)


def decimal(phrase: str) -> Iterator[Encoded]:
    """Code points, and bytes where they differ, with spaces counted or not; folding takes commas for spaces.

    Three digits with a leading zero, as in "077 105", are another usual way to write them.
    """
    for text in long_enough(phrase):
        for numbers in ([ord(char) for char in text], list(text.encode())):
            for kept in (numbers, _without_spaces(numbers)):
                yield Encoded(" ".join(f"{number}" for number in kept), False)
                yield Encoded(" ".join(f"{number:03}" for number in kept), False)


def binary(phrase: str) -> Iterator[Encoded]:
    """Groups of eight digits without gaps, and with gaps, where spaces are counted or not.

    With gaps, the digits may come with Python's prefix, which drops leading zeros: "0b1001101".
    """
    for text in long_enough(phrase):
        data = text.encode()
        yield Encoded("".join(f"{byte:08b}" for byte in data), True)
        for kept in (data, _without_spaces(data)):
            yield Encoded(" ".join(f"{byte:08b}" for byte in kept), False)
        yield Encoded(" ".join(bin(byte) for byte in data), False)


def _without_spaces(numbers: Iterable[int]) -> list[int]:
    return [number for number in numbers if number != ord(" ")]
