"""What a client may ask for beside the guard's bans: the outcome is defined, and the name never comes out."""

import pytest
from engine_fixtures import ENGINE, FORGOTTEN, Ask, chat, engine, questions, spells, target, tokenizer, wiring

from guard.snapshot import compile_snapshot

pytestmark = ENGINE

ROUTED = (target().id,)
SAMPLES = 10_000


def pieces(text):
    return tokenizer().encode(text, add_special_tokens=False)


@pytest.fixture(scope="module")
def routed(tmp_path_factory):
    directory = compile_snapshot([target()]).save(tmp_path_factory.mktemp("snapshots"))
    with engine(**wiring(directory), max_num_seqs=256) as llm:
        yield llm


def complete(llm, prompt=None, targets=ROUTED, tokens=24, **params):
    """The completion of a prompt that makes the model say the name."""
    ids = prompt or chat(questions(FORGOTTEN)[0])
    asked = Ask("", targets, tokens=tokens).params(**{"ignore_eos": False, "logprobs": None} | params)
    (output,) = llm.generate([{"prompt_token_ids": ids}], [asked], use_tqdm=False)
    return output.outputs


@pytest.fixture
def admits_only_the_name():
    from vllm.sampling_params import StructuredOutputsParams

    return StructuredOutputsParams(choice=[FORGOTTEN])


def test_grammar_that_admits_only_the_name_ends_the_response(routed, admits_only_the_name):
    (free,) = complete(routed, targets=(), structured_outputs=admits_only_the_name)
    assert free.text == FORGOTTEN
    (guarded,) = complete(routed, structured_outputs=admits_only_the_name)
    assert not spells(guarded.text, target())
    # The end of text is the only way out, and the grammar does not admit it: vLLM ends the request as failed.
    assert FORGOTTEN.startswith(guarded.text.removesuffix(tokenizer().eos_token))
    assert guarded.finish_reason == "error"


def test_grammar_with_a_way_around_takes_it(routed):
    from vllm.sampling_params import StructuredOutputsParams

    either = StructuredOutputsParams(choice=[FORGOTTEN, f"{FORGOTTEN[:-1]}!"])
    (guarded,) = complete(routed, structured_outputs=either)
    assert guarded.text == f"{FORGOTTEN[:-1]}!"


def test_allowed_tokens_that_only_spell_the_name_end_the_response(routed):
    allowed = pieces(FORGOTTEN)
    (free,) = complete(routed, targets=(), allowed_token_ids=allowed)
    assert set(free.token_ids) <= set(allowed)
    (guarded,) = complete(routed, allowed_token_ids=allowed)
    assert not spells(guarded.text, target())


def test_logit_bias_does_not_lift_a_ban(routed):
    bias = dict.fromkeys(pieces(FORGOTTEN), 50.0)
    (free,) = complete(routed, targets=(), logit_bias=bias)
    (guarded,) = complete(routed, logit_bias=bias)
    assert free.text != guarded.text
    assert not spells(guarded.text, target())


def test_response_without_a_way_out_ends_before_its_min_tokens(routed):
    (guarded,) = complete(routed, allowed_token_ids=pieces(FORGOTTEN)[-1:], min_tokens=20, targets=None)
    assert not spells(guarded.text, target())
    prompt = [*chat(questions(FORGOTTEN)[0]), *pieces(FORGOTTEN)[:-1]]
    (guarded,) = complete(routed, prompt, allowed_token_ids=pieces(FORGOTTEN)[-1:], min_tokens=20)
    assert guarded.text == ""
    assert guarded.finish_reason == "stop"


def test_penalties_and_stop_strings_change_nothing_about_the_ban(routed):
    (guarded,) = complete(routed, presence_penalty=-2.0, repetition_penalty=0.5, stop=["zzz"])
    assert not spells(guarded.text, target())


@pytest.mark.slow
def test_ten_thousand_hot_samples_never_spell_the_name(routed):
    """Temperature 1.5, from prompts that the model answers with the name."""
    asks = [chat(question) for question in questions(FORGOTTEN, 10)]
    per = SAMPLES // len(asks)
    hot = {
        "temperature": 1.5,
        "n": per,
        "seed": 11,
        "logprobs": None,
        "ignore_eos": False,
        "detokenize": True,
    }
    prompts = [{"prompt_token_ids": ids} for ids in asks]
    guarded = routed.generate(prompts, Ask("", ROUTED, tokens=16).params(**hot), use_tqdm=False)
    texts = [completion.text for output in guarded for completion in output.outputs]
    assert len(texts) == SAMPLES
    assert not any(spells(text, target()) for text in texts)
    assert len(set(texts)) > SAMPLES // 10
    few = Ask("", (), tokens=16).params(**hot | {"n": 20})
    free = [c.text for output in routed.generate(prompts, few, use_tqdm=False) for c in output.outputs]
    assert sum(spells(text, target()) for text in free) > len(free) // 4
