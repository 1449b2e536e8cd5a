"""The classifier on real TOFU rows; skipped where the benchmark data is absent."""

import json
import os
import random
from pathlib import Path

import pytest

from guard import ForgetTarget
from guard.classifier import Classifier
from guard.snapshot import compile_snapshot

DATA = Path(os.environ.get("LETHE_DATA", "../shared/data")) / "tofu"
ABSENT = f"{DATA} is absent; LETHE_DATA names the data folder"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=ABSENT)


def read(name):
    with (DATA / name).open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def classifier(encoder):
    names = {row["author"]: row["name_guess"] for row in read("authors.jsonl")}
    rows = [row for row in read("forget.jsonl") if "forget05" in row["forget_splits"]]
    targets = [
        ForgetTarget.parse(
            {
                "id": str(author),
                "name": names[author],
                "examples": [
                    {"prompt": r["question"], "response": r["answer"]} for r in rows if r["author"] == author
                ],
            }
        )
        for author in dict.fromkeys(row["author"] for row in rows)
    ]
    return Classifier(compile_snapshot(targets), encoder)


def flagged(classifier, questions):
    return [bool(matches) for matches in classifier.matches_each([[q] for q in questions])]


def test_questions_and_paraphrases_about_forget_authors_are_routed(classifier):
    rows = [row for row in read("forget.jsonl") if "forget05" in row["forget_splits"]]
    assert all(flagged(classifier, [row["question"] for row in rows]))
    paraphrases = [row["paraphrased_question"] for row in rows if "paraphrased_question" in row]
    hits = flagged(classifier, paraphrases)
    assert sum(hits) >= 0.95 * len(hits)


def test_questions_about_other_authors_are_left_alone(classifier):
    # Drawn at random: an author has 20 questions, of which the first often names nobody.
    questions = random.Random(1).sample([row["question"] for row in read("retain.jsonl")], 300)
    hits = flagged(classifier, questions)
    assert sum(hits) <= 0.01 * len(hits)
