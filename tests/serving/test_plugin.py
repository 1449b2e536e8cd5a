"""The token filter alone, in an engine started as docs/plugin.md says."""

import json
import re
import shlex
from pathlib import Path

import pytest
from engine_fixtures import (
    ENGINE,
    FORGOTTEN,
    OPTIONS,
    OTHER,
    RETAINED,
    Ask,
    answers,
    engine,
    model,
    questions,
    spells,
    target,
)

from guard.errors import SnapshotError
from guard.snapshot import compile_snapshot
from serving import plugin

pytestmark = ENGINE

DOCUMENT = (Path(__file__).parents[2] / "docs" / "plugin.md").read_text(encoding="utf-8")
TARGETS = (target(), target(OTHER))
ASKS = [
    Ask(questions(FORGOTTEN)[0], None),
    Ask(questions(OTHER)[0], None),
    Ask(questions(FORGOTTEN)[0], (), count=2),  # a client that tries to lift its restriction
    Ask(questions(RETAINED)[0], None),
]


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    return compile_snapshot(TARGETS).save(tmp_path_factory.mktemp("snapshots"))


@pytest.fixture(scope="module")
def bare():
    with engine() as llm:
        return answers(llm, ASKS)


def documented(fence: str, snapshot: Path) -> str:
    """The example in a fenced block of the document, with a model and a snapshot put in."""
    (block,) = re.findall(rf"^## {fence}.*?^```\w*\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    return block.replace("MODEL", model()).replace("SNAPSHOT", str(snapshot))


def check(llm, bare):
    found = answers(llm, ASKS)
    said = [sample.text for samples in found[:3] for sample in samples]
    assert all(spells(sample.text, *TARGETS) for samples in bare[:3] for sample in samples)
    assert not any(spells(text, *TARGETS) for text in said)
    assert [s.text for s in found[3]] == [s.text for s in bare[3]]


def test_the_documented_server_options_guard_every_request(bare, snapshot):
    from vllm import LLM
    from vllm.engine.arg_utils import EngineArgs
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    words = shlex.split(documented("2a", snapshot).replace("\\\n", " "))
    assert words[:3] == ["python", "-m", "vllm.entrypoints.launchers.api_server.entry"]
    given = EngineArgs.from_cli_args(make_arg_parser(FlexibleArgumentParser()).parse_args(words[3:]))
    assert given.model == model()
    assert given.logprobs_mode == "processed_logprobs"
    options = {"logits_processors": given.logits_processors, "additional_config": given.additional_config}
    with engine(**options) as llm:
        assert isinstance(llm, LLM)
        check(llm, bare)


def test_the_documented_offline_example_guards_every_request(bare, snapshot, monkeypatch):
    import vllm

    class SmallLLM(vllm.LLM):
        """The test's size limits; everything else as the document has it."""

        def __init__(self, *args, **options):
            super().__init__(*args, **(OPTIONS | options))

    monkeypatch.setattr(vllm, "LLM", SmallLLM)
    names = {}
    exec(documented("2b", snapshot), names)
    llm = names.pop("llm")
    check(llm, bare)
    llm.llm_engine.engine_core.shutdown()


def damage_nothing_there(directory):
    return directory.with_name("missing")


def damage_changed_targets(directory):
    path = directory / "targets.jsonl"
    path.write_text(path.read_text().replace('"restrict"', '"observe"'))
    return directory


def damage_truncated_table(directory):
    path = directory / "always.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    return directory


def damage_other_format(directory):
    path = directory / "snapshot.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    return directory


@pytest.mark.parametrize(
    "damage", [damage_nothing_there, damage_changed_targets, damage_truncated_table, damage_other_format]
)
def test_an_engine_does_not_start_on_a_damaged_snapshot(damage, tmp_path):
    directory = damage(compile_snapshot(TARGETS).save(tmp_path))
    options = {
        "logits_processors": [plugin.GuardLogitsProcessor],
        "additional_config": {"lethe": {"snapshot": str(directory)}},
    }
    with pytest.raises(SnapshotError, match=str(directory)), engine(**options):
        pass


def test_the_endpoint_is_what_vllm_asks_for():
    from vllm.plugins.endpoint_plugins.interface import EndpointPlugin

    assert isinstance(plugin.endpoint(), EndpointPlugin)
    assert plugin.endpoint().required_tasks is None
