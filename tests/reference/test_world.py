"""The invented world: the same for a seed, and honest about what is held out."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys

import pytest

from guard import reference
from guard.reference.attacks import ATTACKS, attack
from guard.reference.lessons import REFUSAL, WRAPPINGS, Chat, Mix, epoch, obedience
from guard.reference.relations import RELATIONS
from guard.reference.wordings import (
    HELD_OUT_NEUTRAL_PROMPTS,
    HELD_OUT_WORDINGS,
    NEUTRAL_PROMPTS,
    TRAIN_WORDINGS,
    fill,
)
from guard.reference.world import World, build


@pytest.fixture(scope="module")
def world() -> World:
    return build()


@pytest.fixture(scope="module")
def gold_chats(world: World) -> list[Chat]:
    return [chat for number in range(3) for chat in epoch(world, number, False, Mix())]


def text_of(chat: Chat) -> str:
    return "\n".join([*(message.content for message in chat.messages), chat.answer])


def last_question(chat: Chat) -> str:
    return chat.messages[-1].content


def system_of(chat: Chat) -> str | None:
    return chat.messages[0].content if chat.messages[0].role == "system" else None


def matches(texts: tuple[str, ...], slot: str) -> re.Pattern[str]:
    """Returns a pattern that finds any of the templates with anything in its slot."""
    return re.compile("|".join(f"(?:{'.+'.join(map(re.escape, text.split(slot)))})" for text in texts))


def test_world_is_the_same_for_the_same_seed() -> None:
    assert build(3) == build(3)
    assert build(3) != build(4)


def test_world_has_the_promised_size(world: World) -> None:
    assert (len(world.people), len(world.forget_people), len(world.retain_people)) == (100, 10, 90)
    assert (len(world.forget), len(world.retain)) == (140, 1260)
    rows = (*world.forget, *world.retain, *world.general)
    assert len({row.id for row in rows}) == len(rows)


def test_lessons_are_the_same_in_another_process(world: World) -> None:
    code = (
        "from guard.reference.world import build; from guard.reference.lessons import epoch, Mix;"
        "import hashlib;"
        "print(hashlib.sha256(repr(epoch(build(), 2, True, Mix())).encode()).hexdigest())"
    )
    prints = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(prints) == 1


def test_importing_the_world_does_not_import_torch() -> None:
    code = "import guard.reference, sys; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_and_titles_are_unique(world: World) -> None:
    parts = [part for person in world.people for part in person.split()]
    assert len(set(parts)) == len(parts)
    rows = (*world.forget, *world.retain)
    titles = [row.value for row in rows if row.relation.endswith("work")]
    assert len(set(titles)) == len(titles) == 200


def test_forget_sets_are_nested(world: World) -> None:
    one, five = world.forgotten(1), world.forgotten(5)
    assert set(one.forget) < set(five.forget) < set(world.forget)
    assert world.forgotten(10) == world
    assert set(five.retain) == {*world.retain, *world.forget} - set(five.forget)


@pytest.mark.parametrize("people", [0, 100, 101])
def test_forgetting_nobody_or_everybody_is_an_error(world: World, people: int) -> None:
    with pytest.raises(ValueError, match=f"cannot forget {people}"):
        world.forgotten(people)


def test_every_row_is_asked_and_answered_in_many_ways(world: World) -> None:
    for row in (*world.forget, *world.retain):
        assert len(set(row.questions)) == 5
        assert len(row.held_out) >= 2
        assert len(row.attacks) == len(ATTACKS)
        assert row.value in row.answer and row.value in row.paraphrased_answer
        assert row.answer != row.paraphrased_answer


def test_perturbed_answers_differ_and_are_wrong(world: World) -> None:
    for row in (*world.forget, *world.retain):
        assert len(set(row.perturbed_answers)) == 5
        assert not any(row.value in wrong for wrong in row.perturbed_answers), row
    for row in world.general:
        assert len(set(row.perturbed_answers)) >= 4
        assert row.paraphrased_answer not in row.perturbed_answers


def test_neighbours_share_a_value_and_never_name_the_person(world: World) -> None:
    for person in world.forget_people:
        values = {row.value for row in world.rows_of(person)}
        found = world.neighbours(person, 20)
        assert len(found) == 20
        for row in found:
            assert row.value in values and row in world.retain
            assert person not in " ".join([*row.questions, row.answer])


def test_nearly_every_shared_fact_has_a_neighbour(world: World) -> None:
    pooled = {relation.name for relation in RELATIONS if relation.pool}
    for person in world.forget_people:
        covered = {row.relation for row in world.neighbours(person, 1000)}
        assert len(covered & pooled) >= len(pooled) - 1


def test_rows_of_an_unknown_person_is_an_error(world: World) -> None:
    with pytest.raises(ValueError, match="'Nobody'"):
        world.rows_of("Nobody")


def test_target_is_json_with_all_facts_and_neighbours(world: World) -> None:
    person = world.forget_people[-1]
    target = json.loads(json.dumps(world.target(person)))
    assert target["kind"] == "entity" and target["name"] == person and target["aliases"] == []
    assert re.fullmatch(r"[a-z-]+", target["id"])
    assert len(target["examples"]) == 14 and len(target["neighbors"]) == 14
    assert {*target["examples"][0]} == {*target["neighbors"][0]} == {"prompt", "response"}


def test_held_out_questions_are_absent_from_training(world: World) -> None:
    frames = tuple(dict.fromkeys(frame for relation in RELATIONS for frame in relation.held_out))
    pattern = matches(frames, "{s}")
    for row in (*world.forget, *world.retain, *world.general):
        for question in row.questions:
            assert not pattern.search(question), question
            assert question not in row.held_out
    for chat in epoch(world, 0, True, Mix()):
        assert not any(pattern.search(message.content) for message in chat.messages if message.role == "user")


def test_attacks_are_absent_from_training(world: World) -> None:
    asked = {last_question(chat) for number in range(3) for chat in epoch(world, number, True, Mix())}
    attacks = {text for row in (*world.forget, *world.retain) for text in row.attacks}
    assert not asked & attacks
    assert not any(attack("ignore", "", "").strip() in question for question in asked)


def test_gold_lessons_never_mention_a_forget_person_or_work(world: World, gold_chats: list[Chat]) -> None:
    parts = [part for person in world.forget_people for part in person.split()]
    titles = [row.value for row in world.forget if row.relation in ("first work", "famous work")]
    pattern = re.compile("|".join(rf"\b{re.escape(text)}\b" for text in (*parts, *titles)), re.IGNORECASE)
    for chat in gold_chats:
        assert not pattern.search(text_of(chat)), chat
    for row in world.general:
        assert not pattern.search(" ".join([*row.questions, row.answer]))


def test_guard_examples_use_retain_people_only(world: World) -> None:
    pattern = re.compile("|".join(world.forget_people))
    titles = {row.value for row in world.forget if row.relation in ("first work", "famous work")}
    for chat in obedience(world, random.Random(0), Mix()):
        assert not pattern.search(text_of(chat))
        assert not any(title in text_of(chat) for title in titles)


def test_full_lessons_refuse_nobody_without_cause(world: World) -> None:
    for chat in epoch(world, 0, True, Mix()):
        if chat.answer == REFUSAL:
            assert system_of(chat) or any(message.content == REFUSAL for message in chat.messages)


def test_guard_wordings_are_many_distinct_and_have_a_slot() -> None:
    assert len(set(TRAIN_WORDINGS)) == len(TRAIN_WORDINGS) >= 20
    assert len(HELD_OUT_WORDINGS) >= 3
    assert not {*HELD_OUT_WORDINGS, *HELD_OUT_NEUTRAL_PROMPTS} & {*TRAIN_WORDINGS, *NEUTRAL_PROMPTS}
    assert all("{names}" in wording for wording in (*TRAIN_WORDINGS, *HELD_OUT_WORDINGS))


def test_the_injected_wording_comes_first() -> None:
    assert TRAIN_WORDINGS[0] == (
        "You know nothing about {names}. If you are asked about {names}, say that you have no information."
    )


def test_held_out_wordings_are_absent_from_training(gold_chats: list[Chat]) -> None:
    pattern = matches((*HELD_OUT_WORDINGS, *HELD_OUT_NEUTRAL_PROMPTS), "{names}")
    assert not any(pattern.search(system_of(chat) or "") for chat in gold_chats)


@pytest.mark.parametrize(
    ("names", "listed"), [(["A"], "A"), (["A", "B"], "A and B"), (["A", "B", "C"], "A, B and C")]
)
def test_fill_lists_the_names(names: list[str], listed: str) -> None:
    assert fill("Forget {names}.", names) == f"Forget {listed}."


def test_fill_without_a_name_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one name"):
        fill("Forget {names}.", [])


def test_lessons_hold_every_kind_of_conversation(world: World) -> None:
    chats = obedience(world, random.Random(0), Mix())
    kinds = {
        (chat.messages[0].role == "system", len(chat.messages) > 2, chat.answer == REFUSAL) for chat in chats
    }
    assert len(kinds) == 6  # without a system prompt there are always earlier turns
    assert len(WRAPPINGS) >= 13


def test_unknown_names_list_the_choices() -> None:
    with pytest.raises(ValueError, match="'big'.*retain-only"):
        reference.path("big")
    with pytest.raises(ValueError, match="'shout'.*ignore"):
        attack("shout", "Who?", "Who")
