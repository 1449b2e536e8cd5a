"""Encodings that have a sign or a word for each letter: Morse code and the spelling alphabet."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from guard.encodings.forms import Encoded, alphanumeric, folded

# "Sierra Alpha Mike" is a call sign; three Morse letters are a row of dots or a rule of dashes.
MIN_LETTERS = 4
MIN_MARKS = 8  # dots and dashes, of both kinds: ". . . ." is a leader and "--- --- ---" a table

# Letters and figures of ITU-R M.1677-1.
_CODES = """
.- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..
----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----.
"""
_MORSE = dict(zip("abcdefghijklmnopqrstuvwxyz0123456789", _CODES.split(), strict=True))
# Its accented e and the punctuation that stands in names; letters with accents that are in use beside it.
_MORE_CODES = "..-.. .----. .----. -....- .-.-.- --..-- .-.- ---. ..-- .--.- .--.- -.-.. .-..- --.--"
_MORSE_MORE = _MORSE | dict(zip("é'’-.,äöüàåçèñ", _MORE_CODES.split(), strict=True))
# Marks, and what stands between words where those are used.
_STYLES = ((".-", (" / ", "/", "   ", "  ")), ("·−", (" / ", "   ")), ("·-", (" / ", "   ")))

# ICAO's words, with the spellings that are more common outside aviation.
_NATO = {
    word[0].lower(): word.split("|")
    for word in (
        "Alfa|Alpha Bravo Charlie Delta Echo Foxtrot Golf Hotel India Juliett|Juliet Kilo Lima Mike November "
        "Oscar Papa Quebec Romeo Sierra Tango Uniform Victor Whiskey|Whisky X-ray|Xray Yankee Zulu"
    ).split()
}
_FIGURES = {
    figure: [word, figure]
    for figure, word in zip(
        "0123456789", "Zero One Two Three Four Five Six Seven Eight Nine".split(), strict=True
    )
}
_WORDS = _NATO | _FIGURES
_SPELT = ("{word}", "{letter} {word}", "{letter} as in {word}")


def morse(phrase: str) -> Iterator[Encoded]:
    """Morse code, a space between letters and a wider gap between words, in ASCII and typographic signs.

    Folding takes dots and dashes for punctuation, so the forms are exact. They count anywhere: a phrase can
    be met in another word if the codes of its outer letters are parts of other codes, as "-." of "--.".
    """
    lowered = phrase.lower().split()
    readings = (
        [[_MORSE_MORE.get(char) or _MORSE.get(folded(char), "") for char in word] for word in lowered],
        [[_MORSE.get(char, "") for char in alphanumeric(folded(word))] for word in lowered],
        [[_MORSE.get(char, "") for char in word] for word in folded(phrase).split()],
    )
    for words in readings:
        codes = [code for word in words for code in word]
        if not (all(codes) and len(codes) >= MIN_LETTERS and _distinctive("".join(codes))):
            continue
        for marks, gaps in _STYLES:
            signs = str.maketrans(".-", marks)
            for gap in gaps:
                yield Encoded(gap.join(" ".join(word) for word in words).translate(signs), True)


def _distinctive(marks: str) -> bool:
    return len(marks) >= MIN_MARKS and "." in marks and "-" in marks


def nato(phrase: str) -> Iterator[Encoded]:
    """The words of the spelling alphabet, alone or each after its letter: "Mike", "M - Mike", "M as in Mike".

    Figures are read out or left as they are. Of "Alfa" and "Alpha" one is used throughout, and of the other
    words with two spellings either the first or the second of each.
    """
    spelt = alphanumeric(folded(phrase))
    if len(spelt) < MIN_LETTERS or not any(map(str.isalpha, spelt)) or not _WORDS.keys() >= set(spelt):
        return
    for alfa, others, figures in product(range(2), repeat=3):
        choice = {"a": alfa} | dict.fromkeys(_FIGURES, figures)
        words = [_WORDS[char][choice.get(char, others) % len(_WORDS[char])] for char in spelt]
        if spelt[-1].isalpha():  # the first letter of the last word says it already
            yield Encoded(" ".join([*words[:-1], spelt[-1].upper()]), False)
        for shape in _SPELT:
            pairs = zip(spelt, words, strict=True)
            yield Encoded(" ".join(shape.format(letter=char, word=word) for char, word in pairs), False)
