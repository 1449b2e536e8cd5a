"""KnowUnDo: invented people of whom some facts are to be forgotten and others kept (arXiv 2407.01920).

Names do not tell them apart, since both kinds of questions have them. Protocol A registers half of the rows
and asks the other half. Protocol B registers all rows to be forgotten and asks them reworded mechanically,
beside the half of the kept rows that was not registered.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmarks.routes.asked import Asked
from benchmarks.routes.data import Data, Row
from benchmarks.routes.splits import SEED, halves
from benchmarks.routes.trial import Trial
from guard.types import Example, ForgetTarget

SPLITS = (SEED, SEED + 1, SEED + 2)  # seeds of protocol A
NAMELESS = "knowundo-nameless"
KEPT = frozenset({"kept rows"})
_CAPITALISED = re.compile(r"[^\W\d_a-z][\w’'.-]+(?: [^\W\d_a-z][\w’'.-]+)+")
_OWNER = re.compile(r"['’]s$")
_FEWEST = 5  # rows that a name is in
_CONTRACTIONS = {"What is": "What's", "Who is": "Who's", "Where is": "Where's", "How is": "How's"}

REWORDINGS: dict[str, Callable[[str], str]] = {
    "polite": lambda q: f"Hello! Could you please help me with a question? {q} Thanks a lot.",
    "prefix": lambda q: f"I need to know this for a form that I am filling in: {q}",
    "suffix": lambda q: f"{q} Give me only the answer, in one short line.",
    "lower case": lambda q: q.lower(),
    "upper case": lambda q: q.upper(),
    "contraction": lambda q: _contracted(q),
    "indirect": lambda q: f'A friend asked me today: "{q.rstrip("?")}". What should I say?',
}


def protocol_a(data: Data, seed: int) -> Trial:
    """Half of the rows registered, the other half asked."""
    forget, keep = data.rows("knowundo/unlearn_train"), data.rows("knowundo/retention_train")
    people = _people([*forget, *keep])
    registered, asked = _split(forget, "forget", seed)
    allowed, left = _split(keep, "kept", seed)
    return Trial(
        f"knowundo_a_{seed}",
        "KnowUnDo A: half of the rows registered, asked the other half",
        _targets(registered, allowed, people),
        (*_asked(asked, people, "forgotten rows", True), *_asked(left, people, "kept rows", False)),
        KEPT,
    )


def protocol_b(data: Data) -> Trial:
    """All rows to be forgotten registered and asked in other words; half of the kept rows asked."""
    forget, keep = data.rows("knowundo/unlearn_train"), data.rows("knowundo/retention_train")
    people = _people([*forget, *keep])
    allowed, left = _split(keep, "kept", SEED)
    registered = {row["question"] for row in forget}
    reworded = [
        asked
        for kind, reword in REWORDINGS.items()
        for asked in _asked(
            [row | {"question": reword(row["question"])} for row in forget], people, kind, True, forget
        )
        if asked.segments[0] not in registered  # many a question has nothing to contract
    ]
    return Trial(
        "knowundo_b",
        "KnowUnDo B: all rows to be forgotten registered, asked in mechanical rewordings",
        _targets(forget, allowed, people),
        (*reworded, *_asked(left, people, "kept rows", False)),
        KEPT,
    )


def oracle(data: Data, fpr: float) -> float:
    """Recall, at a false positive rate, of who knows how often each form of question is to be forgotten.

    Forms have no names. On those that are in both files no router that reads questions alone can do better.
    """
    forget, keep = data.rows("knowundo/unlearn_train"), data.rows("knowundo/retention_train")
    people = _people([*forget, *keep])
    gone, left = (Counter(_form(row, people) for row in rows) for rows in (forget, keep))
    budget, found = fpr * len(keep), 0.0
    for form in sorted(gone, key=lambda form: left[form] / gone[form]):
        share = min(1.0, budget / left[form]) if left[form] else 1.0
        found += share * gone[form]
        budget -= share * left[form]
    return found / len(forget)


def _people(rows: Iterable[Row]) -> list[str]:
    """Names: capitalised runs that are in several questions; longer ones first."""
    found: Counter[str] = Counter()
    for row in rows:
        found.update({_OWNER.sub("", run) for run in _CAPITALISED.findall(row["question"])})
    return sorted((name for name, times in found.items() if times >= _FEWEST), key=lambda name: -len(name))


def _person(row: Row, people: Sequence[str]) -> str:
    """The person that a row is about; "" if it names none."""
    for text in (row["question"], row["answer"]):
        for name in people:
            if name in text:
                return name
    return ""


def _form(row: Row, people: Sequence[str]) -> str:
    text = row["question"]
    for part in (name := _person(row, people), *name.split()):
        text = text.replace(part, "_") if part else text
    return " ".join(text.lower().split())


def _split(rows: Sequence[Row], purpose: str, seed: int) -> tuple[list[Row], list[Row]]:
    half = halves((str(row["row"]) for row in rows), f"knowundo {purpose}", seed)
    return [r for r in rows if not half[str(r["row"])]], [r for r in rows if half[str(r["row"])]]


def _targets(forget: Sequence[Row], keep: Sequence[Row], people: Sequence[str]) -> tuple[ForgetTarget, ...]:
    """One target per person of whom something is forgotten; one without a name for rows that name nobody."""
    gone, left = _by_person(forget, people), _by_person(keep, people)
    return tuple(
        ForgetTarget(
            id=_id(name, people), name=name or None, examples=tuple(gone[name]), neighbors=tuple(left[name]),
            group="knowundo",
        )
        for name in sorted(gone)
    )  # fmt: skip


def _by_person(rows: Sequence[Row], people: Sequence[str]) -> Mapping[str, list[Example]]:
    found: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        found[_person(row, people)].append(Example(prompt=row["question"], response=row["answer"]))
    return found


def _asked(
    rows: Sequence[Row], people: Sequence[str], kind: str, forget: bool, named: Sequence[Row] = ()
) -> list[Asked]:
    half = halves((str(row["row"]) for row in rows), f"knowundo tested, {forget}")
    return [
        Asked((row["question"],), kind, half[str(row["row"])], _id(_person(of, people), people), forget)
        for row, of in zip(rows, named or rows, strict=True)
    ]


def _id(name: str, people: Sequence[str]) -> str:
    return f"knowundo-{people.index(name)}" if name else NAMELESS


def _contracted(question: str) -> str:
    for long, short in _CONTRACTIONS.items():
        question = question.replace(long, short)
    return question
