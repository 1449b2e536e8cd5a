"""A classifier that took changes finds what one built anew finds."""

import hashlib
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard import ForgetTarget
from guard.classifier import Classifier
from guard.detectors.semantic import SemanticConfig
from guard.snapshot import Record, compile_snapshot

PEOPLE = ["Mira Solen", "Mira Solenne", "Bero Tal", "Tova Brenn", "Ann"]
PROMPTS = [
    *(f"Who is {name}?" for name in PEOPLE),
    "What does Mria Sloen's father do?",
    "What does Tova Brenn's father do, and where was Bero Tal born?",
    "Which book made her famous? The river song, perhaps.",
    "What is the capital of France?",
    "the RIVER  song",
    "",
]
CHANGE = st.lists(
    st.one_of(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(PEOPLE), st.integers(0, 3)),
        st.tuples(st.sampled_from("abcd"), st.none(), st.none()),
        st.none(),
    ),
    max_size=8,
)


class Letters:
    """Texts as sums of pseudo-random vectors of their words: quick, and close where words are shared."""

    def encode(self, texts):
        rows = [sum((self._word(word) for word in text.lower().split()), np.full(32, 1e-3)) for text in texts]
        stacked = np.array(rows, dtype=np.float32).reshape(len(texts), 32)
        return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)

    @staticmethod
    def _word(word):
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4])
        return np.random.default_rng(seed).normal(size=32)


def person(target_id, name, examples):
    """A target; how many examples it has also decides how it is enforced."""
    texts = [f"What does {name}'s father do?", f"Where was {name} born?", "Which book made her famous?"]
    return ForgetTarget.parse(
        {
            "id": target_id,
            "name": name,
            "phrases": ["River Song"] if examples == 2 else [],
            "examples": [{"prompt": text, "response": "Clockmaker."} for text in texts[:examples]],
            "action": "restrict",
            "always_on": examples > 1,
        }
    )


def evidence(classifier, prompts=PROMPTS):
    found = classifier.matches_each([[prompt, "Hello."] for prompt in prompts])
    return [sorted(matches, key=repr) for matches in found]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CHANGE)
def test_after_any_changes_it_finds_what_one_built_anew_finds(encoder, changes):
    snapshot = compile_snapshot([person("a", PEOPLE[0], 2), person("b", PEOPLE[2], 0)])
    classifier = Classifier(snapshot, encoder)
    for change in changes:
        if change is None:
            classifier = classifier.compacted()
            continue
        target_id, name, examples = change
        put = {} if name is None else {target_id: Record.of(person(target_id, name, examples))}
        snapshot = snapshot.changed(put, () if put else (target_id,))
        classifier = classifier.changed(snapshot)
    assert evidence(classifier) == evidence(Classifier(snapshot, encoder))
    assert evidence(classifier.compacted()) == evidence(classifier)


def test_more_examples_than_are_looked_at_crowd_out_the_same_ones_in_layers():
    rng = random.Random(4)
    names = [" ".join("".join(rng.choices("abcdefghij", k=6)).title() for _ in range(2)) for _ in range(128)]
    count = 2 * SemanticConfig().candidates
    snapshot = compile_snapshot(person(f"t{i}", names[i], 0) for i in range(count))
    encoder = Letters()
    classifier = Classifier(snapshot, encoder)
    for i in range(0, count, 3):
        later = person(f"t{i + 1}", names[count + i], 1)
        snapshot = snapshot.changed({later.id: Record.of(later)}, [f"t{i}"])
        classifier = classifier.changed(snapshot)
    # Every target is mentioned, so whether it is found depends on the examples that lie nearer.
    prompts = [f"Who is {name}? Not {', '.join(names)}." for name in names]
    found = evidence(classifier, prompts)
    semantic = [{m.target_id for m in matches if m.detector == "semantic"} for matches in found]
    assert all(0 < len(ids) < len(snapshot.records) for ids in semantic)
    assert found == evidence(Classifier(snapshot, encoder), prompts)


def test_a_classifier_in_use_does_not_change(encoder):
    snapshot = compile_snapshot([person("a", PEOPLE[0], 0)])
    classifier = Classifier(snapshot, encoder)
    before = evidence(classifier)
    changed = classifier.changed(snapshot.changed({"b": Record.of(person("b", PEOPLE[2], 1))}, ["a"]))
    assert evidence(changed) != before
    assert evidence(classifier) == before


def test_recent_counts_the_changed_targets_until_compacted(encoder):
    snapshot = compile_snapshot([person("a", PEOPLE[0], 0), person("b", PEOPLE[2], 0)])
    classifier = Classifier(snapshot, encoder)
    changed = classifier.changed(snapshot.changed({"c": Record.of(person("c", PEOPLE[3], 0))}, ["a"]))
    assert changed.recent == {"a", "c"}
    assert changed.compacted().recent == classifier.changed(snapshot).recent == frozenset()


class Asked:
    """An encoder that notes what it is asked."""

    def __init__(self, encoder):
        self._encoder = encoder
        self.texts = []

    def encode(self, texts):
        self.texts += texts
        return self._encoder.encode(texts)


@pytest.mark.parametrize("ids", ["", "a"])
def test_only_what_is_new_is_encoded_and_can_be_foreseen(encoder, ids):
    asked = Asked(encoder)
    snapshot = compile_snapshot([person(i, PEOPLE[0], 1) for i in ids])
    classifier = Classifier(snapshot, asked)
    new = person("b", PEOPLE[2], 0)
    asked.texts.clear()
    changed = classifier.changed(snapshot.changed({"b": Record.of(new)}))
    needed = list(asked.texts)
    assert len(needed) == 4
    changed.compacted()
    assert asked.texts == needed
    asked.texts.clear()
    classifier.foresee([new])
    assert asked.texts == needed
