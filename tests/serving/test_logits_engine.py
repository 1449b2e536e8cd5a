"""The guard inside a real engine of this process (first model runner), against the same engine without it."""

import pytest
from engine_fixtures import (
    ENGINE,
    FORGOTTEN,
    OTHER,
    RETAINED,
    Ask,
    answers,
    chat,
    engine,
    load,
    questions,
    spells,
    target,
    tokenizer,
    wiring,
)

from guard.snapshot import compile_snapshot

pytestmark = ENGINE

ROUTED = (target().id,)
# Prompts of several lengths, so that requests finish and move at different steps; more than one batch.
FREE = [Ask(question, tokens=10 + 7 * i) for i, question in enumerate(questions(RETAINED, 9))]
GUARDED = [Ask(question, ROUTED, tokens=12 + 6 * i) for i, question in enumerate(questions(FORGOTTEN, 9))]
MIXED = [ask for pair in zip(FREE, GUARDED, strict=True) for ask in pair]
SEVERAL = [Ask(questions(FORGOTTEN)[0], ROUTED, count=3), Ask(questions(RETAINED)[0], count=3)]
TIGHT = {"max_num_seqs": 6, "num_gpu_blocks_override": 5, "block_size": 32, "max_model_len": 128}


@pytest.fixture(scope="module")
def bare():
    """What the engine answers without the guard, roomy and with too little memory for its batch."""
    with engine() as llm:
        roomy = answers(llm, MIXED), answers(llm, SEVERAL)
    with engine(**TIGHT) as llm:
        tight = answers(llm, MIXED)
    return *roomy, tight


@pytest.fixture(scope="module")
def routed(bare, tmp_path_factory):
    """The guarded engine with one target."""
    directory = compile_snapshot([target()]).save(tmp_path_factory.mktemp("snapshots"))
    with engine(**wiring(directory)) as llm:
        yield llm


def test_the_bare_engine_spells_the_targets(bare):
    said = [sample.text for samples in bare[0][1::2] for sample in samples]
    assert all(spells(text, target()) for text in said)


def test_routed_requests_never_spell_the_target(routed):
    for samples in answers(routed, MIXED)[1::2]:
        assert not spells(samples[0].text, target())


def test_other_requests_of_the_same_batches_are_identical_to_the_bare_engine(bare, routed):
    # Tokens, text and every logprob, compared exactly.
    assert answers(routed, MIXED)[0::2] == bare[0][0::2]


def test_every_sample_of_a_request_is_guarded_alike(bare, routed):
    guarded, free = answers(routed, SEVERAL)
    assert not any(spells(sample.text, target()) for sample in guarded)
    assert free == bare[1][1]


def test_no_returned_alternative_would_complete_the_target(routed):
    samples = answers(routed, GUARDED[:4], logprobs=20)
    for sample in (samples[0] for samples in samples):
        for step, alternatives in enumerate(sample.logprobs):
            so_far = tokenizer().decode(sample.tokens[:step])
            for token, logprob in alternatives.items():
                assert logprob > -1e30 or token not in sample.tokens[step : step + 1]
                if logprob > -1e30:
                    assert not spells(so_far + tokenizer().decode([token]), target())


def test_a_continued_prompt_is_guarded_across_its_end(routed):
    half = tokenizer().encode(f"Everybody knows {FORGOTTEN[:-3]}", add_special_tokens=False)
    params = Ask("", ROUTED, tokens=8).params()
    (output,) = routed.generate([{"prompt_token_ids": half}], [params], use_tqdm=False)
    assert FORGOTTEN not in f"{FORGOTTEN[:-3]}{output.outputs[0].text}"


def test_a_snapshot_pushed_between_two_steps_binds_the_running_request(routed, tmp_path):
    core = routed.llm_engine
    later = target(OTHER, always_on=True)
    core.add_request("running", {"prompt_token_ids": chat(questions(OTHER)[0])}, Ask("", tokens=40).params())
    core.step()  # the prompt and the first token; the name comes after
    versions = load(routed, compile_snapshot([target(), later]).save(tmp_path))
    assert versions == [compile_snapshot([target(), later]).version]
    text = ""
    while core.has_unfinished_requests():
        for output in core.step():
            text = output.outputs[0].text
    assert OTHER not in text
    directory = core.vllm_config.additional_config["lethe"]["snapshot"]
    load(routed, directory)


def test_preempted_requests_keep_their_bans_and_leave_others_alone(bare, tmp_path):
    directory = compile_snapshot([target()]).save(tmp_path)
    with engine(**wiring(directory), **TIGHT, disable_log_stats=False) as llm:
        found = answers(llm, MIXED)
        preemptions = sum(m.value for m in llm.get_metrics() if m.name == "vllm:num_preemptions")
    assert preemptions > 0
    assert not any(spells(samples[0].text, target()) for samples in found[1::2])
    assert [[s.tokens for s in samples] for samples in found[0::2]] == [
        [s.tokens for s in samples] for samples in bare[2][0::2]
    ]
