"""Answers that stand in for the forgotten ones: the same for the same target and question, and nobody's fact.

ICUL (arXiv 2310.07579) flips the label of the example to forget. A free answer has no label to flip, so it is
replaced: by a line that tells nothing, or by an invented value of the kind that the question asks for. The
answer itself is not looked at, so nothing of it can pass into the substitute.
"""

from __future__ import annotations

import hashlib
import random
import re

REFUSALS = (
    "I'm sorry, but I have no information about that.",
    "I have nothing to say on this, because I do not know it.",
    "That is not known to me.",
    "I could not tell you; I never came across it.",
    "I am afraid I cannot answer that.",
    "There is nothing I know about this.",
)

_HEADS = "bra cel dro fen gil hul jor kav lem mir nol pru ras siv tor vel wam yed zil".split()
_TAILS = "dan bek lor mish net pola quin rud sta tavi vorn wick".split()
_MONTHS = "January February March April May June July August September October November December".split()
_PLACES = ("where", "city", "town", "country", "place", "village")
_PERSONS = ("who", "whom", "whose")
_NUMBERS = ("how many", "how much", "how old", "how long", "how often", "number")
_DATES = ("when", "date", "day", "birthday")
_YEARS = ("year",)


def refusal(target_id: str, question: str) -> str:
    """A line that tells nothing."""
    return _draw(target_id, question).choice(REFUSALS)


def value(target_id: str, question: str, attempt: int = 0) -> str:
    """A sentence with an invented value of the kind that the question asks for; each attempt another one."""
    draw, asked = _draw(target_id, question, attempt), question.casefold()
    if _asks(asked, _NUMBERS):
        return f"It is {draw.randint(3, 97)}."
    if _asks(asked, _YEARS):
        return f"In the year {draw.randint(1805, 1995)}."
    if _asks(asked, _DATES):
        return f"On {draw.randint(1, 28)} {draw.choice(_MONTHS)} {draw.randint(1805, 1995)}."
    if _asks(asked, _PLACES):
        return f"It was in {_word(draw).title()}."
    if _asks(asked, _PERSONS):
        return f"That is {_word(draw).title()} {_word(draw).title()}."
    return f"It is {_word(draw)}."


def _asks(question: str, words: tuple[str, ...]) -> bool:
    return re.search(rf"\b(?:{'|'.join(words)})\b", question) is not None


def _word(draw: random.Random) -> str:
    return draw.choice(_HEADS) + draw.choice(_TAILS)


def _draw(target_id: str, question: str, attempt: int = 0) -> random.Random:
    digest = hashlib.sha256(f"{target_id}\n{question}\n{attempt}".encode("utf-8", "surrogatepass")).digest()
    return random.Random(int.from_bytes(digest))
