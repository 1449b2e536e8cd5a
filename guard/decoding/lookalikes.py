"""Signs that stand for letters: figures, upside-down letters, other scripts, signs that nobody sees."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator

from guard.decoding.english import looks_english
from guard.decoding.reading import CONTEXT, MIN_LENGTH, Change, as_text, left_edge, right_edge

_AS_I = str.maketrans("0123456789@$!|€£", "oizeasgtbgasiiel")
_AS_L = _AS_I | str.maketrans("1!|", "lll")
_SIGN_AND_LETTER = re.compile("[0-9@$!|€£][^\\W\\d_]")
_WORD = re.compile(
    r"(?<![\w@$!|€£./:#%&\\])(?!0x)(?=[^\W\d_]*[0-9@$!|€£])(?:[^\W_]|[@$!|€£])*(?:[^\W_]|[@$|€£])(?![\w@/:])"
)
# Signs inside a word, or one or two figures in front of a longer rest. "5th", "15mm", "mp3", "$name",
# "@name", "name!r" and "this|that" are ordinary, and so is what turns into letters in no English order.
_INSIDE = re.compile(r"[^\W\d_](?!![ars]$)[0-9@$!€£]+[^\W\d_]|^\d{1,2}[^\W\d_]{3}")
_LEET_COST = 7.0
_SMALL_NUMBER = re.compile(r"\d{1,2}|\d*(?:[^\W\d_]|[@$!|€£]).*")


def leet(text: str) -> Iterator[Change]:
    """Words with figures and signs for letters, and others near them.

    A one is an I in the first variant and an L in the second.
    """
    if not _SIGN_AND_LETTER.search(text):
        return
    words = list(_WORD.finditer(text))
    sure = [word.start() for word in words if _is_leet(word[0])]
    if not sure:
        return
    near = [word for word in words if _SMALL_NUMBER.fullmatch(word[0]) and _is_near(word.start(), sure)]
    for variant, table in enumerate((_AS_I, _AS_L)):
        for word in near:
            yield Change(*word.span(), word[0].translate(table), variant)


def _is_leet(word: str) -> bool:
    said = word.translate(_AS_I)
    return (
        len(said) >= MIN_LENGTH
        and _INSIDE.search(word) is not None
        and said.isalpha()
        and looks_english(said, _LEET_COST)
    )


def _is_near(place: int, sure: list[int]) -> bool:
    at = bisect_left(sure, place)
    return any(abs(other - place) <= CONTEXT for other in sure[max(0, at - 1) : at + 1])


_UPRIGHT = str.maketrans(
    "ɐqɔpǝɟƃɥᴉɾʞlɯuodbɹsʇnʌʍxʎzıɓᵷןʃ∀ᗺƆᗡƎℲ⅁ſꓘ⅂ԀꝹᴚ⊥∩Λ⅄MW˙¿¡",
    "abcdefghijklmnopqrstuvwxyziggllABCDEFGJKLPQRTUVYWM.?!",
)
_TURNED = re.compile("[ɐɔǝɟƃɥᴉɾʞɯɹʇʌʍʎᗺᗡƎℲ⅁ꓘ⅂Ꝺᴚ⅄]")
_MIN_TURNED = 2


def upside_down(text: str) -> Iterator[Change]:
    """Lines with letters turned by half a circle, from the first word that has one to the last."""
    if text.isascii():
        return
    start = 0
    for line in text.splitlines(keepends=True):
        turned = [start + found.start() for found in _TURNED.finditer(line)]
        if len(turned) >= _MIN_TURNED:
            first = max(start, text.rfind(" ", start, turned[0]) + 1)
            last = text.find(" ", turned[-1], start + len(line))
            last = start + len(line.rstrip()) if last < 0 else last
            yield Change(first, last, text[first:last].translate(_UPRIGHT)[::-1])
            low, high = left_edge(text, first), right_edge(text, last)
            if (low, high) != (first, last):
                yield Change(low, high, text[low:high].translate(_UPRIGHT)[::-1], 1)
        start += len(line)


# Everything beyond Latin letters but punctuation, arrows, mathematical signs and pictures; of the symbols
# Braille and letters in circles, squares and flags.
_OTHER = (
    "[^\x00-\u024f\u2000-\u206f\u20a0-\u20ff\u2190-\u27ff\u2900-\u2bff\u3000-\u303f\ufe00-\ufe0f\uff00-\uff65"
)
_OTHER += "\ufff0-\uffff\U0001d400-\U0001d7ff\U0001f000-\U0001f0ff\U0001f200-\U0001faff\U000e0000-\U0010ffff]"
_SCRIPT = re.compile(rf"{_OTHER}+(?:[\s·・.'’-]{{1,3}}{_OTHER}+)*")
_MIN_LATIN = 3


def scripts(text: str) -> Iterator[Change]:
    """Words of scripts other than Latin, written as anyascii transliterates them; so are letters as symbols.

    A text in which such letters stand only one by one has none: "Δx" is ordinary.
    """
    if text.isascii():
        return
    changes = [Change(*found.span(), _transliterate(found[0])) for found in _SCRIPT.finditer(text)]
    if any(len(change.text) >= _MIN_LATIN and change.end - change.start > 1 for change in changes):
        yield from changes


def _transliterate(text: str) -> str:
    from anyascii import anyascii

    return anyascii(unicodedata.normalize("NFC", text)).strip()


_TAGS = re.compile("[\U000e0020-\U000e007e]{3,}")
_SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}")
_WIDTHLESS = re.compile("[\u200b-\u200d\u2060\ufeff]{28,}")


def invisible(text: str) -> Iterator[Change]:
    """Text in signs that show nothing: Unicode's tags, variation selectors as bytes, bits of zero width."""
    if text.isascii():
        return
    for found in _TAGS.finditer(text):
        yield Change(*found.span(), "".join(chr(ord(sign) - 0xE0000) for sign in found[0]))
    for found in _SELECTORS.finditer(text):
        said = as_text(bytes(_selected(ord(sign)) for sign in found[0]))
        if said:
            yield Change(*found.span(), said, 1)
    for found in _WIDTHLESS.finditer(text):
        for variant, said in enumerate(_from_bits(found[0]), start=2):
            yield Change(*found.span(), said, variant)


def _selected(point: int) -> int:
    return point - 0xFE00 if point < 0xFE10 else point - 0xE0100 + 16


def _from_bits(signs: str) -> Iterator[str]:
    """What two signs say as bits, whichever is the one."""
    kinds = sorted(set(signs))
    if len(kinds) != 2:
        return
    for zero, one in (kinds, kinds[::-1]):
        bits = signs.translate(str.maketrans(zero + one, "01"))
        said = as_text(bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits) - 7, 8)))
        if said:
            yield said
