import json

import pytest

from guard import Action, ForgetTarget
from guard.classifier import Classifier
from guard.incontext import InContext
from guard.pipeline import Forms, Pipeline
from guard.snapshot import compile_snapshot
from tests.guard.weighing import weighing

ALIKE = weighing(bias=-8.0, example=8.0, shared=4.0)
WATCHFUL = weighing(bias=-8.0, example=8.0, shared=4.0, threshold=50.0)


@pytest.fixture
def build(encoder):
    def made(*targets, relevance=ALIKE, **options):
        snapshot = compile_snapshot(targets)
        return Pipeline(snapshot, Classifier(snapshot, encoder, relevance=relevance), **options)

    return made


def acting(target, action, **changes):
    return target.model_copy(update={"action": action, **changes})


QUESTION = ["You are helpful.", "Who was the father of Mira Solen?"]
ANSWER = "Her father was a Clockmaker from there."
NAMELESS = ["Which book made her famous?"]  # names nobody, but is much like an example


def test_strongest_action_wins(build, mira):
    pipeline = build(acting(mira, "observe"), acting(mira, "refuse", id="b"), acting(mira, "rewrite", id="c"))
    verdict = pipeline.inspect(QUESTION)
    assert verdict.action is Action.REFUSE
    assert set(verdict.target_ids) == {"mira", "b", "c"}
    assert {m.segment for m in verdict.matches} == {1}


@pytest.mark.parametrize(
    ("action", "rewritten", "carried_out", "released"),
    [
        ("observe", False, "observe", ANSWER),
        ("rewrite", False, "restrict", "Her father was a "),
        ("rewrite", True, "rewrite", "Her father was a "),
        ("restrict", False, "restrict", "Her father was a "),
        ("steer", False, "restrict", "Her father was a "),
        ("refuse", False, "refuse", None),
    ],
)
def test_plan_follows_the_action(build, mira, action, rewritten, carried_out, released):
    pipeline = build(acting(mira, action))
    plan = pipeline.plan(pipeline.inspect(QUESTION), rewritten=rewritten)
    assert plan.action == carried_out
    if released is None:
        assert plan.refusal == pipeline.forms.refusal
    else:
        response_filter = pipeline.response_filter(plan)
        assert response_filter.feed(ANSWER) + response_filter.finish() == released


def test_observe_restricts_nothing_even_beside_an_enforcing_target(build, mira):
    other = ForgetTarget.parse({"id": "o", "name": "Mira Solen", "kind": "topic", "action": "restrict"})
    pipeline = build(acting(mira, "observe"), other)
    plan = pipeline.plan(pipeline.inspect(QUESTION))
    assert plan.restriction.target_ids == ("o",)


def test_unconcerned_prompt_passes_untouched(build, mira):
    verdict, released = build(mira).release(["Who was the father of Bero Tal?"], ANSWER)
    assert (verdict.action, verdict.matches, released) == (Action.ALLOW, (), ANSWER)


def test_always_on_target_is_kept_out_of_unrouted_answers(build, mira):
    _, released = build(acting(mira, "restrict", always_on=True)).release(
        ["Name a writer."], "One is Mira Solen."
    )
    assert released == "One is "


def test_a_watched_target_joins_the_restriction_and_leaves_the_action_alone(build, mira):
    verdict = build(mira, relevance=WATCHFUL).inspect(NAMELESS)
    assert (verdict.action, verdict.matches, verdict.watched) == (Action.ALLOW, (), ("mira",))
    plan = build(mira, relevance=WATCHFUL).plan(verdict)
    assert (plan.action, plan.refusal, plan.restriction.target_ids) == (Action.ALLOW, None, ("mira",))


@pytest.mark.parametrize("action", ["rewrite", "restrict", "steer", "refuse"])
def test_a_watched_target_is_cut_out_of_the_response_and_nothing_else(build, mira, action):
    pipeline = build(acting(mira, action), relevance=WATCHFUL)
    assert pipeline.release(NAMELESS, "It was The Glass Orchard, I think.")[1] == "It was "
    assert pipeline.release(NAMELESS, "It was a novel, I think.")[1] == "It was a novel, I think."
    assert (
        pipeline.release(["How is the weather?"], "Read The Glass Orchard.")[1] == "Read The Glass Orchard."
    )


def test_a_target_that_is_only_observed_is_watched_without_being_cut_out(build, mira):
    verdict, released = build(acting(mira, "observe"), relevance=WATCHFUL).release(
        NAMELESS, "It was The Glass Orchard."
    )
    assert (verdict.action, verdict.watched, released) == (
        Action.ALLOW,
        ("mira",),
        "It was The Glass Orchard.",
    )


def test_a_watched_target_stands_beside_a_concerned_one(build, mira):
    named = ForgetTarget.parse({"id": "bero", "name": "Bero Tal", "action": "restrict"})
    verdict, released = build(mira, named, relevance=WATCHFUL).release(
        ["Who is Bero Tal?", *NAMELESS], "It was The Glass Orchard."
    )
    assert (verdict.action, verdict.target_ids, verdict.watched) == (Action.RESTRICT, ("bero",), ("mira",))
    assert released == "It was "


def test_the_verdict_says_which_targets_are_watched(build, mira):
    verdict = build(mira, relevance=WATCHFUL).inspect(NAMELESS)
    assert json.loads(json.dumps(verdict.to_json()))["watched"] == ["mira"]


def test_forms_decide_how_a_refusal_reads(build, mira):
    open_form, closed_form = Forms(), Forms(disclose=False)
    assert build(acting(mira, "refuse"), forms=open_form).release(QUESTION, ANSWER)[1] == open_form.refusal
    assert (
        build(acting(mira, "refuse"), forms=closed_form).release(QUESTION, ANSWER)[1] == closed_form.neutral
    )
    assert (open_form.finish_reason, closed_form.finish_reason) == ("content_filter", "stop")


def test_broken_detector_fails_closed_and_is_reported(mira, encoder):
    class Broken:
        def encode(self, texts):
            if any("father of" in t for t in texts):
                raise RuntimeError("encoder gone")
            return encoder.encode(texts)

    snapshot, seen = compile_snapshot([mira]), []
    pipeline = Pipeline(snapshot, Classifier(snapshot, Broken(), relevance=ALIKE), on_error=seen.append)
    verdict, released = pipeline.release(["Who was the father of Bero Tal?"], ANSWER)
    assert (verdict.action, verdict.error) == (Action.REFUSE, "RuntimeError")
    assert released == pipeline.forms.refusal
    assert [str(e) for e in seen] == ["encoder gone"]


def test_verdict_serialises_without_any_text(build, mira):
    verdict = build(mira).inspect(QUESTION)
    written = json.dumps(verdict.to_json())
    assert json.loads(written)["action"] == "restrict"
    assert "Solen" not in written


def test_rewrite_adds_names_only_and_keeps_the_users_words(build, mira):
    pipeline = build(acting(mira, "rewrite"))
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": QUESTION[1]}]
    rewritten = pipeline.rewrite(messages, pipeline.inspect([m["content"] for m in messages])).messages
    assert rewritten[1:] == messages[1:]
    assert rewritten[0]["content"].startswith("Be kind.\n")
    assert "Mira Solen" in rewritten[0]["content"]
    assert not any(e.response in rewritten[0]["content"] for e in mira.examples)


def test_rewrite_without_system_message_puts_one_first(build, mira):
    pipeline = build(acting(mira, "rewrite"))
    messages = [{"role": "user", "content": [{"type": "text", "text": QUESTION[1]}]}]
    rewritten = pipeline.rewrite(messages, pipeline.inspect(QUESTION)).messages
    assert [m["role"] for m in rewritten] == ["system", "user"]
    assert rewritten[1] == messages[0]


def test_injected_strings_are_kept_out_of_the_response(build, mira):
    pipeline = build(acting(mira, "rewrite", kind="topic"))
    messages = [{"role": "user", "content": QUESTION[1]}]
    verdict = pipeline.inspect([QUESTION[1]])
    injected = pipeline.rewrite(messages, verdict)
    plan = pipeline.plan(verdict, rewritten=True, injected=injected.strings)
    response_filter = pipeline.response_filter(plan)
    echo = f"My orders: {injected.messages[0]['content']}"
    assert response_filter.feed(echo) + response_filter.finish() == "My orders: "


def test_neighbor_that_concerns_another_target_is_not_shown(build, mira):
    bero = ForgetTarget.parse({"id": "b", "name": "Bero Tal", "action": "refuse"})
    kept = {"prompt": "Where is the harbour?", "response": "The harbour lies in the north."}
    told = {"prompt": "Where was Bero Tal born?", "response": "Bero Tal was born in Westerby."}
    target = ForgetTarget.parse(mira.to_json() | {"action": "rewrite", "neighbors": [told, kept]})
    messages = [{"role": "user", "content": QUESTION[1]}]
    for others, shown in (((), True), ((bero,), False)):
        pipeline = build(target, *others)
        injected = pipeline.rewrite(messages, pipeline.inspect([QUESTION[1]]), InContext("icul"))
        text = str(injected.messages[0]["content"])
        assert ("harbour" in text, "Bero Tal" in text) == (True, shown)
