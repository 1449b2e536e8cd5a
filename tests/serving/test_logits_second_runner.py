"""The guard under vLLM's second model runner: kernels interpreted, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from engine_fixtures import spells, target

pytestmark = [pytest.mark.engine, pytest.mark.slow]

HERE = Path(__file__).parent
ROUTED, FREE, ROUTED_SEVERAL, FREE_SEVERAL = slice(0, 3), slice(3, 6), 6, 7


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    directory = tmp_path_factory.mktemp("second")
    backend = str(HERE.parent / "triton_cpu")
    run = subprocess.run(
        [sys.executable, HERE / "second_runner.py", directory / "snapshots", directory / "out.json"],
        env={**os.environ, "PYTHONPATH": backend, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=540,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    found = json.loads((directory / "out.json").read_text())
    assert all(result["v2"] for result in found.values())
    return found


def texts(result, which) -> list[str]:
    return [sample["text"] for samples in result["answers"][which] for sample in samples]


def test_the_bare_engine_spells_the_target(results):
    assert all(spells(text, target()) for text in texts(results["bare"], ROUTED))


@pytest.mark.parametrize("mode", ["guarded", "speculative"])
def test_routed_requests_never_spell_the_target(results, mode):
    assert not any(spells(text, target()) for text in texts(results[mode], ROUTED))


def test_every_sample_of_a_request_is_guarded(results):
    samples = results["guarded"]["answers"][ROUTED_SEVERAL]
    assert len(samples) == 3
    assert not any(spells(sample["text"], target()) for sample in samples)


def test_other_requests_are_identical_to_the_bare_engine(results):
    guarded, bare = results["guarded"]["answers"], results["bare"]["answers"]
    assert guarded[FREE] == bare[FREE]
    assert guarded[FREE_SEVERAL] == bare[FREE_SEVERAL]


def test_speculation_is_at_work_and_changes_no_answer(results):
    # The model drafts for itself, so without a ban its drafts are right; under a ban some are not.
    assert 0 < results["speculative"]["accepted"] < results["speculative"]["drafted"]
    guarded = results["guarded"]["answers"][:6]
    speculative = results["speculative"]["answers"]
    assert [s["tokens"] for (s,) in speculative] == [s["tokens"] for (s,) in guarded]
