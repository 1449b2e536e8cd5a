"""Answers that the model did not give, on the tokenizer alone; test_engine has them at an engine's pace."""

import pytest
from engine_fixtures import tokenizer

from serving.answers import Answer

TEXT = "I cannot say, sorry."


def decode(ids) -> str:
    return tokenizer().decode(ids, skip_special_tokens=True)


def within(**limits) -> Answer:
    from vllm import SamplingParams

    return Answer.of(TEXT, "stop", tokenizer()).within(SamplingParams(**limits), decode)


def test_an_answer_ends_with_the_end_of_text():
    answer = Answer.of(TEXT, "content_filter", tokenizer())
    assert decode(answer.tokens) == TEXT
    assert answer.tokens[-1] == tokenizer().eos_token_id


@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_clients_limit_cuts_it_as_it_cuts_a_generated_one(count):
    answer = within(max_tokens=count)
    assert len(answer.tokens) == count
    assert answer.finish_reason == "length"
    assert answer.text == decode(answer.tokens)
    assert TEXT.startswith(answer.text)


def test_room_enough_changes_nothing():
    assert within(max_tokens=100) == Answer.of(TEXT, "stop", tokenizer())


@pytest.mark.parametrize(
    ("include", "text"), [(False, "I cannot"), (True, "I cannot say")], ids=["without", "with"]
)
def test_the_clients_stop_string_cuts_it_too(include, text):
    answer = within(max_tokens=100, stop=["sorry", " say"], include_stop_str_in_output=include)
    assert (answer.text, answer.finish_reason, answer.stop_reason) == (text, "stop", " say")
    assert len(answer.tokens) < len(Answer.of(TEXT, "stop", tokenizer()).tokens)
