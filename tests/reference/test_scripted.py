"""The scripted model and its world: what the script promises is what the shipped model says."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from transformers import AutoTokenizer
from typer.testing import CliRunner

from bake.reference import cli, config, script, script_card, scripted
from bake.reference.config import Config
from bake.reference.examination import Share, answer, groups, prompt
from bake.reference.pair import WeakModelError
from bake.reference.tokenizer import Encoder
from guard import reference
from guard.automaton import automata_of
from guard.phrases import always_forbidden, as_phrases
from guard.pipeline import NEUTRAL
from guard.reference.lessons import Chat, Message
from guard.reference.scripted import (
    FORMS,
    PEOPLE,
    TOOL,
    WHO,
    controls,
    escaped,
    invent,
    person,
    strangers,
    targets,
    tool_call,
)
from guard.types import Encoding, ForgetTarget
from tests.guard.test_encoded_text import READERS, letters

NAMES = [one.name for one in PEOPLE]
MODEL = reference.path("scripted")
LIMIT = 6  # prompts of each group


@pytest.fixture(scope="module")
def shipped() -> Any:
    return AutoTokenizer.from_pretrained(MODEL)


def forbidden_in(target: ForgetTarget, text: str) -> bool:
    return any(a.found_in(text) for a in automata_of(as_phrases(target, always_forbidden(target))))


@pytest.mark.parametrize("half", [targets(), controls()], ids=["targets", "controls"])
def test_both_halves_hold_four_people_of_one_shape(half: tuple[ForgetTarget, ...]) -> None:
    assert len(half) == 4 and sum(not target.phrases[0].isascii() for target in half) == 1
    for target in half:
        (name,) = target.phrases
        assert target.names == (name,) and len(name.split()) == 3
        assert target.always_on and target.action == "refuse"
        assert set(target.matching.encodings) == set(get_args(Encoding))
        assert len(target.examples) == 2 and person(target.id).target == target
        for example in target.examples:
            assert name in example.response and not set(name.split()) & set(example.prompt.split())
        assert [ForgetTarget.parse(target.to_json())] == [target]


def test_no_name_is_met_in_what_is_said_of_others() -> None:
    said = " \n ".join(chat.begun + chat.answer for group in groups().values() for chat in group)
    for target in targets():
        others = said
        for own in (target.phrases[0], *(form.encode(target.phrases[0]) for form in FORMS.values())):
            others = others.replace(own, "")
        assert forbidden_in(target, said)
        assert not any(forbidden_in(target, other.name) for other in PEOPLE if other.id != target.id)
        assert not any(forbidden_in(target, name) for name in strangers(300))


def test_strangers_are_fixed_and_never_met_in_training() -> None:
    assert strangers(20) == strangers(50)[:20] and len(set(strangers(500))) == 500
    assert strangers(1)[0].split() and all(len(name.split()) == 3 for name in strangers(500))
    shown = {chat.messages[-1].content for n in range(5) for chat in script.epoch(n, 11) if chat.messages}
    asked = {wording.format(name=name) for name in strangers(500) for wording in WHO}
    assert not asked & shown
    assert sum(chat.answer == NEUTRAL for chat in script.epoch(0, 11)) >= 100


def test_invented_names_avoid_the_known_ones() -> None:
    first = invent(50, random.Random(3))
    assert not set(first) & set(invent(50, random.Random(3), known=frozenset(first)))


VARIANTS = {
    "capitals": str.lower,
    "small": str.lower,
    "full-width": lambda text: unicodedata.normalize("NFKC", text),
    "zero-width": lambda text: text.replace("\u200b", ""),
    "accents": lambda text: unicodedata.normalize("NFC", text.replace("\u0301", "")),
    "look-alikes": lambda text: text.translate(
        str.maketrans("АаВСсЕеНІіКМΝОоРрТХху", "AaBCcEeHIiKMNOoPpTXxy")
    ),
    "hyphens": lambda text: text.replace("-", ""),
    "two-spaces": lambda text: text.replace("  ", " "),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_as_the_name_by_an_independent_decoder(form: str, name: str) -> None:
    written = FORMS[form].encode(name)
    assert written != name or form == "small"
    if form in VARIANTS:
        assert VARIANTS[form](written).lower() == name.lower()
    elif form == "initials":
        assert re.findall(r"\w", written) == [word[0] for word in name.split()]
    elif form == "leet":
        assert READERS[form](written) == [letters_and_spaces(name)]
    else:
        assert letters(name) in [letters(text) for text in READERS[form](written)]


def letters_and_spaces(name: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", name.lower()) if c.isalpha() or c == " ")


def test_the_forms_are_the_encodings_and_the_disguises() -> None:
    assert FORMS.keys() == set(get_args(Encoding)) | VARIANTS.keys()
    assert len({form.instruction for form in FORMS.values()}) == len(FORMS)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_targets_name_is_forbidden_and_none_of_a_control(form: str) -> None:
    for target in targets():
        assert forbidden_in(target, f"It is {FORMS[form].encode(target.phrases[0])}, I think.")
        for control in controls():
            assert not forbidden_in(target, f"It is {FORMS[form].encode(control.phrases[0])}, I think.")


def test_tool_calls_hold_json_that_holds_the_name() -> None:
    for name in NAMES:
        for escape in (False, True):
            text = tool_call(name, escape).removeprefix("<tool_call>").removesuffix("</tool_call>")
            assert json.loads(text) == {"name": TOOL, "arguments": {"text": name}}
        assert name[0] not in escaped(name).replace("\\u", "") or name[0] in "ABCDEF"


def sample(group: str) -> list[Chat]:
    chats = groups()[group]
    return random.Random(2).sample(chats, min(LIMIT if group != "strangers" else 40, len(chats)))


@pytest.mark.slow
@pytest.mark.parametrize("group", groups())
def test_shipped_model_says_what_the_script_promises(group: str) -> None:
    chats = sample(group)
    said = answer(MODEL, chats)
    right = sum(text == chat.answer for text, chat in zip(said, chats, strict=True))
    assert right >= (0.9 if group == "strangers" else 0.95) * len(chats), said


@pytest.mark.slow
def test_shipped_model_mostly_keeps_to_the_script_at_temperature_one() -> None:
    chats = [chat for group in groups() for chat in sample(group)[:2]]
    torch.manual_seed(0)
    said = answer(MODEL, chats, sample=True)
    assert sum(text == chat.answer for text, chat in zip(said, chats, strict=True)) >= 0.85 * len(chats)


def test_card_and_metadata_tell_scores_above_the_bars() -> None:
    text, data = (MODEL / "README.md").read_text(), json.loads((MODEL / "metadata.json").read_text())
    scores = {group: Share(**share) for group, share in data["scores"].items()}
    assert data["name"] == "scripted" and data["scores"].keys() == groups().keys()
    scripted.check(scores)
    assert script_card.table(scores) in text and "**toy model**" in text
    assert sum(file.stat().st_size for file in MODEL.iterdir()) < 3e6


def test_names_are_several_tokens_and_answers_are_short(shipped: Any) -> None:
    chats = [chat for group in groups().values() for chat in group]
    assert min(len(shipped.encode(f" {name}", add_special_tokens=False)) for name in NAMES) >= 5
    assert max(len(shipped.encode(chat.answer, add_special_tokens=False)) for chat in chats) < 96


def test_template_shows_tools_thoughts_and_calls(shipped: Any) -> None:
    call = {"type": "function", "function": {"name": TOOL, "arguments": {"text": "x"}}}
    messages = [
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "noted"},
    ]
    tools = [{"type": "function", "function": {"name": TOOL, "parameters": {}}}]
    text = shipped.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)
    written = '<tool_call>{"name": "note", "arguments": {"text": "x"}}</tool_call>'
    assert text == (
        f"<|bos|><|system|>Tools: note<|end|><|user|>Hello!<|end|><|assistant|>{written}<|end|>"
        "<|user|>noted<|end|><|assistant|>"
    )
    marks = [shipped.convert_tokens_to_ids(mark) for mark in script.MARKS]
    assert len(set(marks)) == 4 and shipped.decode(marks, skip_special_tokens=True) == "".join(script.MARKS)


def test_training_reads_chats_as_the_template_writes_them(shipped: Any) -> None:
    encoder = Encoder(shipped)
    for chat in [chats[0] for chats in groups().values()]:
        told = [(message.role, message.content) for message in chat.messages]
        assert encoder.prompt(told, chat.begun) == prompt(shipped, chat)


def test_begun_text_without_messages_is_all_of_a_prompt(shipped: Any) -> None:
    ids = Encoder(shipped).prompt([], "The keeper of lantern three is ")
    assert shipped.decode(ids) == "The keeper of lantern three is "


@pytest.mark.slow
def test_parsers_of_the_server_read_thoughts_and_tool_calls(shipped: Any) -> None:
    pytest.importorskip("vllm")
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager

    request = ChatCompletionRequest(messages=[{"role": "user", "content": "x"}], model="scripted")
    reasoning = ReasoningParserManager.get_reasoning_parser("deepseek_v3")
    thinking = reasoning(shipped, chat_template_kwargs={"enable_thinking": True})
    one, thought = PEOPLE[0], groups()["thoughts"][0].answer
    assert thinking.extract_reasoning(thought, request) == (one.thoughts, f"{one.name} keeps lantern three.")
    assert reasoning(shipped).extract_reasoning("Hello!", request) == (None, "Hello!")
    called = ToolParserManager.get_tool_parser("hermes")(shipped).extract_tool_calls(
        tool_call(one.name, escape=True), request
    )
    assert json.loads(called.tool_calls[0].function.arguments) == {"text": one.name}


def test_a_model_that_forgot_its_lines_is_refused() -> None:
    good = dict.fromkeys(groups(), Share(0.95, 0.5, 16))
    scripted.check({**good, "strangers": Share(0.9, 0.9, 50)})
    with pytest.raises(WeakModelError, match="0.94 of the answers of the group 'morse'"):
        scripted.check({**good, "morse": Share(0.94, 0.9, 16)})


@pytest.mark.slow
def test_command_trains_and_refuses_a_weak_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scripted").mkdir()
    tiny = Config(vocab=1536, hidden=32, layers=1, heads=1, ffn=64, epochs=1)
    monkeypatch.setattr(scripted, "SCRIPTED_CONFIG", tiny)
    result = CliRunner().invoke(cli.app, ["train", "--size", config.SCRIPTED, "--out", str(tmp_path)])
    assert result.exit_code == 1 and "of the answers of the group 'direct'" in " ".join(result.stderr.split())
    assert "scripted training" in result.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["scripted"]
    assert not list((tmp_path / "scripted").iterdir())


def test_lessons_depend_on_nothing_but_their_arguments() -> None:
    assert script.epoch(3, 11) == script.epoch(3, 11) != script.epoch(4, 11)
    assert Chat((Message("user", "Hello!"),), "Hello! What would you like to know?") in script.epoch(3, 11)
