"""A server's thresholds follow its targets."""

import asyncio
import json

import pytest
from control_fixtures import minilm, target
from typer.testing import CliRunner

from guard.background import texts
from guard.calibrating import PROMPTS
from guard.classifier import Classifier
from guard.pipeline import Pipeline
from guard.snapshot import compile_snapshot
from guard.types import ForgetTarget
from serving import calibrator
from serving.calibrator import Calibrator, calibration_file, saved, with_classifier
from serving.cli import app
from serving.settings import Settings
from serving.state import State


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setattr("guard.calibrating.PROMPTS", 120)
    monkeypatch.setattr(calibrator, "QUIET_SECONDS", 0.01)
    return Settings(home=tmp_path, alpha=0.05)


def state_of(*targets):
    snapshot = compile_snapshot(targets)
    return State.of(snapshot, 1, minilm(), Settings().forms)


async def until(condition):
    for _ in range(600):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen within half a minute")


async def test_new_targets_get_thresholds_that_are_kept_for_the_next_start(settings):
    held = [state_of(target("one"))]

    def put(classifier):
        held[0] = with_classifier(held[0], classifier)

    worker = Calibrator(settings, minilm(), lambda: held[0], put)
    worker.take(held[0])
    await until(lambda: held[0].pipeline.classifier.calibration is not None)
    made = held[0].pipeline.classifier.calibration
    assert (made.snapshot, made.threshold().alpha, made.threshold().n) == (held[0].version, 0.05, 120)
    assert saved(settings, held[0].version) == made
    assert saved(settings.model_copy(update={"alpha": None})) is None
    held[0] = state_of(target("one"), target("two"))
    held[0] = with_classifier(held[0], held[0].pipeline.classifier.calibrated(made))
    worker.take(held[0])
    await until(lambda: held[0].pipeline.classifier.calibration.snapshot == held[0].version)
    assert saved(settings, made.snapshot) is None
    await worker.close()


async def test_without_a_bound_nothing_is_calibrated(settings):
    made = []
    state = state_of(target("one"))
    worker = Calibrator(settings.model_copy(update={"alpha": None}), minilm(), lambda: state, made.append)
    worker.take(state)
    await asyncio.sleep(0.2)
    await worker.close()
    assert not made and not calibration_file(settings).exists()


def test_a_damaged_calibration_is_told_and_the_shipped_thresholds_hold(settings, caplog):
    calibration_file(settings).write_text("{")
    assert saved(settings) is None
    assert "calibrate anew" in caplog.text


def test_the_command_keeps_thresholds_that_check_then_uses(tmp_path, monkeypatch):
    monkeypatch.setenv("LETHE_HOME", str(tmp_path))
    benign = tmp_path / "benign.jsonl"
    benign.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts()[:60]))
    targets = tmp_path / "targets.jsonl"
    one = ForgetTarget(id="one", name="Orla Quell")
    targets.write_text(json.dumps(one.to_json()) + "\n")
    given = ["calibrate", "--targets", str(targets), "--prompts", str(benign), "--alpha", "0.05", "--json"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert shown["thresholds"][""]["n"] == 60
    snapshot = compile_snapshot([one])
    kept = saved(Settings(home=tmp_path), snapshot.version)
    assert kept.snapshot == shown["snapshot"] == snapshot.version
    classifier = Classifier(snapshot, minilm(), calibration=kept)
    assert Pipeline(snapshot, classifier).inspect(["Who is Orla Quell?"]).target_ids == ("one",)


def test_a_file_of_prompts_that_is_none_is_told_with_the_fix(tmp_path, monkeypatch):
    monkeypatch.setenv("LETHE_HOME", str(tmp_path))
    wrong = tmp_path / "benign.jsonl"
    wrong.write_text('{"prompt": "x"}\n')
    targets = tmp_path / "targets.jsonl"
    targets.write_text('{"id": "one", "name": "Orla Quell"}\n')
    result = CliRunner().invoke(app, ["calibrate", "--targets", str(targets), "--prompts", str(wrong)])
    assert result.exit_code == 2
    assert "'text'" in result.output
    assert PROMPTS >= 999
