"""Fuzzed texts through folding and the hold-back filter: does anything crash, does anything leak?

Each text is noise with a forbidden phrase planted in it under a random disguise, cut into random pieces.
Three things must hold: nothing raises, the planted string is never released whole, and what is released does
not hold a phrase to a plain reading, letter by letter. A filter that releases everything (do nothing) and one
that releases nothing (block everything) stand beside it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from guard.automaton import Automaton, Rule
from guard.escapes import Unescaper
from guard.normalize import PHRASES, fold, fold_char
from guard.response import ResponseFilter
from guard.types import Boundary

RESULTS = Path(__file__).parent / "results" / "fuzz.json"
SEED = 20
FORBIDDEN = ("Mira Solen", "Ilvar Tesk Moren", "12 May 1974", "Zoë Ångström", "東京タワー", "Ivan Petrov")
RULE = Rule(PHRASES, Boundary.NONE)
LOOK_ALIKE = str.maketrans("aeopcxyiSTMI", "аеорсхуіЅТМІ")
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f"
NOISE = 'abc MiraSolen12IvPt.,-_/\\u0x\n\t"{}é東ß🙂\u200b\u0301\ud83d'

Disguise = Callable[[str, random.Random], str]


def _each(change: Callable[[str, random.Random], str]) -> Disguise:
    """A disguise of some letters, chosen at random."""
    return lambda text, draw: "".join(change(c, draw) if draw.random() < 0.6 else c for c in text)


def _wide(char: str, _: random.Random) -> str:
    return chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char


def _escaped(char: str, draw: random.Random) -> str:
    if ord(char) > 0xFFFF or char == " ":
        return char
    return f"\\u{ord(char):04x}" if ord(char) > 255 or draw.random() < 0.7 else f"\\x{ord(char):02X}"


DISGUISES: dict[str, Disguise] = {
    "plain": lambda text, draw: text,
    "case": _each(lambda c, draw: c.swapcase() if len(c.swapcase()) == 1 else c),
    "width": _each(_wide),
    "look-alikes": _each(lambda c, draw: c.translate(LOOK_ALIKE)),
    "invisible": _each(lambda c, draw: c + draw.choice(INVISIBLE)),
    "accents": _each(lambda c, draw: c + draw.choice("\u0301\u0308\u0327") if c.isalpha() else c),
    "decomposed": lambda text, draw: unicodedata.normalize("NFD", text),
    "separators": lambda text, draw: "".join(
        draw.choice([" ", "  ", "-", "\n", " . ", "_"]) if c == " " else c for c in text
    ),
    "escapes": _each(_escaped),
}


def planted(draw: random.Random) -> tuple[str, str, str]:
    """A text, the disguised phrase in it, and the name of the disguise."""
    name = draw.choice(list(DISGUISES))
    phrase = DISGUISES[name](draw.choice(FORBIDDEN), draw)
    if name != "escapes" and draw.random() < 0.3:  # an escape that is changed again says nothing
        name, phrase = "two at once", draw.choice(list(DISGUISES.values()))(phrase, draw)
    return noise(draw) + " " + phrase + " " + noise(draw), phrase, name


def noise(draw: random.Random) -> str:
    """Letters, marks, broken escapes, halves of characters, and beginnings of phrases."""
    letters = "".join(draw.choices(NOISE, k=draw.randint(0, 12)))
    phrase = draw.choice(FORBIDDEN)
    return letters + (phrase[: draw.randint(0, len(phrase) - 1)] if draw.random() < 0.3 else "")


def cut(text: str, draw: random.Random) -> list[str]:
    """The text in pieces, as a stream brings it."""
    places = sorted({0, len(text), *(draw.randint(0, len(text)) for _ in range(draw.randint(0, 6)))})
    return [text[a:b] for a, b in itertools.pairwise(places)]


def holds(text: str) -> bool:
    """True if a phrase stands in the text or in what it says, read letter by letter."""
    reader = Unescaper()
    said = "".join(piece.said for piece in reader.read(text)) + reader.pending
    return any(phrase in plain for plain in (_plain(text), _plain(said)) for phrase in _PLAIN)


def _plain(text: str) -> str:
    return " ".join("".join(map(_letter, text)).split())


@cache
def _letter(char: str) -> str:
    return fold_char(char, RULE.folding)


_PLAIN = [_plain(phrase) for phrase in FORBIDDEN]


def run(
    count: int, release: Callable[[Sequence[str]], str], advance: Callable[[int], None]
) -> dict[str, Any]:
    """Crashes, leaks and characters lost over ``count`` texts."""
    draw, started = random.Random(SEED), time.perf_counter()
    found: dict[str, Any] = {"texts": count, "crashes": 0, "leaks": 0, "caught": 0, "by_disguise": {}}
    for number in range(count):
        text, phrase, name = planted(draw)
        pieces = cut(text, draw)
        try:
            fold(text, PHRASES)
            released = release(pieces)
        except Exception:
            found["crashes"] += 1
            continue
        leaked = phrase in released or holds(released)
        found["leaks"] += leaked
        found["caught"] += not leaked
        if leaked:
            found["by_disguise"][name] = found["by_disguise"].get(name, 0) + 1
        if number % 2048 == 0:
            advance(2048)
    return found | {"seconds": round(time.perf_counter() - started, 1)}


def main() -> None:
    """Runs the fuzzer and both baselines, prints and writes what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    count = parser.parse_args().count
    automata = (Automaton.build(FORBIDDEN, RULE),)

    def guarded(pieces: Sequence[str]) -> str:
        response = ResponseFilter(automata)
        return "".join([response.feed(piece) for piece in pieces]) + response.finish()

    guarded(["compiled"])
    forms: dict[str, tuple[int, Callable[[Sequence[str]], str]]] = {
        "guard": (count, guarded),
        "do nothing": (count // 100, "".join),
        "block everything": (count // 100, lambda pieces: ""),
    }
    rows = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for name, (texts, release) in forms.items():
            task = progress.add_task(name, total=texts)
            rows[name] = run(texts, release, lambda done, task=task: progress.advance(task, done))
    RESULTS.write_text(json.dumps({"seed": SEED, "forms": rows}, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
