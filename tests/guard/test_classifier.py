"""A classifier that took changes finds what one built anew finds, and remembers no prompt."""

import gc
import random
import types
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import guard.classifier
from guard import ForgetTarget
from guard.calibration import DEFAULT, Calibration, Threshold
from guard.classifier import Classifier
from guard.detectors.semantic import SemanticConfig
from guard.snapshot import Record, compile_snapshot
from tests.guard.weighing import Words, weighing

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
MODEL = weighing(bias=-4.0, example=3.0, own_neighbor=-2.0, any_neighbor=-0.5, shared=4.0, own_contrast=-3.0)


def person(target_id, name, examples):
    """A target; how many examples it has also decides how it is enforced, and whether it has a scope."""
    texts = [f"What does {name}'s father do?", f"Where was {name} born?", "Which book made her famous?"]
    allowed = [f"Which film shows {name}?", "Where is Quillon?"]
    return ForgetTarget.parse(
        {
            "id": target_id,
            "name": name,
            "phrases": ["River Song"] if examples == 2 else [],
            "examples": [{"prompt": text, "response": "Clockmaker."} for text in texts[:examples]],
            "neighbors": [{"prompt": text} for text in allowed[2 - min(examples, 2) :]],
            "action": "restrict",
            "always_on": examples > 1,
        }
    )


def built(snapshot, encoder, **options):
    return Classifier(snapshot, encoder, relevance=options.pop("relevance", MODEL), **options)


def evidence(classifier, prompts=PROMPTS):
    """Matches, watched targets, and what came together against each, in an order of its own."""
    conversations = [[prompt, "Hello."] for prompt in prompts]
    routings = classifier.route_each(conversations)
    against = classifier.suspicions_each(conversations)
    return [
        (sorted(routing.matches, key=repr), sorted(routing.watched), weighed(each))
        for routing, each in zip(routings, against, strict=True)
    ]


def weighed(against):
    return {
        target_id: (
            one.named,
            one.repeated,
            [(round(logit, 3), seen.piece) for logit, seen in one.logits],
            one.scope and round(one.scope, 3),
        )
        for target_id, one in against.items()
    }


@settings(max_examples=15)
@given(CHANGE)
def test_after_any_changes_it_finds_what_one_built_anew_finds(changes):
    encoder = Words()
    snapshot = compile_snapshot([person("a", PEOPLE[0], 2), person("b", PEOPLE[2], 0)])
    classifier = built(snapshot, encoder)
    for change in changes:
        if change is None:
            classifier = classifier.compacted()
            continue
        target_id, name, examples = change
        put = {} if name is None else {target_id: Record.of(person(target_id, name, examples))}
        snapshot = snapshot.changed(put, () if put else (target_id,))
        classifier = classifier.changed(snapshot)
    found = evidence(classifier)
    assert found == evidence(built(snapshot, encoder))
    assert evidence(classifier.compacted()) == found


def test_more_examples_than_are_looked_at_crowd_out_the_same_ones_in_layers():
    rng = random.Random(4)
    count = 2 * SemanticConfig().candidates
    names = [
        " ".join("".join(rng.choices("abcdefghij", k=6)).title() for _ in "ab") for _ in range(2 * count)
    ]
    snapshot = compile_snapshot(person(f"t{i}", names[i], 1) for i in range(count))
    encoder = Words()
    classifier = built(snapshot, encoder)
    for i in range(0, count, 3):
        later = person(f"t{i + 1}", names[count + i], 1)
        snapshot = snapshot.changed({later.id: Record.of(later)}, [f"t{i}"])
        classifier = classifier.changed(snapshot)
    # All examples are alike, so which targets are looked at depends on those that lie nearer.
    prompts = [f"What does the father of {name} do?" for name in names[:24]]
    for against in classifier.suspicions_each([[prompt] for prompt in prompts]):
        near = [seen.near for one in against.values() for _, seen in one.logits]
        assert all(0 < len(one.targets) < len(snapshot.records) for one in near)
    assert evidence(classifier, prompts) == evidence(built(snapshot, encoder), prompts)


def test_a_classifier_in_use_does_not_change():
    snapshot = compile_snapshot([person("a", PEOPLE[0], 0)])
    classifier = built(snapshot, Words())
    before = evidence(classifier)
    changed = classifier.changed(snapshot.changed({"b": Record.of(person("b", PEOPLE[2], 1))}, ["a"]))
    assert evidence(changed) != before
    assert evidence(classifier) == before


def test_recent_counts_the_changed_targets_until_compacted():
    snapshot = compile_snapshot([person("a", PEOPLE[0], 0), person("b", PEOPLE[2], 0)])
    classifier = built(snapshot, Words())
    changed = classifier.changed(snapshot.changed({"c": Record.of(person("c", PEOPLE[3], 0))}, ["a"]))
    assert changed.recent == {"a", "c"}
    assert changed.compacted().recent == classifier.changed(snapshot).recent == frozenset()


@pytest.mark.parametrize("ids", ["", "a"])
def test_only_prompts_that_are_new_are_encoded_and_can_be_foreseen(ids):
    encoder = Words()
    snapshot = compile_snapshot([person(i, PEOPLE[0], 1) for i in ids])
    classifier = built(snapshot, encoder)
    new = person("b", PEOPLE[2], 2)
    encoder.calls.clear()
    changed = classifier.changed(snapshot.changed({"b": Record.of(new)}))
    needed = {text for call in encoder.calls for text in call}
    assert needed == {one.prompt for one in (*new.examples, *new.neighbors)}
    encoder.calls.clear()
    changed.compacted()
    assert not any(encoder.calls)
    classifier.foresee([new])
    assert {text for call in encoder.calls for text in call} == needed


def test_many_prompts_take_one_encoder_call_and_remembered_ones_none():
    encoder = Words()
    classifier = built(compile_snapshot([person("a", PEOPLE[0], 1)]), encoder)
    encoder.calls.clear()
    prompts = [[prompt, "And then? " * 20] for prompt in PROMPTS]
    first = classifier.route_each([*prompts, *prompts])
    assert len(encoder.calls) == 1
    assert first[: len(prompts)] == first[len(prompts) :]
    again = classifier.route_each(prompts[::-1])
    assert [classifier.route(prompt) for prompt in prompts] == again[::-1] == first[: len(prompts)]
    assert len(encoder.calls) == 1


def test_a_remembered_routing_is_the_same_as_a_fresh_one_and_of_those_messages_alone():
    snapshot = compile_snapshot([person("a", PEOPLE[0], 1), person("b", PEOPLE[2], 2)])
    classifier = built(snapshot, Words())
    prompts = [[prompt] for prompt in PROMPTS] + [
        ["Mira", "Solen"],
        ["Mira Solen"],
        ["Mira", " Solen", ""],
        [],
    ]
    fresh = [built(snapshot, Words()).route(prompt) for prompt in prompts]
    assert [classifier.route(prompt) for prompt in prompts] == fresh
    assert [classifier.route(prompt) for prompt in prompts] == fresh
    assert any(routing.matches for routing in fresh) and not all(routing.matches for routing in fresh)


def test_no_more_routings_are_remembered_than_said(monkeypatch):
    monkeypatch.setattr(guard.classifier, "REMEMBERED", 3)
    encoder = Words()
    classifier = built(compile_snapshot([person("a", PEOPLE[0], 1)]), encoder)
    prompts = [[f"Who is number {i} of them?"] for i in range(4)]
    classifier.route_each(prompts)
    encoder.calls.clear()
    classifier.route_each(prompts[1:])
    assert not encoder.calls
    classifier.route(prompts[0])
    assert len(encoder.calls) == 1


class _Deaf(Words):
    """An encoder that keeps nothing either."""

    def encode(self, texts):
        vectors = super().encode(texts)
        self.calls.clear()
        return vectors


def held_text(root):
    """Every string that can be reached from an object, but not through code."""
    code = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.FrameType)
    queue, seen = [root], set()
    while queue:
        one = queue.pop()
        if id(one) in seen or isinstance(one, code):
            continue
        seen.add(id(one))
        if isinstance(one, str):
            yield one
        queue += gc.get_referents(one)


def test_a_remembered_routing_keeps_no_text_of_the_prompt():
    classifier = built(compile_snapshot([person("a", PEOPLE[0], 1)]), _Deaf())
    secret = "".join(random.Random(7).choices("qwxyzk", k=12))
    routing = classifier.route([f"Who is Mira Solen to {secret}? Where is {secret}?", f"It was {secret}."])
    assert routing.target_ids == ("a",)
    texts = list(held_text(classifier))
    assert any("Mira Solen" in text for text in texts)  # the targets are there
    assert not any(secret in text for text in texts)


class _Later(datetime):
    """A clock an hour ahead."""

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(hours=1)


def test_a_target_that_expires_vanishes_from_remembered_and_new_routings(monkeypatch):
    soon = datetime.now(UTC) + timedelta(minutes=30)
    about = {"prompt": "How is leather tanned with oak bark?"}
    targets = [
        ForgetTarget.parse({"id": "named", "name": "Mira Solen", "expires_at": soon}),
        ForgetTarget.parse({"id": "near", "kind": "topic", "examples": [about], "expires_at": soon}),
        ForgetTarget.parse({"id": "stays", "name": "Mira Solen"}),
    ]
    only_watch = weighing(bias=-0.5, threshold=50.0, watch=0.0, shared=1.0)
    classifier = Classifier(compile_snapshot(targets), Words(), relevance=only_watch)
    prompt = ["Tell me about Mira Solen.", "How was leather tanned with oak bark?"]
    before = classifier.route(prompt)
    assert (set(before.target_ids), before.watched) == ({"named", "stays"}, ("near",))
    monkeypatch.setattr(guard.classifier, "datetime", _Later)
    for asked in (prompt, [*prompt, "Thanks."]):
        after = classifier.route(asked)
        assert (set(after.target_ids), after.watched) == ({"stays"}, ())


def thresholds(**values):
    made = {group: Threshold(value, 0.01, 100, "") for group, value in values.items()}
    return Calibration(made, "detectors", "snapshot")


def test_a_calibration_makes_a_threshold_stricter_but_never_laxer():
    grouped = person("b", PEOPLE[2], 1).model_copy(update={"group": "writers"})
    snapshot = compile_snapshot([person("a", PEOPLE[0], 1), grouped])
    classifier = built(snapshot, Words(), relevance=weighing(threshold=0.5, watch=-1.0))
    assert classifier.bars("a").statistic == classifier.bars("b").statistic == 1.5
    given = thresholds(**{DEFAULT: 1.0, "writers": 4.0})
    stricter = classifier.calibrated(given)
    assert (stricter.bars("a").statistic, stricter.bars("b").statistic) == (1.5, 4.0)
    changed = stricter.changed(snapshot.changed({}, ["a"]))
    assert changed.bars("b").statistic == changed.compacted().bars("b").statistic == 4.0
    assert stricter.calibrated(None).bars("b").statistic == 1.5


def test_a_calibration_applies_to_prompts_that_were_remembered_without_it():
    prompt = ["What does the father of that woman do?"]
    target = person("a", PEOPLE[0], 1)
    open_model = weighing(bias=0.0, threshold=1.0, watch=0.0, shared=4.0)
    classifier = built(compile_snapshot([target]), Words(), relevance=open_model)
    assert classifier.route(prompt).target_ids == ("a",)
    stricter = classifier.calibrated(thresholds(**{DEFAULT: 50.0}))
    assert (stricter.route(prompt).target_ids, stricter.route(prompt).watched) == ((), ("a",))
