"""The processor's bookkeeping, step by step, with hand-made batches."""

import pytest
import torch
from engine_fixtures import ENGINE, FORGOTTEN, chat, model, target, tokenizer, wiring

from guard.errors import SnapshotError
from guard.snapshot import compile_snapshot

pytestmark = ENGINE

NAME = FORGOTTEN
ROUTED = (target().id,)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """vLLM's configuration for the nano model with a snapshot of one target."""
    from vllm.engine.arg_utils import EngineArgs

    directory = compile_snapshot([target()]).save(tmp_path_factory.mktemp("snapshots"))
    return EngineArgs(model(), **wiring(directory), max_model_len=256).create_engine_config()


@pytest.fixture
def processor(config):
    from serving.plugin import GuardLogitsProcessor

    return GuardLogitsProcessor(config, torch.device("cpu"), False)


def params(targets=ROUTED, **extra):
    from vllm import SamplingParams

    return SamplingParams(extra_args={"lethe_targets": list(targets)} | extra)


def update(processor, added=(), moved=(), removed=(), size=8):
    from vllm.v1.sample.logits_processor import BatchUpdate

    processor.update_state(BatchUpdate(size, list(removed), list(added), list(moved)))


def banned(processor, rows=4) -> list[set[str]]:
    """The tokens banned in each row."""
    logits = processor.apply(torch.zeros(rows, processor.tables.vocabulary.size))
    return [{tokenizer().decode([i]) for i in torch.nonzero(row == -torch.inf).flatten()} for row in logits]


def name_ids(stop_before_end=True) -> list[int]:
    """Tokens of the forbidden name without the last one."""
    ids = tokenizer().encode(NAME, add_special_tokens=False)
    return ids[:-1] if stop_before_end else ids


def last_piece() -> str:
    return tokenizer().decode(tokenizer().encode(NAME, add_special_tokens=False)[-1:])


def test_a_routed_row_bans_the_token_that_completes_the_name(processor):
    update(processor, added=[(0, params(), chat("Who?"), name_ids())])
    assert last_piece() in banned(processor)[0]


def test_the_output_list_is_read_live(processor):
    outputs = []
    update(processor, added=[(0, params(), chat("Who?"), outputs)])
    assert last_piece() not in banned(processor)[0]
    outputs += name_ids()
    assert last_piece() in banned(processor)[0]


def test_a_row_without_targets_keeps_its_logits_bit_by_bit(processor):
    update(
        processor,
        added=[(0, params(()), chat("Who?"), name_ids()), (1, params(), chat("Who?"), name_ids())],
    )
    before = torch.randn(2, processor.tables.vocabulary.size)
    after = processor.apply(before.clone())
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after[1], before[1])


def test_a_request_without_guard_arguments_gets_every_target(processor):
    from vllm import SamplingParams

    update(processor, added=[(0, SamplingParams(), chat("Who?"), name_ids())])
    assert last_piece() in banned(processor)[0]


def test_without_the_router_the_arguments_of_a_request_count_for_nothing(config, processor):
    processor.wiring = type(processor.wiring)(processor.wiring.snapshot, router=False)
    update(processor, added=[(0, params((), lethe_probe=5), chat("Who?"), name_ids())])
    assert last_piece() in banned(processor)[0]
    assert tokenizer().decode([5]) not in banned(processor)[0]


def test_rows_follow_moves_swaps_and_removals(processor):
    from vllm.v1.sample.logits_processor import MoveDirectionality

    one_way, swap = MoveDirectionality.UNIDIRECTIONAL, MoveDirectionality.SWAP
    guarded, free = (params(), [], name_ids()), (params(()), [], name_ids())
    update(processor, added=[(0, *guarded), (1, *free)])
    update(processor, moved=[(0, 1, swap)])
    assert [bool(row) for row in banned(processor)] == [False, True, False, False]
    update(processor, moved=[(1, 3, one_way)])
    assert [bool(row) for row in banned(processor)] == [False, False, False, True]
    update(processor, removed=[3], moved=[(0, 3, one_way)])
    assert not any(banned(processor))


def test_a_row_taken_over_keeps_nothing_of_its_former_request(processor):
    update(processor, added=[(0, params(), [], name_ids())])
    update(processor, added=[(0, params(()), [], name_ids())])
    assert not banned(processor)[0]


def test_a_resumed_request_comes_back_with_its_history(processor):
    update(processor, added=[(2, params(), chat("Who?"), name_ids())])
    assert last_piece() in banned(processor)[2]


def test_a_new_snapshot_reaches_running_rows(processor):
    update(processor, added=[(0, params(), [], name_ids()), (1, params(()), [], name_ids())])
    processor.tables.install(compile_snapshot([]))
    assert not any(banned(processor))
    processor.tables.install(compile_snapshot([target(always_on=True)]))
    assert last_piece() in banned(processor)[0]
    assert last_piece() in banned(processor)[1]


def test_a_fully_masked_row_ends(processor):
    update(processor, added=[(0, params(), [], name_ids())])
    logits = torch.full((1, processor.tables.vocabulary.size), -torch.inf)
    allowed = tokenizer().encode(NAME, add_special_tokens=False)[-1]
    logits[0, allowed] = 1.0
    assert processor.apply(logits)[0].argmax() == tokenizer().eos_token_id


def test_the_probe_bans_its_token_at_the_first_step(processor):
    update(processor, added=[(0, params((), lethe_probe=77), [], [])])
    assert banned(processor)[0] == {tokenizer().decode([77])}


@pytest.mark.parametrize(
    "given", [{}, {"lethe": {}}, {"lethe": {"snapshot": 3}}, None], ids=["none", "empty", "number", "null"]
)
def test_an_engine_without_a_snapshot_does_not_start(given):
    from serving.logits import Wiring

    with pytest.raises(SnapshotError, match="the guard has no snapshot"):
        Wiring.read(given)
