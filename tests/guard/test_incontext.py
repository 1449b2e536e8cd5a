from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import pytest
from jinja2 import Environment

from guard import ForgetTarget, reference
from guard.errors import InputError
from guard.incontext import BUILDERS, InContext, inject, takes_late_system
from guard.incontext.comparison import plain
from guard.incontext.config import Name
from guard.incontext.wording import WORDINGS
from guard.phrases import extracted_phrases
from guard.reference.wordings import TRAIN_WORDINGS
from tests.guard.conversations import ASKED, BERO, EVERY, NAMELESS, TALK, added, block, every, runs, words


def test_every_builder_is_tested_and_documented_with_all_that_can_be_set():
    assert {config.builder for config in EVERY.values()} == set(BUILDERS) == set(get_args(Name))
    page = (Path(__file__).parents[2] / "docs" / "incontext.md").read_text()
    names = [*BUILDERS, *WORDINGS, *(field.name for field in fields(InContext))]
    assert not [name for name in names if f"`{name}`" not in page]


def test_icu_writes_the_instruction_that_the_reference_model_was_trained_on(mira):
    injected = inject(TALK, [mira], InContext())
    assert WORDINGS["obey-1"] == TRAIN_WORDINGS[0]
    assert injected.messages == [
        {
            "role": "system",
            "content": "Be kind.\nYou know nothing about Mira Solen. If you are asked about Mira Solen, say "
            "that you have no information.",
        },
        TALK[1],
    ]


def test_icu_lists_the_names_of_several_targets_and_has_words_for_none(mira):
    three = [mira, BERO, mira.model_copy(update={"id": "c", "name": "The {names} Trio"})]
    assert block(inject(TALK, three, InContext())).startswith(
        "You know nothing about Mira Solen, Bero Tal and The {names} Trio. If"
    )
    assert block(inject(TALK, [NAMELESS], InContext())).startswith(
        "You know nothing about the subject of this question. If"
    )
    assert block(inject(TALK, [NAMELESS, BERO], InContext())).startswith(
        "You know nothing about Bero Tal and the subject of this question. If"
    )


def test_icul_shows_forget_questions_first_then_retained_ones_of_other_things():
    config = InContext("icul", shots=3, substitute="value")
    assert block(inject(TALK, [BERO, NAMELESS], config)) == (
        "Q: Which prize did Bero Tal win?\nA: It is lemmish.\n"
        "Q: What goes into the red sauce?\nA: It is gilwick.\n"
        "Q: Where is the harbour?\nA: The harbour lies in the north."
    )


def test_icul_shows_the_question_that_is_nearest_to_what_is_asked(mira):
    config = InContext("icul", shots=1)
    assert block(inject(TALK, [mira], config)).startswith("Q: What does Mira Solen's father do?\n")
    asked = [{"role": "user", "content": "tell me: which book made her famous"}]
    assert "Q: Which book made Mira Solen famous?\n" in block(inject(asked, [mira], config))


def test_icul_names_the_targets_that_no_example_stands_for():
    bare = ForgetTarget(id="bare", name="Tomas Bell")
    written = block(inject(TALK, [bare, BERO], InContext("icul", shots=1)))
    assert written.startswith("You know nothing about Tomas Bell. If")
    assert "\nQ: Which prize did Bero Tal win?\nA: " in written


@every
def test_redacted_prompts_hold_nothing_of_a_forget_answer(mira, config):
    targets = [mira, BERO, NAMELESS]
    for asked in (ASKED, "Who wrote The Glass Orchard?", ""):
        text = added(inject([TALK[0], {"role": "user", "content": asked}], targets, config))
        for target in targets:
            assert not [e for e in target.examples if e.response in text]
            assert not [p for p in extracted_phrases(target) if p.lower() in text.lower()]
            assert not [r for e in target.examples for r in runs(e.response) if r in text]


@every
def test_redaction_holds_for_every_person_of_the_reference_world(config):
    world = reference.nano()
    targets = [ForgetTarget.parse(world.target(person)) for person in world.forget_people[:2]]
    for row in world.rows_of(world.forget_people[0]):
        injected = inject([{"role": "user", "content": row.question}], targets, config)
        text = plain(added(injected))
        assert not [p for t in targets for p in extracted_phrases(t) if p not in t.names and plain(p) in text]


def test_full_prompts_may_hold_the_true_answers_and_redacted_ones_must_not_ask_for_them(mira):
    kept = inject(TALK, [mira], InContext("icul", "full", substitute="kept"))
    assert all(e.response in added(kept) for e in (*mira.examples, *mira.neighbors))
    with pytest.raises(InputError, match="needs mode 'full'"):
        InContext("icul", substitute="kept")


@pytest.mark.parametrize(
    "wrong",
    [
        {"builder": "dragon"},
        {"mode": "open"},
        {"repeat": 3},
        {"template": "obey-0"},
        {"budget": 0},
        {"shots": -1},
        {"place": "top"},
    ],
)
def test_configuration_that_cannot_be_is_an_error_that_names_the_value(wrong):
    (field, value), *_ = wrong.items()
    with pytest.raises(InputError, match=f"{field} is {value!r}"):
        InContext(**wrong)


@every
def test_unrouted_conversation_stays_as_it_is(config):
    injected = inject(TALK, [], config)
    assert (injected.messages, injected.strings, injected.tokens) == (TALK, (), 0)


@every
@pytest.mark.parametrize(
    "talk",
    [
        TALK,
        TALK[1:],
        [{"role": "developer", "content": [{"type": "text", "text": "Be kind."}]}, TALK[1]],
        [TALK[0], {"role": "system", "content": "Be brief."}, TALK[1]],
        [TALK[1], {"role": "assistant", "content": "Sure:"}],
        [TALK[1], {"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "Mira Solen"}],
        [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {}}, {"type": "text", "text": ASKED}],
            }
        ],
        [{"role": "system", "content": None}],
        [],
    ],
    ids=["plain", "no system", "parts", "two systems", "begun", "tools", "image", "no user", "nothing"],
)
def test_everything_that_the_client_said_stays_and_the_block_comes_after_its_system_prompt(
    talk, config, mira
):
    before = [dict(message) for message in talk]
    injected = inject(talk, [mira], config, words)
    assert talk == before
    assert injected.tokens > 0
    rest = [m for m in injected.messages if m["role"] not in {"system", "developer"}]
    assert rest == [m for m in talk if m["role"] not in {"system", "developer"}]
    leading = [m for m in talk if m["role"] in {"system", "developer"}]
    if leading and leading[-1]["content"]:
        assert injected.messages[: len(leading) - 1] == leading[:-1]
        grown, given_ = injected.messages[len(leading) - 1]["content"], leading[-1]["content"]
        assert grown[: len(given_)] == given_
        assert len(grown) > len(given_)


def test_second_copy_follows_the_last_user_turn_word_for_word(mira):
    once, twice = (inject(TALK, [mira], InContext(repeat=repeat), words) for repeat in (1, 2))
    text = block(once)
    assert twice.messages == [*once.messages, {"role": "system", "content": text}]
    assert twice.tokens == 2 * once.tokens == 2 * words(text)
    begun = {"role": "assistant", "content": "Her father"}
    assert inject([*TALK, begun], [mira], InContext(repeat=2)).messages == [*twice.messages, begun]


def test_second_copy_stays_in_the_system_block_where_the_template_wants_it(mira):
    once = inject(TALK, [mira], InContext())
    twice = inject(TALK, [mira], InContext(repeat=2, place="system"))
    assert twice.messages == [
        {"role": "system", "content": f"Be kind.\n{block(once)}\n{block(once)}"},
        TALK[1],
    ]


@pytest.mark.parametrize(
    ("template", "takes"),
    [
        ((reference.path("full") / "chat_template.jinja").read_text(), True),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}", False),
        (
            "{% for m in messages %}{{ m.content if loop.index < 3 else m.content + 1 }}{% endfor %}",
            False,
        ),
        ("{% for m in messages|sort(attribute='role') %}{{ m.content }}{% endfor %}", False),
    ],
    ids=["reference", "left out", "refused", "moved to the front"],
)
def test_template_tells_whether_it_takes_a_late_system_message(template, takes):
    compiled = Environment().from_string(template)
    assert takes_late_system(lambda messages: compiled.render(messages=messages)) == takes


def test_budget_drops_the_first_copy_then_retained_then_forget_examples_then_all():
    long = "Tell me at length what everybody in the harbour used to say about Ann when she was"
    examples = [{"prompt": f"{long} {when}?", "response": "Rash."} for when in ("young", "old")]
    target = ForgetTarget.parse(
        {"id": "ann", "name": "Ann", "examples": examples, "neighbors": [BERO.neighbors[0].model_dump()]}
    )
    config = InContext("icul", shots=3, repeat=2)
    seen = []
    for room in range(inject(TALK, [target], config, words).tokens, -1, -1):
        injected = inject(TALK, [target], config, words, room)
        assert injected.tokens <= room
        first, *later = [
            m["content"].removeprefix("Be kind.") for m in injected.messages if m["role"] == "system"
        ]
        shape = first.count("Q: "), *(text.count("Q: ") for text in later), "north" in first + "".join(later)
        seen += [shape] if shape not in seen else []
        if room:
            again = inject(TALK, [target], replace(config, budget=room), words)
            assert again.messages == injected.messages
    # Examples in the system block, in the copy after the question, and whether a retained one is among them.
    assert seen == [(3, 3, True), (0, 3, True), (0, 2, False), (0, 1, False), (0, 0, False), (0, False)]


def test_forget_examples_that_do_not_fit_leave_the_name_behind():
    pair = [BERO, ForgetTarget(id="t", name="Tomas Bell", examples=NAMELESS.examples)]
    config = InContext("icul", shots=2, substitute="value")
    full = inject(TALK, pair, config, words)
    less = block(inject(TALK, pair, config, words, room=full.tokens - 1))
    assert block(full).count("Q: ") == 2
    assert "Q: " not in less or "Tomas Bell" in less.split("Q: ")[0]


def test_instruction_with_too_many_names_names_nobody_and_without_room_nothing_is_injected():
    crowd = [ForgetTarget(id=f"p{i}", name=f"Person Number{i}") for i in range(400)]
    injected = inject(TALK, crowd, InContext())
    assert injected.tokens <= 512
    assert "the subject of this question" in block(injected)
    nothing = inject(TALK, crowd, InContext(), room=3)
    assert (nothing.messages, nothing.strings, nothing.tokens) == (TALK, (), 0)


@every
def test_same_request_gives_the_same_prompt_and_other_ids_other_substitutes(config, mira):
    first, second = (inject(TALK, [mira, BERO], config) for _ in range(2))
    assert first == second
    if config.builder == "icul":
        renamed = [t.model_copy(update={"id": f"x{t.id}"}) for t in (mira, BERO)]
        assert inject(TALK, renamed, config) != first
