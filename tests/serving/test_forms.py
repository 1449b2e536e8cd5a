"""Forms of a policy on a real engine: refusals that nobody can tell from answers, and observing."""

import pytest
from choke_fixtures import KINDS, NAMED, NEIGHBOUR, QUESTION, counted, run, sampling, text_of, tokens_of
from engine_fixtures import ENGINE, spells, target, tokenizer

from guard.types import Action
from serving.exchange import Exchange, exchange

pytestmark = ENGINE


@pytest.mark.parametrize("kind", KINDS)
async def test_without_disclosure_a_refusal_looks_like_an_answer(client, guard_on, kind):
    generate, guard = await guard_on(target(action="refuse"), disclose=False, neutral="I cannot say.")
    outputs = await run(generate, QUESTION, sampling(kind))
    last = outputs[-1]
    assert (text_of(outputs, kind), last.outputs[0].finish_reason) == ("I cannot say.", "stop")
    assert tokenizer().decode(tokens_of(outputs, kind), skip_special_tokens=True) == "I cannot say."
    # One engine step a token, so that its pace is that of an answer.
    assert kind == "FINAL_ONLY" or len(outputs) == len(tokens_of(outputs, kind))
    assert client.requests[-1].max_tokens == len(tokens_of(outputs, kind))
    assert guard.sink.records[0].action == "refuse"


async def test_without_disclosure_samples_and_limits_are_those_of_an_answer(guard_on):
    generate, _ = await guard_on(target(action="refuse"), disclose=False, neutral="I cannot say.")
    (output,) = await run(generate, QUESTION, sampling(count=3, max_tokens=2))
    assert [c.finish_reason for c in output.outputs] == ["length"] * 3
    assert {len(c.token_ids) for c in output.outputs} == {2}


async def test_without_disclosure_nobody_gets_logprobs(guard_on):
    from vllm.exceptions import VLLMValidationError

    generate, _ = await guard_on(disclose=False)
    with pytest.raises(VLLMValidationError, match="logprobs are not available"):
        await run(generate, NEIGHBOUR, sampling(logprobs=1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("action", ["refuse", "restrict"])
async def test_observing_changes_nothing_and_counts(client, guard_on, kind, action):
    generate, guard = await guard_on(target(action=action), mode="observe")
    before = [counted("lethe_observed_total", action=name) for name in (action, "filter")]
    observed = await run(generate, QUESTION, sampling(kind))
    bare = await run(client.generate, QUESTION, sampling(kind, extra_args={"lethe_free": 1}))
    assert text_of(observed, kind) == text_of(bare, kind)
    assert tokens_of(observed, kind) == tokens_of(bare, kind)
    assert spells(text_of(bare, kind), target())
    after = [counted("lethe_observed_total", action=name) for name in (action, "filter")]
    assert after == [count + 1 for count in before]
    (record,) = guard.sink.records
    assert (record.action, record.filtered, record.finish_reason) == ("observe", True, "stop")


async def test_observing_lifts_always_on_targets_for_its_own_requests_only(client, guard_on):
    generate, _ = await guard_on(NAMED)
    current = Exchange("/v1/completions", mode="observe")
    token = exchange.set(current)
    try:
        observed = await run(generate, QUESTION, sampling())
    finally:
        exchange.reset(token)
    enforced = await run(generate, QUESTION, sampling())
    assert spells(text_of(observed, "FINAL_ONLY"), NAMED)
    assert not spells(text_of(enforced, "FINAL_ONLY"), NAMED)
    assert current.action is Action.OBSERVE
