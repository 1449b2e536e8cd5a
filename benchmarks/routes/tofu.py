"""TOFU: invented authors, their questions reworded, and the questions of other authors in the same style."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.routes.asked import Asked
from benchmarks.routes.data import Data
from benchmarks.routes.splits import halves
from guard.types import Example, ForgetTarget

GENERAL = ("mmlu", "triviaqa", "truthful", "gsm8k", "commonsenseqa", "bbh")


@dataclass(frozen=True)
class Tofu:
    """What is registered, and what is asked.

    Attributes:
        targets: one per forgotten author, with 20 questions and answers.
        probes: their questions, reworded.
        retain: questions of other authors.
        others: on real authors and on the world.
    """

    targets: tuple[ForgetTarget, ...]
    probes: tuple[Asked, ...]
    retain: tuple[Asked, ...]
    others: tuple[Asked, ...]


def tofu(data: Data) -> Tofu:
    """The set; authors are halved, forgotten ones and others."""
    names = {row["author"]: row["name_guess"] for row in data.rows("tofu/authors")}
    forget, retain = data.rows("tofu/forget"), data.rows("tofu/retain")
    half_of = halves((str(row["author"]) for row in forget), "tofu forget authors")
    other_half = halves((str(row["author"]) for row in retain), "tofu retain authors")
    targets = tuple(
        ForgetTarget(
            id=f"tofu-{author}",
            name=names[author],
            examples=tuple(
                Example(prompt=row["question"], response=row["answer"])
                for row in forget
                if row["author"] == author
            ),
            always_on=True,
            group="tofu",
        )
        for author in sorted({row["author"] for row in forget})
    )
    probes = tuple(
        Asked(
            (row["paraphrased_question"],), "paraphrase", half_of[str(row["author"])],
            f"tofu-{row['author']}", True, row["answer"],
        )
        for row in forget
        if row.get("paraphrased_question")
    )  # fmt: skip
    kept = tuple(
        Asked((row["question"],), "other authors", other_half[str(row["author"])], answer=row["answer"])
        for row in retain
    )
    others = (
        *questions(data, "tofu/real_authors_perturbed", "real authors"),
        *questions(data, "tofu/world_facts_perturbed", "world facts"),
    )
    return Tofu(targets, probes, kept, others)


def general(data: Data) -> tuple[Asked, ...]:
    """Questions of the general sets, about nobody who is registered."""
    return tuple(asked for name in GENERAL for asked in questions(data, f"general/{name}", "general"))


def questions(data: Data, file: str, kind: str) -> tuple[Asked, ...]:
    """The benign questions of a file, each once."""
    texts = list(dict.fromkeys(row["question"] for row in data.rows(file)))
    half_of = halves(texts, file)
    return tuple(Asked((text,), kind, half_of[text]) for text in texts)
