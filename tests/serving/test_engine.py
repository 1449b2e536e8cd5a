"""Every prompt's way through the guard, on a real engine of this process."""

import asyncio

import pytest
from choke_fixtures import (
    KINDS,
    NAMED,
    NEIGHBOUR,
    QUESTION,
    VALUE,
    prompt,
    run,
    sampling,
    text_of,
    tokens_of,
)
from control_fixtures import Workers
from engine_fixtures import (
    ENGINE,
    FORGOTTEN,
    chat,
    spells,
    target,
    tokenizer,
)

from guard.errors import GuardInactive
from guard.types import Action, Matching
from guard.vocabulary import special_ids
from serving import logits
from serving.exchange import Exchange, exchange
from serving.selfcheck import check

pytestmark = ENGINE


@pytest.mark.parametrize("kind", KINDS)
async def test_a_free_prompt_gets_exactly_the_engines_answer(client, guard_on, kind):
    generate, _ = await guard_on(target(action="refuse"))
    guarded = await run(generate, NEIGHBOUR, sampling(kind))
    bare = await run(client.generate, NEIGHBOUR, sampling(kind))
    assert text_of(guarded, kind) == text_of(bare, kind)
    assert tokens_of(guarded, kind) == tokens_of(bare, kind)
    assert guarded[-1].finished
    assert guarded[-1].outputs[0].finish_reason == bare[-1].outputs[0].finish_reason


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_never_reaches_the_engine(client, guard_on, kind):
    generate, guard = await guard_on(target(action="refuse"))
    (output,) = await run(generate, QUESTION, sampling(kind, count=3, logprobs=2))
    assert client.requests == []
    assert output.finished
    assert output.prompt_token_ids == chat(QUESTION)
    assert [c.index for c in output.outputs] == [0, 1, 2]
    for completion in output.outputs:
        assert completion.text == guard.settings.refusal
        assert completion.finish_reason == "content_filter"
        assert tokenizer().decode(completion.token_ids, skip_special_tokens=True) == completion.text
        assert len(completion.logprobs) == len(completion.token_ids)


async def test_a_restricted_prompt_is_answered_without_the_target(client, guard_on):
    generate, guard = await guard_on(target())
    outputs = await run(generate, QUESTION, sampling())
    assert not spells(text_of(outputs, "FINAL_ONLY"), target())
    assert client.requests[0].extra_args == {
        "lethe_targets": [target().id],
        "lethe_snapshot": guard.pipeline.snapshot.version,
    }


async def test_the_guards_keys_of_a_client_are_replaced_and_its_others_kept(client, guard_on):
    generate, _ = await guard_on(target())
    given = {"lethe_targets": [], "lethe_probe": 5, "lethe_other": 1, "theirs": 2}
    params = sampling(extra_args=given)
    await run(generate, QUESTION, params)
    sent = client.requests[0].extra_args
    assert sent["lethe_targets"] == [target().id]
    assert sent["theirs"] == 2
    assert not {"lethe_probe", "lethe_other"} & set(sent)
    assert params.extra_args == given


# Workers() stand for an engine that never hears of the targets, so that only the response filter is left.
@pytest.mark.parametrize("kind", KINDS)
async def test_the_response_filter_cuts_what_the_engine_lets_through(client, guard_on, kind):
    generate, guard = await guard_on(target(), workers=Workers())
    outputs = await run(generate, QUESTION, sampling(kind, logprobs=1))
    bare = text_of(await run(client.generate, QUESTION, sampling(kind)), kind)
    assert spells(bare, target())
    released, completion = text_of(outputs, kind), outputs[-1].outputs[0]
    assert bare.startswith(released)
    assert not spells(released, target())
    assert completion.finish_reason == "content_filter"
    assert outputs[-1].finished
    assert len(completion.logprobs) == len(completion.token_ids)
    assert not client.llm.llm_engine.has_unfinished_requests()
    (record,) = guard.sink.records
    assert record.filtered
    assert record.finish_reason == "content_filter"


@pytest.mark.parametrize("kind", ["CUMULATIVE", "FINAL_ONLY"])
async def test_the_tokens_of_a_cut_answer_spell_no_more_than_its_text(guard_on, kind):
    late = target(name=None, examples=(), phrases=(VALUE,), always_on=True)
    generate, _ = await guard_on(late, workers=Workers())
    completion = (await run(generate, QUESTION, sampling(kind)))[-1].outputs[0]
    assert completion.finish_reason == "content_filter"
    assert completion.text.startswith(FORGOTTEN)
    spelled = tokenizer().decode(completion.token_ids, skip_special_tokens=True)
    assert completion.text.startswith(spelled)
    assert len(spelled) > len(completion.text) - 12


@pytest.mark.parametrize("kind", ["DELTA", "FINAL_ONLY"])
async def test_only_the_samples_that_spell_the_target_are_cut(client, guard_on, kind):
    # Sampled hot, so that the samples differ.
    params = sampling(kind, count=6, temperature=2.0, seed=3)
    bare = await run(client.generate, QUESTION, params)
    spelled = [spells(text_of(bare, kind, index), NAMED) for index in range(6)]
    assert any(spelled)
    assert not all(spelled)
    generate, _ = await guard_on(NAMED, workers=Workers())
    outputs = await run(generate, QUESTION, params)
    for index in range(6):
        released, original = text_of(outputs, kind, index), text_of(bare, kind, index)
        reason = [c.finish_reason for o in outputs for c in o.outputs if c.index == index][-1]
        assert (reason == "content_filter") is spelled[index]
        assert original.startswith(released) if spelled[index] else released == original


async def test_the_engine_follows_every_way_a_change_takes(client, guard_on, monkeypatch):
    async def answer():
        return text_of(await run(client.generate, QUESTION, params), "FINAL_ONLY")

    params = sampling(extra_args={"lethe_targets": []})
    _, guard = await guard_on(target(action="refuse"))
    bare = await answer()
    assert spells(bare, NAMED)
    named = NAMED.model_copy(update={"id": "named"})
    await guard.add(named)
    assert not spells(await answer(), NAMED)
    await guard.replace(named.model_copy(update={"action": "observe"}))
    assert await answer() == bare
    # A way of comparing that the workers have not read their vocabulary in: they load everything.
    with monkeypatch.context() as patch:
        calls = watch(client, patch)
        await guard.replace(named.model_copy(update={"matching": Matching(fold=("case", "accents"))}))
        assert calls[:2] == ["lethe_change", "lethe_prepare"]
    assert not spells(await answer(), NAMED)
    # Compiled anew beside decoding, and then removed from what was compiled.
    with monkeypatch.context() as patch:
        patch.setattr("serving.live.RECENT", 0)
        calls = watch(client, patch)
        await guard.add(target(id="always", always_on=True))
        while "lethe_install" not in calls or guard.pipeline.snapshot.recent_ids:
            await asyncio.sleep(0.02)
    assert not spells(await answer(), NAMED)
    await guard.remove("always")
    await guard.remove("named")
    assert await answer() == bare
    await check(client, guard)


def watch(client, patch) -> list[str]:
    """Names of the calls that workers get."""
    calls, call = [], client.llm.collective_rpc

    def noted(method, **given):
        calls.append(method)
        return call(method, **given)

    patch.setattr(client.llm, "collective_rpc", noted)
    return calls


async def test_held_back_text_leaves_with_the_end(client, guard_on):
    # The answer stops within the name: what was held back is no target, so it is released.
    params = sampling("DELTA", max_tokens=len(tokenizer().encode(FORGOTTEN[:8], add_special_tokens=False)))
    bare = text_of(await run(client.generate, QUESTION, params), "DELTA")
    generate, _ = await guard_on(NAMED, workers=Workers())
    outputs = await run(generate, QUESTION, params)
    assert text_of(outputs, "DELTA") == bare
    assert outputs[0].outputs[0].text == ""


async def test_every_request_leaves_one_record_without_text(guard_on):
    generate, guard = await guard_on(target())
    token = exchange.set(Exchange("/v1/chat/completions"))
    await run(generate, QUESTION, sampling())
    await run(generate, NEIGHBOUR, sampling())
    exchange.reset(token)
    restricted, allowed = guard.sink.records
    assert (restricted.action, allowed.action) == ("restrict", "allow")
    assert restricted.verdict["matches"][0]["target_id"] == target().id
    assert restricted.route == "/v1/chat/completions"
    assert restricted.prompt_tokens == len(chat(QUESTION))
    assert 0 < restricted.response_tokens <= 40
    assert allowed.finish_reason == "stop"
    assert FORGOTTEN not in str(guard.sink.records)


async def test_the_edge_learns_the_strongest_action_of_a_request(guard_on):
    generate, guard = await guard_on(target(action="refuse"))
    current = Exchange("/v1/completions")
    token = exchange.set(current)
    await run(generate, QUESTION, sampling())
    await run(generate, NEIGHBOUR, sampling())
    exchange.reset(token)
    assert current.action is Action.REFUSE
    assert current.snapshot == guard.pipeline.snapshot.version
    assert current.request_id == "request-1"


async def test_a_client_that_leaves_ends_the_request_and_is_recorded(client, guard_on):
    generate, guard = await guard_on(target())
    outputs = generate(prompt(QUESTION), sampling("DELTA"), "request-1")
    await anext(outputs)
    await outputs.aclose()
    assert not client.llm.llm_engine.has_unfinished_requests()
    assert guard.sink.records[0].finish_reason is None


async def test_a_failing_engine_is_recorded(client, guard_on):
    from vllm.exceptions import VLLMValidationError

    generate, guard = await guard_on(target())
    long = {"type": "token", "prompt_token_ids": chat(NEIGHBOUR) * 60}
    with pytest.raises(VLLMValidationError, match="context length"):
        [_ async for _ in generate(long, sampling(), "request-1")]
    assert guard.sink.records[0].finish_reason is None


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"type": "embeds", "prompt_embeds": object(), "prompt_token_ids": [5]}, "embeds"),
        ({"prompt": "some text"}, "unrendered"),
        ("some text", "str"),
    ],
)
async def test_prompts_that_cannot_be_read_are_refused(client, guard_on, given, kind):
    from vllm.exceptions import VLLMValidationError

    generate, _ = await guard_on()
    with pytest.raises(VLLMValidationError, match=kind):
        [_ async for _ in generate(given, sampling(), "request-1")]
    assert client.requests == []


@pytest.mark.parametrize("asked", [{"prompt_logprobs": 0}, {"prompt_logprob_token_ids": [5]}])
async def test_logprobs_of_the_prompt_are_refused_past_the_edge_too(client, guard_on, asked):
    from vllm.exceptions import VLLMValidationError

    generate, _ = await guard_on()
    params = sampling()
    for name, value in asked.items():
        setattr(params, name, value)
    with pytest.raises(VLLMValidationError, match="prompt"):
        await run(generate, NEIGHBOUR, params)
    assert client.requests == []


async def test_a_token_outside_any_vocabulary_is_the_clients_mistake(guard_on):
    from vllm.exceptions import VLLMValidationError

    generate, _ = await guard_on()
    with pytest.raises(VLLMValidationError, match="vocabulary"):
        [_ async for _ in generate({"type": "token", "prompt_token_ids": [-3]}, sampling(), "r")]


def test_encoder_prompts_are_read_too():
    from serving.prompts import prompt_tokens

    decoder = {"type": "token", "prompt_token_ids": [3]}
    both = {"encoder_prompt": {"type": "token", "prompt_token_ids": [1, 2]}, "decoder_prompt": decoder}
    assert prompt_tokens(both) == [1, 2, 3]
    assert prompt_tokens(decoder | {"type": "multimodal", "encoder_prompt_token_ids": [9]}) == [9, 3]


def test_a_prompt_is_split_into_its_messages():
    from serving.prompts import split

    text = tokenizer().apply_chat_template(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who was it? Tell me."}],
        tokenize=False,
        add_generation_prompt=True,
    )
    ids = tokenizer().encode(text, add_special_tokens=False)
    assert split(ids, special_ids(tokenizer()), tokenizer().decode) == ("Be brief.", "Who was it? Tell me.")
    assert split([], special_ids(tokenizer()), tokenizer().decode) == ()


async def test_the_self_check_passes_a_guarded_engine(client, live):
    await check(client, await live([target()], client.workers))


async def test_the_self_check_finds_an_engine_without_processors(client, live, monkeypatch):
    guard = await live([target()], client.workers)
    monkeypatch.setattr(logits, "live", set())
    with pytest.raises(GuardInactive, match="without the guard's logits processor"):
        await check(client, guard)


async def test_the_self_check_finds_an_engine_on_other_targets(client, live):
    guard = await live([target()], Workers())
    with pytest.raises(GuardInactive, match="instead of snapshot"):
        await check(client, guard)


async def test_the_self_check_finds_an_engine_whose_bans_have_no_effect(client, live):
    guard = await live([target()], client.workers)
    applied = client.generate

    async def unapplied(given, params, request_id, **options):
        params.extra_args = {"lethe_targets": []}
        async for output in applied(given, params, request_id, **options):
            yield output

    client.generate = unapplied
    with pytest.raises(GuardInactive, match="was generated"):
        await check(client, guard)
