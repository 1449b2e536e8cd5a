"""Forbidden phrases of a target: the given ones, or those found in its examples by fixed rules.

GUARD (arXiv 2505.13312) has an instruction-following model extract them; rules are deterministic, need no
model and can be previewed before a target is registered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from guard.automaton import Phrase, Rule
from guard.encodings import encoded
from guard.normalize import Fold, fold
from guard.types import Boundary, ForgetTarget

MIN_CHARACTERS = 4  # shorter finds ("May", "12") hit too much ordinary text
SHORT_ANSWER = 12  # words

_WORD = r"[^\W\d_][\w'’.\-]*\w|[^\W\d_]"
_QUOTED = re.compile(r"[\"“«]([^\"“”«»]{2,120})[\"”»]")
_SINGLE_QUOTED = re.compile(r"(?<!\w)['‘]([^'‘’]{2,80})['’](?!\w)")
_DATE = re.compile(
    r"\b\d{1,4}[/.\-]\d{1,2}[/.\-]\d{1,4}\b"
    r"|\b\d{1,2}(?:st|nd|rd|th)?(?: of)? [A-Z][a-z]{2,8},?(?: \d{4})?\b"
    r"|\b[A-Z][a-z]{2,8} \d{1,2}(?:st|nd|rd|th)?,? \d{4}\b"
)
_NUMBER = re.compile(r"\b\d[\d,.]*\d\b")
# Capitalised words, joined by the small words that stand inside names and titles.
_CAPITALISED = re.compile(
    rf"(?:(?=[^\W\d_a-zß-öø-ÿ])(?:{_WORD}))(?:[ \-](?:(?:of|the|de|van|von|der|la|le|el|al|bin|and) )*"
    rf"(?=[^\W\d_a-zß-öø-ÿ])(?:{_WORD}))*"
)
_PLAIN_WORD = re.compile(r"[^\W\d_]+")
_FUNCTION_WORDS = """
the a an this that these those there here he she it they we you i his her its their our your my who what
when where why how which in on at by for from with without as of to and or but if while although because
since after before during through yes no not some many most much more other another one two three first
second january february march april may june july august september october november december monday
tuesday wednesday thursday friday saturday sunday english author father mother born both despite each
overall additionally however moreover growing being having known given also were was been have has had does
did will would could should than then them him about into over only very such just like made make makes said
"""
_STOP = frozenset(_FUNCTION_WORDS.split())


def forbidden_phrases(target: ForgetTarget) -> tuple[str, ...]:
    """Strings that no response to a request routed to the target may contain.

    Names and aliases of an entity, then the given phrases or, without any, the extracted ones. A name of
    another kind of target is a label and stays allowed.
    """
    return tuple(dict.fromkeys((*_named(target), *(target.phrases or extracted_phrases(target)))))


def always_forbidden(target: ForgetTarget) -> tuple[str, ...]:
    """Strings that an always-on target keeps out of every response.

    Extracted phrases join only when the target has nothing more distinctive, and never those that a neighbor
    needs: they are often plain facts (a city, a trade).
    """
    given = tuple(dict.fromkeys((*_named(target), *target.phrases)))
    if given:
        return given
    needed = " \n ".join(fold(text).text for n in target.neighbors for text in (n.prompt, n.response))
    return tuple(p for p in extracted_phrases(target) if fold(p).text not in needed)


def as_phrases(target: ForgetTarget, texts: Iterable[str]) -> list[Phrase]:
    """Forbidden strings of a target with its own way of comparing them, and their encoded forms."""
    matching = target.matching
    rule = Rule(matching.folding, matching.boundary)
    # A blank or a line end inside a code takes nothing from it. Marks alone are compared as they are.
    anywhere = Rule(frozenset({Fold.SPACING}), Boundary.NONE)
    phrases = []
    for text in texts:
        phrases.append(Phrase(text, rule, matching.beta))
        forms = encoded(text, matching.encodings) if matching.encodings else ()
        phrases += (
            Phrase(form.text, anywhere, verbatim=True) if form.exact else Phrase(form.text, rule)
            for form in forms
        )
    return phrases


def extracted_phrases(target: ForgetTarget) -> tuple[str, ...]:
    """What the example responses tell, apart from the target's names."""
    found: dict[str, None] = {}
    for example in target.examples:
        phrases = extract(example.response)
        found |= dict.fromkeys(phrases)
        within = " ".join(phrases)
        found |= dict.fromkeys(w for w in told_words(example.prompt, example.response) if w not in within)
    names = {fold(name).text for name in target.names}
    return tuple(phrase for phrase in found if fold(phrase).text not in names)


def told_words(prompt: str, response: str) -> list[str]:
    """Words by which a short answer goes beyond its question; there is the fact, capitalised or not.

    A long answer is mostly ordinary words, so nothing is taken from it.
    """
    words = _PLAIN_WORD.findall(response)
    if len(words) > SHORT_ANSWER:
        return []
    known = {fold(word).text for word in _PLAIN_WORD.findall(prompt)} | _STOP
    new = (word for word in words if len(word) >= MIN_CHARACTERS and fold(word).text not in known)
    return list(dict.fromkeys(new))


def _named(target: ForgetTarget) -> tuple[str, ...]:
    return target.names if target.kind == "entity" else ()


def extract(text: str) -> list[str]:
    """Quoted strings, dates, numbers and capitalised runs of a text, in the order of their appearance."""
    spans = [
        *(match.span(1) for pattern in (_QUOTED, _SINGLE_QUOTED) for match in pattern.finditer(text)),
        *(match.span() for pattern in (_DATE, _NUMBER) for match in pattern.finditer(text)),
        *_capitalised_spans(text),
    ]
    phrases = (text[start:end].strip(" .,;:!?'’") for start, end in _outermost(spans))
    return list(dict.fromkeys(p for p in phrases if len(p) >= MIN_CHARACTERS and p.lower() not in _STOP))


def _capitalised_spans(text: str) -> Iterable[tuple[int, int]]:
    """Capitalised runs; a word that only opens a sentence counts when more of the run follows it."""
    for match in _CAPITALISED.finditer(text):
        start, end = match.span()
        opens = not text[:start].rstrip("\"“'‘ ") or text[:start].rstrip("\"“'‘ ")[-1] in ".!?:\n"
        first, _, rest = match.group().partition(" ")
        if opens and not rest:
            continue
        if opens and first.lower() in _STOP:
            start += len(first) + 1
        if text[start:end].lower() not in _STOP:
            yield start, end


def _outermost(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans that lie in no other span, by position."""
    kept: list[tuple[int, int]] = []
    for start, end in sorted(set(spans), key=lambda s: (s[0], -s[1])):
        if not kept or end > kept[-1][1]:
            kept.append((start, end))
    return kept
